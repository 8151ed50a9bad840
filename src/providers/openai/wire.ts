/**
 * Parses OpenAI's JSON: nothing is trusted, and null, absent and "" mean the same. Servers that speak its API write
 * times as ISO 8601, numbers as text, and words in capitals. Pure; throws `UnreadableReply`, with field and value, only
 * where the missing part is indispensable.
 */
import { proseLine } from "../../model/words/one-line.js";
import type { BatchInputError } from "../../model/batch/refusal.js";
import { storableText } from "../../model/words/storable-text.js";
import { UnreadableReply } from "./http/errors.js";
import { judgeRefusal } from "./http/refusal.js";
import type { ProviderBatch, ProviderBatchStatus, Readiness } from "../../model/provider/provider.js";

/** Of the provider's words about a refused file, which are kept and shown. */
const MESSAGE_CHARACTERS_MAX = 2_000;
/** Of a value that a message quotes. */
const QUOTED_CHARACTERS_MAX = 80;
/** A time above it is in milliseconds: as seconds it would be the year 5138. */
const SECONDS_MAX = 100_000_000_000;

/** A batch as it is written on the wire. */
export interface WireBatch extends Omit<ProviderBatch, "refs" | "mark"> {
  readonly inputFileId: string;
  /** Null, absent and "" on the wire are all null here. */
  readonly outputFileId: string | null;
  readonly errorFileId: string | null;
  readonly metadata: Readonly<Record<string, string>>;
}

/** The provider's record of a file: a hint, because only the file itself shows its content. */
export interface WireFile {
  readonly id: string;
  readonly filename: string;
  /** Null: not said. */
  readonly bytes: number | null;
  /** Seconds since the epoch, the provider's clock; null: not said. */
  readonly createdAt: number | null;
  /** `ready` too where the provider does not say. */
  readonly readiness: Readiness;
  /** What is wrong with it, in the provider's words. */
  readonly details: string | null;
}

export interface WirePage {
  readonly data: readonly unknown[];
  /** Null: the server does not say. */
  readonly hasMore: boolean | null;
}

/** Each status, and whether the batch has ended. */
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

/** Other servers' words for the same. One that may mean an end is not guessed: `unknown` asks for your attention. */
const SYNONYMS: Readonly<Record<string, ProviderBatchStatus>> = {
  canceled: "cancelled",
  canceling: "cancelling",
  pending: "validating",
  queued: "validating",
  running: "in_progress",
  processing: "in_progress",
};

/** @throws UnreadableReply when it is not an object with an id */
export function readBatch(json: unknown): WireBatch {
  const batch = readListedBatch(json);
  if (batch.id === "") throw new UnreadableReply(`a batch whose ${shown(json, "id")}`);
  return batch;
}

/** As `readBatch`, but never throws: an id that cannot be read is "". */
export function readListedBatch(json: unknown): WireBatch {
  const batch = asRecord(json);
  const status = statusOf(batch?.["status"]);
  return {
    id: idOf(batch?.["id"]) ?? "",
    status,
    statusText: status === "unknown" ? unknownWord(batch?.["status"]) : status,
    terminal: status !== "unknown" && STATUSES[status],
    inputFileId: idOf(batch?.["input_file_id"]) ?? "",
    outputFileId: idOf(batch?.["output_file_id"]),
    errorFileId: idOf(batch?.["error_file_id"]),
    createdAt: timeOf(batch?.["created_at"]),
    counts: readCounts(batch?.["request_counts"]),
    errors: readErrors(batch?.["errors"]),
    metadata: readMetadata(batch?.["metadata"]),
  };
}

/** Why a list entry does not show whose batch it is; null: its input file or metadata does. */
export function untoldReason(json: unknown, { inputFileId, metadata }: WireBatch): string | null {
  if (inputFileId !== "" || Object.keys(metadata).length > 0) return null;
  if (asRecord(json) === null) return `an entry that is ${quoted(json)}`;
  const [id, file, meta] = ["id", "input_file_id", "metadata"].map((name) => shown(json, name));
  return `an entry whose ${id}, ${file} and ${meta}`;
}

/** @throws UnreadableReply when it is not an object with an id */
export function readFile(json: unknown): WireFile {
  const file = readListedFile(json);
  if (file.id === "") throw new UnreadableReply(`a file whose ${shown(json, "id")}`);
  return file;
}

/** As `readFile`, but never throws: an id that cannot be read is "". */
export function readListedFile(json: unknown): WireFile {
  const file = asRecord(json);
  return {
    id: idOf(file?.["id"]) ?? "",
    filename: textOf(file?.["filename"]) ?? "",
    bytes: wholeOf(file?.["bytes"]),
    createdAt: timeOf(file?.["created_at"]),
    readiness: readinessOf(file?.["status"]),
    details: textOf(textOf(file?.["status_details"])?.slice(0, MESSAGE_CHARACTERS_MAX)),
  };
}

/** Azure accepts a file, and only then processes it; elsewhere the field is deprecated, absent, or stays `uploaded`. */
const READINESS: Readonly<Record<string, Readiness>> = {
  uploaded: "staged",
  pending: "pending",
  queued: "pending",
  running: "pending",
  processing: "pending",
  in_progress: "pending",
  error: "failed",
  failed: "failed",
};

function readinessOf(value: unknown): Readiness {
  const word = wordOf(value);
  return (Object.hasOwn(READINESS, word) ? READINESS[word] : undefined) ?? "ready";
}

