/** Reads what the vendor "plain" says of batches and requests. Pure. */
import { isOverfull, LINE_VALUES_MAX } from "../../src/model/json/json-values.js";
import type { AnswerOutcome, TokenUsage } from "../../src/model/provider/outcome.js";
import { type BatchRef, type ProviderBatch, type ProviderBatchStatus } from "../../src/model/provider/provider.js";
import { unreadableRefs } from "../../src/model/errors.js";
import type { Json } from "../../src/model/pipeline.js";
import { storableText } from "../../src/model/words/storable-text.js";
import { recordOf, UnreadableReply } from "./plain-caller.js";

type Fields = Readonly<Record<string, unknown>>;

const STATUSES: Readonly<Record<string, ProviderBatchStatus>> = {
  queued: "validating",
  working: "in_progress",
  stopping: "cancelling",
};
const MESSAGE_CHARACTERS_MAX = 500;

/** @throws UnreadableReply where it is no batch. */
export function readBatch(json: unknown): ProviderBatch {
  const batch = readListed(json);
  if (batch === null) throw new UnreadableReply("it is no batch");
  return batch;
}

/** Null: an entry without an id, which is no batch that can be asked for. */
function readListed(json: unknown): ProviderBatch | null {
  const fields = recordOf(json);
  const id = textOf(fields?.["id"]);
  if (fields === null || id === null || id === "") return null;
  const { status, statusText } = statusOf(fields);
  return {
    id,
    refs: { results: textOf(fields["results"]) },
    status,
    statusText,
    terminal: status === "completed" || status === "cancelled",
    createdAt: secondsOf(fields["made_at"]),
    counts: countsOf(recordOf(fields["counts"])),
    errors: [],
    mark: null,
  };
}

function statusOf(fields: Fields): Pick<ProviderBatch, "status" | "statusText"> {
  const word = textOf(fields["state"]) ?? "";
  if (word === "finished") {
    const isStopped = textOf(fields["stop_asked_at"]) !== null;
    return { status: isStopped ? "cancelled" : "completed", statusText: word };
  }
  const status = Object.hasOwn(STATUSES, word) ? STATUSES[word] : undefined;
  return { status: status ?? "unknown", statusText: word === "" ? "unknown" : storableText(word) };
}

/** What a page says: null for an entry that cannot be read, which could be anybody's. */
export interface ListPage {
  readonly batches: readonly (ProviderBatch | null)[];
  readonly more: boolean;
  readonly last: string | null;
}

/** @throws UnreadableReply where it is no page. */
export function readPage(json: unknown): ListPage {
  const fields = recordOf(json);
  const batches = fields?.["batches"];
  if (fields === null || !Array.isArray(batches)) throw new UnreadableReply("it is no list");
  return { batches: batches.map(readListed), more: fields["more"] === true, last: textOf(fields["last"]) };
}

const COUNTED = ["waiting", "good", "bad", "stopped", "late"] as const;

/** Null unless all are said: their sum is the number of requests. */
function countsOf(fields: Fields | null): ProviderBatch["counts"] {
  const [waiting, good, bad, stopped, late] = COUNTED.map((name) => wholeOf(fields?.[name]));
  if (waiting == null || good == null || bad == null || stopped == null || late == null) return null;
  const failed = bad + stopped + late;
  return { total: waiting + good + failed, completed: good, failed };
}

/**
 * Of a batch that has ended. @throws RowmillError where the ledger holds something else, or what an earlier status
 * gave.
 */
export function resultsPathOf({ refs }: BatchRef): string {
  const path = textOf(recordOf(refs)?.["results"]);
  if (path !== null) return path;
  throw unreadableRefs("plain");
}

/** Where the list began before a create. */
export interface Baseline {
  /** The id of the newest batch in the list; null: there was none. */
  readonly newest: string | null;
  /** Seconds, by the provider's clock; null: not known. */
  readonly clock: number | null;
}

/** @throws RowmillError where the ledger holds something else. */
export function readBaseline(json: Json): Baseline {
  const fields = recordOf(json);
  if (fields === null || !("newest" in fields)) throw unreadableRefs("plain");
  const { newest, clock } = fields;
  return { newest: textOf(newest), clock: typeof clock === "number" ? clock : null };
}

/** Of one line of the results. A broken line is an outcome too. */
export function readResult(line: string): AnswerOutcome {
  let fields: Fields | null = null;
  try {
    fields = isOverfull(line, LINE_VALUES_MAX) ? null : recordOf(JSON.parse(line));
  } catch {
    fields = null;
  }
  const customId = textOf(fields?.["id"]);
  if (customId === null) return { kind: "unknownId", customId: null, message: "the line names no request" };
  const result = recordOf(fields?.["result"]);
  const type = textOf(result?.["type"]) ?? "";
  switch (type) {
    case "good":
      return readGood(customId, result ?? {});
    case "bad":
      return readBad(customId, recordOf(result?.["error"]) ?? {});
    case "stopped":
      return {
        kind: "cancelled",
        customId,
        code: type,
        message: "the batch was stopped before this request",
      };
    case "late":
      return {
        kind: "expired",
        customId,
        code: type,
        message: "the batch's time was over before this request",
      };
    default:
      return {
        kind: "transient",
        customId,
        code: type,
        message: short(`the result has the unknown type "${type}"`),
      };
  }
}

function readGood(customId: string, result: Fields): AnswerOutcome {
  const text = textOf(result["text"]);
  const paid = {
    customId,
    text,
    model: textOf(result["model"]),
    usage: readUsage(recordOf(result["usage"])),
  };
  if (result["stop"] === "length")
    return { ...paid, kind: "truncated", message: "the answer reached the output limit before its end" };
  if (result["stop"] === "refusal") return { ...paid, kind: "refused", message: short(text ?? "the model refused") };
  if (text === null) return { ...paid, kind: "invalid", message: "the result has no text" };
  return { ...paid, kind: "text", text };
}

const BAD_KINDS: Readonly<Record<string, "rateLimited" | "permanent">> = {
  too_fast: "rateLimited",
  bad_request: "permanent",
};

function readBad(customId: string, error: Fields): AnswerOutcome {
  const code = textOf(error["kind"]);
  const kind = code !== null && Object.hasOwn(BAD_KINDS, code) ? BAD_KINDS[code] : undefined;
  return {
    kind: kind ?? "transient",
    customId,
    code,
    message: short(textOf(error["message"]) ?? "the provider gave no reason"),
  };
}

function readUsage(fields: Fields | null): TokenUsage {
  const inputTokens = wholeOf(fields?.["read"]) ?? 0;
  const cachedInputTokens = Math.min(wholeOf(fields?.["cached"]) ?? 0, inputTokens);
  return { inputTokens, cachedInputTokens, outputTokens: wholeOf(fields?.["written"]) ?? 0 };
}

function short(message: string): string {
  return storableText(message.slice(0, MESSAGE_CHARACTERS_MAX));
}

function textOf(json: unknown): string | null {
  return typeof json === "string" ? json : null;
}

function wholeOf(json: unknown): number | null {
  return typeof json === "number" && Number.isSafeInteger(json) && json >= 0 ? json : null;
}

/** Whole seconds, as the Date header has them. */
function secondsOf(json: unknown): number | null {
  const text = textOf(json);
  const ms = text === null ? Number.NaN : Date.parse(text);
  return Number.isNaN(ms) ? null : Math.floor(ms / 1_000);
}
