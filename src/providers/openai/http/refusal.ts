/**
 * Types a refusal: the one place that knows the codes and words of OpenAI, Azure and the servers that speak their API.
 * Pure. What is unknown here is `other`, which never costs a row anything.
 */
import type { BatchInputError, Refusal, RefusalAbout } from "../../../model/batch/refusal.js";

export type RefusalWords = Pick<BatchInputError, "code" | "line" | "message"> & {
  /** Of the HTTP reply; absent: it is about a batch that failed later. */
  readonly status?: number;
};

const CODES: Readonly<Record<string, RefusalAbout>> = {
  model_not_found: "definition",
  invalid_url: "definition",
  url_mismatch: "definition",
  mismatched_model: "definition",
  model_mismatch: "definition",
  streaming_unsupported: "definition",
  token_limit_exceeded: "tokens",
  // Azure's: more lines than a file may have.
  too_many_tasks: "size",
};

const anyOf = (...words: readonly RegExp[]) => new RegExp(words.map(({ source }) => source).join("|"), "i");

/** Azure answers `quotaExceeded` for a resource with 500 files; others use words. */
const NO_ROOM = anyOf(
  /quota_?exceeded/,
  /\bquota\b/,
  /insufficient_quota/,
  /billing/,
  /storage (?:limit|space|is full)/,
  /out of (?:storage|space)/,
  /insufficient storage/,
  /too many files/,
);
const TOO_LARGE = anyOf(
  /\b(?:file|input|payload|entity|body|content|upload|batch)\b.{0,40}\btoo (?:large|big)\b/,
  /larger than the/,
  /\bexceeds?\b.{0,60}\b(?:size|bytes|[kmg]b|lines)\b/,
  /\b(?:size|bytes|lines)\b.{0,40}\bexceeds?\b/,
);
const IN_FLIGHT = String.raw`\b(?:concurrent|active|pending|queued|enqueued|open)\b`;
/** At a create, with 429: the account has as many batches as it may. Not from OpenAI, but from compatible servers. */
export const NO_CAPACITY = anyOf(
  /too many (?:open|active|concurrent|pending|running|queued|enqueued|in[- ]progress)\b/,
  new RegExp(`${IN_FLIGHT}.{0,30}\\b(?:batch(?:es)?|jobs?)\\b.{0,60}\\b(?:limit|maximum|exceed)`),
);
/** Seen for files just uploaded, and for files deleted. */
export const MISSING_FILE = /cannot find file|no such file/i;
const NOT_READY = anyOf(
  /\b(?:pending|uploaded|running|processing)\W.{0,20}\b(?:state|status)\b/,
  /only files with status/,
  /\bnot (?:yet )?(?:been )?(?:ready|processed)\b/,
  /\bstill (?:being )?process/,
);

export function judgeRefusal(words: RefusalWords): Refusal {
  const about = aboutOf(words);
  if (about === "size") return { about, limit: bytesIn(words.message) };
  return { about, limit: about === "tokens" ? enqueuedTokensIn(words.message) : null };
}

function aboutOf({ code, line, message, status }: RefusalWords): RefusalAbout {
  const known = code !== null && Object.hasOwn(CODES, code) ? CODES[code] : undefined;
  if (known !== undefined) return known;
  if (line !== null) return "line";
  if (status === 402 || status === 507 || NO_ROOM.test(`${code ?? ""} ${message}`)) return "account";
  if (MISSING_FILE.test(message) || NOT_READY.test(message)) return "notReady";
  return status === 413 || TOO_LARGE.test(message) ? "size" : "other";
}

const UNITS: Readonly<Record<string, number>> = { b: 1, k: 1_000, m: 1_000_000, g: 1_000_000_000 };

/** From "larger than the 209715200 maximum for the … model" or "the maximum file size is 100 MB"; null: no number. */
function bytesIn(message: string): number | null {
  const plain = /larger than the (\d[\d,]*) maximum/i.exec(message)?.[1];
  const [, digits = plain, unit = "bytes"] =
    /(?:max(?:imum)?|limit)\b[^\d.]{0,40}(\d[\d,]*)\s*(bytes|[kmg]i?b)\b/i.exec(message) ?? [];
  const bytes = Number(digits?.replaceAll(",", "")) * (UNITS[unit.charAt(0).toLowerCase()] ?? 1);
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : null;
}

/** From "Enqueued token limit reached for … Limit: 2,000,000 enqueued tokens."; null: no number. */
function enqueuedTokensIn(message: string): number | null {
  const digits = /limit:\s*(\d[\d,._]*)\s*(?:enqueued\s+)?tokens/i.exec(message)?.[1];
  const tokens = Number(digits?.replaceAll(/\D/g, ""));
  return Number.isSafeInteger(tokens) ? tokens : null;
}