export function readPage(json: unknown): WirePage {
  const page = asRecord(json);
  // A bare list has no pages.
  const given = Array.isArray(json) ? (json as unknown[]) : page?.["data"];
  // Servers written in Go send null for an empty list.
  const data = given === null && page?.["object"] === "list" ? [] : given;
  if (!Array.isArray(data)) throw new UnreadableReply(`a list whose ${shown(json, "data")}`);
  const hasMore = page?.["has_more"];
  // A false end would say "not found" about a batch that was paid for.
  if (data.length === 0 && hasMore === true) throw new UnreadableReply("an empty page that promises more");
  return { data, hasMore: typeof hasMore === "boolean" ? hasMore : null };
}

/** Null when it is not a JSON object. */
export function asRecord(value: unknown): Readonly<Record<string, unknown>> | null {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : null;
}

/** A non-empty string, as the ledger can hold it, or null. */
export function textOf(value: unknown): string | null {
  return typeof value === "string" && value !== "" ? storableText(value) : null;
}

/** A whole number from 0 that JavaScript holds exactly, or null. */
function countOf(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}

/** The whole part of a number, or of digits as text. */
export function wholeOf(value: unknown): number | null {
  const number = typeof value === "string" && /^\d+(?:\.\d+)?$/.test(value) ? Number(value) : value;
  return typeof number === "number" && number >= 0 ? countOf(Math.trunc(number)) : null;
}

/**
 * Seconds since the epoch, from seconds, milliseconds, or ISO 8601 (UTC where it names no zone). Null: no time; nor is
 * 0, which servers without one write: our batch would count as an old one, and be created again.
 */
function timeOf(value: unknown): number | null {
  const number = wholeOf(value);
  if (number !== null && number > 0) {
    const seconds = number > SECONDS_MAX ? Math.trunc(number / 1_000) : number;
    return seconds > SECONDS_MAX ? null : seconds;
  }
  if (typeof value !== "string" || !/^\d{4}-\d\d-\d\d/.test(value)) return null;
  const zoned = /(?:z|[+-]\d\d:?\d\d)$/i.test(value) || value.length === "2026-01-01".length;
  const milliseconds = Date.parse(zoned ? value : `${value}Z`);
  return milliseconds > 0 ? Math.trunc(milliseconds / 1_000) : null;
}

function idOf(value: unknown): string | null {
  return Number.isSafeInteger(value) ? String(value) : textOf(value);
}

/** `COMPLETED`, `In-Progress` and `in progress` as OpenAI writes them. "": none. */
function wordOf(value: unknown): string {
  return typeof value === "string"
    ? value
        .trim()
        .toLowerCase()
        .replaceAll(/[\s-]+/g, "_")
    : "";
}

function statusOf(value: unknown): ProviderBatchStatus {
  const word = wordOf(value);
  if (isStatus(word)) return word;
  return (Object.hasOwn(SYNONYMS, word) ? SYNONYMS[word] : undefined) ?? "unknown";
}

/** As the provider writes it; what is not a word, quoted. */
function unknownWord(value: unknown): string {
  return textOf(textOf(value)?.slice(0, QUOTED_CHARACTERS_MAX)) ?? quoted(value);
}

function isStatus(word: string): word is Exclude<ProviderBatchStatus, "unknown"> {
  return Object.hasOwn(STATUSES, word);
}

/** For a message: `id is null`. */
function shown(json: unknown, field: string): string {
  const record = asRecord(json);
  return record === null ? `${field} is missing from ${quoted(json)}` : `${field} is ${quoted(record[field])}`;
}

/** As a part of one line; an absent field is `absent`. */
function quoted(value: unknown): string {
  const text = JSON.stringify(value) ?? "absent";
  return proseLine(text.length > QUOTED_CHARACTERS_MAX ? `${text.slice(0, QUOTED_CHARACTERS_MAX)}…` : text);
}

function readCounts(json: unknown): ProviderBatch["counts"] {
  const counts = asRecord(json);
  const total = wholeOf(counts?.["total"]);
  const completed = wholeOf(counts?.["completed"]);
  const failed = wholeOf(counts?.["failed"]);
  return total === null || completed === null || failed === null ? null : { total, completed, failed };
}

/** `{data: […]}` as documented, a bare list, a single error, or words. */
function readErrors(json: unknown): readonly BatchInputError[] {
  const record = asRecord(json);
  const data = record?.["data"] ?? json;
  const list = Array.isArray(data) ? (data as unknown[]) : [data];
  return list
    .filter((entry) => entry !== null && entry !== undefined && entry !== "")
    .filter((entry) => Array.isArray(data) || typeof entry === "string" || isError(entry))
    .map(readError);
}

function isError(entry: unknown): boolean {
  const error = asRecord(entry);
  return error !== null && ("message" in error || "code" in error);
}

function readError(entry: unknown): BatchInputError {
  const error = asRecord(entry);
  const line = wholeOf(error?.["line"]);
  const message = textOf(error === null ? entry : error["message"]);
  const words = {
    code: textOf(error?.["code"]),
    line: line === 0 ? null : line,
    message: textOf(message?.slice(0, MESSAGE_CHARACTERS_MAX)) ?? "the provider gave no reason",
    param: textOf(error?.["param"]),
  };
  return { ...words, ...judgeRefusal(words) };
}

function readMetadata(json: unknown): Readonly<Record<string, string>> {
  const entries = Object.entries(asRecord(json) ?? {}).flatMap(([name, value]) =>
    typeof value === "string" ? [[storableText(name), storableText(value)] as const] : [],
  );
  return Object.fromEntries(entries);
}
