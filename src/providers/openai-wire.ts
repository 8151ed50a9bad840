/**
 * Parses OpenAI's JSON at the rim: nothing of it is trusted, and null, absent and "" are one thing. Pure;
 * throws `UnreadableReply` where something is missing that nothing can be done without.
 */
import { storableText } from "../model/storable-text.js";
import { UnreadableReply } from "./openai-errors.js";
import type { BatchInputError, ProviderBatch, ProviderBatchStatus, ProviderFile } from "./provider.js";

/** What it writes about a refused file is kept and shown: enough to say what was wrong. */
const MESSAGE_CHARACTERS_MAX = 2_000;

export interface WirePage {
  readonly data: readonly unknown[];
  /** Null: the server does not say. */
  readonly hasMore: boolean | null;
}

/** Each word and whether a batch that says it has ended. */
const STATUSES: Readonly<Record<Exclude<ProviderBatchStatus, "unknown">, boolean>> = {
  validating: false,
  failed: true,
  in_progress: false,
  finalizing: false,
  completed: true,
  expired: true,
  cancelling: false,
  cancelled: true,
};

export function readBatch(json: unknown): ProviderBatch {
  const batch = asRecord(json);
  const id = textOf(batch?.["id"]);
  const statusText = textOf(batch?.["status"]);
  const createdAt = countOf(batch?.["created_at"]);
  if (batch === null || id === null || statusText === null || createdAt === null) {
    throw new UnreadableReply("a batch without id, status or created_at");
  }
  const known = isStatus(statusText) ? statusText : null;
  return {
    id,
    status: known ?? "unknown",
    statusText,
    terminal: known !== null && STATUSES[known],
    inputFileId: textOf(batch["input_file_id"]) ?? "",
    outputFileId: textOf(batch["output_file_id"]),
    errorFileId: textOf(batch["error_file_id"]),
    createdAt,
    counts: readCounts(batch["request_counts"]),
    errors: readErrors(batch["errors"]),
    metadata: readMetadata(batch["metadata"]),
  };
}

export function readFile(json: unknown): ProviderFile {
  const file = asRecord(json);
  const id = textOf(file?.["id"]);
  if (file === null || id === null) throw new UnreadableReply("a file without id");
  return {
    id,
    filename: textOf(file["filename"]) ?? "",
    bytes: countOf(file["bytes"]) ?? 0,
    createdAt: countOf(file["created_at"]) ?? 0,
  };
}

export function readPage(json: unknown): WirePage {
  const page = asRecord(json);
  const data = page?.["data"];
  if (!Array.isArray(data)) throw new UnreadableReply("a list without data");
  const hasMore = page?.["has_more"];
  // An end that is not the end would say "not found" of a batch that was paid for.
  if (data.length === 0 && hasMore === true)
    throw new UnreadableReply("a page without data, and more after it");
  return { data, hasMore: typeof hasMore === "boolean" ? hasMore : null };
}

/** The value as a record, or null when it is no JSON object. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : null;
}

/** A string with something in it, as the ledger can hold it, or null. */
export function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? storableText(value) : null;
}

/** A whole number from 0 that JavaScript holds exactly, or null. */
export function countOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

function isStatus(word: string): word is Exclude<ProviderBatchStatus, "unknown"> {
  return Object.hasOwn(STATUSES, word);
}

function readCounts(json: unknown): ProviderBatch["counts"] {
  const counts = asRecord(json);
  const total = countOf(counts?.["total"]);
  const completed = countOf(counts?.["completed"]);
  const failed = countOf(counts?.["failed"]);
  return total === null || completed === null || failed === null ? null : { total, completed, failed };
}

/** `{data: […]}` as documented, or a bare list. */
function readErrors(json: unknown): readonly BatchInputError[] {
  const list = Array.isArray(json) ? (json as unknown[]) : asRecord(json)?.["data"];
  if (!Array.isArray(list)) return [];
  return (list as unknown[]).map((entry) => {
    const error = asRecord(entry);
    const line = countOf(error?.["line"]);
    return {
      code: textOf(error?.["code"]),
      line: line === 0 ? null : line,
      message:
        textOf(textOf(error?.["message"])?.slice(0, MESSAGE_CHARACTERS_MAX)) ?? "the provider gave no reason",
      param: textOf(error?.["param"]),
    };
  });
}

function readMetadata(json: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(asRecord(json) ?? {}).flatMap(([name, value]) =>
    typeof value === "string" ? [[storableText(name), storableText(value)] as const] : [],
  );
  return Object.fromEntries(entries);
}
