/** Owns /v1/batches: create, retrieve, list, cancel. Returns answers; sends nothing itself. */
import type { Owner } from "../storage/api-keys.js";
import { missingFileMessage, type NewBatch } from "../engine/batch-moves.js";
import type { BatchRecord, BatchStore } from "../storage/batch-store.js";
import type { Engine } from "../engine/engine.js";
import type { FileStore } from "../storage/file-store.js";
import { jsonBodyOf, pathParam, queryOf, type GatewayContext, type HttpServer } from "./http-server.js";
import { noRoom, tooManyBatches } from "./quota.js";
import { pageOf } from "../protocol/paging.js";
import { nowSeconds, type GatewaySettings } from "../settings.js";
import { ok, refusal, type Answer } from "../protocol/wire.js";
import { readExpiry } from "../protocol/expiry-field.js";
import { kindOf } from "../protocol/json.js";

const PAGE_DEFAULT = 20;
const HOUR_SECONDS = 3_600;
const PAGE_MAX = 100;

/** Batch creations per hour. In memory; a restart counts the stored batches again. */
export class CreationLimit {
  readonly #max: number;
  /** Oldest first; at most `max`. */
  readonly #recent: number[];

  constructor(max: number, createdAt: readonly number[]) {
    this.#max = max;
    this.#recent = createdAt.slice(-max);
  }

  /** Counts one creation and returns null, or the seconds to wait for the next one. */
  take(nowSeconds: number): number | null {
    while (this.#recent[0] !== undefined && this.#recent[0] <= nowSeconds - HOUR_SECONDS) this.#recent.shift();
    if (this.#recent.length >= this.#max) return (this.#recent[0] ?? nowSeconds) + HOUR_SECONDS - nowSeconds;
    this.#recent.push(nowSeconds);
    return null;
  }
}

interface BatchRouteParts {
  readonly settings: GatewaySettings;
  readonly files: FileStore;
  readonly batches: BatchStore;
  readonly engine: Engine;
  readonly creations: CreationLimit;
}

export function addBatchRoutes(server: HttpServer, parts: BatchRouteParts): void {
  const { batches, engine } = parts;
  const withBatch = (answer: (record: BatchRecord) => Answer) => (context: GatewayContext, caller: Owner) => {
    engine.wake();
    const id = pathParam(context, "id");
    const record = batches.get(id, caller);
    return record === undefined ? refusal(404, noSuchBatch(id)) : answer(record);
  };
  server.route("POST", "/v1/batches", (context, caller) => createBatch(context, parts, caller));
  server.route("GET", "/v1/batches", (context, caller) => listBatches(context, parts, caller));
  server.route(
    "GET",
    "/v1/batches/:id",
    withBatch((record) => ok(engine.show(record))),
  );
  server.route(
    "POST",
    "/v1/batches/:id/cancel",
    withBatch((record) => cancelBatch(record, engine)),
  );
}

async function createBatch(context: GatewayContext, parts: BatchRouteParts, caller: Owner): Promise<Answer> {
  const { settings, files, batches, engine, creations } = parts;
  const read = await jsonBodyOf(context);
  if ("refused" in read) return read.refused;
  const asked = readCreateRequest(read.body);
  if ("refused" in asked) return asked.refused;
  const { inputFileId } = asked.input;
  const file = settings.faults.seesInput(inputFileId) ? files.get(inputFileId, caller) : undefined;
  if (file === undefined && settings.missingInput === "refused") {
    return refusal(400, missingFileMessage(inputFileId, settings.organization), { param: "input_file_id" });
  }
  if (file !== undefined && file.purpose !== "batch") {
    const message = `Invalid purpose of file ${inputFileId}: expected 'batch', but got '${file.purpose}'.`;
    return refusal(400, message, { param: "input_file_id", code: "invalid_value" });
  }
  if (batches.isFull) return tooManyBatches(settings);
  if (!files.hasRoom(settings.limits.storedBytesMax)) return noRoom(settings);
  const waitSeconds = creations.take(nowSeconds(settings.clock));
  if (waitSeconds !== null) return tooManyCreations(settings.limits.creationsPerHour, waitSeconds);
  return ok(engine.show(engine.create({ ...asked.input, owner: caller })));
}

function tooManyCreations(max: number, waitSeconds: number): Answer {
  const message = `Rate limit reached for batch creations. Limit: ${max} / hour. Please try again in ${waitSeconds}s.`;
  const headers = { "retry-after": String(waitSeconds) };
  return refusal(429, message, { type: "requests", code: "rate_limit_exceeded", headers });
}

function listBatches(context: GatewayContext, { batches, engine }: BatchRouteParts, caller: Owner): Answer {
  engine.wake();
  const rules = { limitDefault: PAGE_DEFAULT, limitMax: PAGE_MAX, unknownAfter: noSuchBatch };
  const query = { ...queryOf(context), order: "desc" };
  const entries = batches.list(caller).map((record) => ({ id: record.batch.id, record }));
  const listed = pageOf(entries, query, rules);
  if ("refused" in listed) return listed.refused;
  return ok({ ...listed.page, data: listed.page.data.map(({ record }) => engine.show(record)) });
}

/** A repeated cancel is allowed; a cancel of a batch with another ending is a conflict (both recorded). */
function cancelBatch(record: BatchRecord, engine: Engine): Answer {
  const { status } = record.batch;
  if (status === "completed" || status === "failed" || status === "expired") {
    return refusal(409, `Cannot cancel a batch with status '${status}'.`);
  }
  engine.cancel(record);
  return ok(engine.show(record));
}

function noSuchBatch(id: string): string {
  return `No batch found with id '${id}'.`;
}

/** What the demo model can answer. */
const ENDPOINTS = ["/v1/chat/completions"];
const METADATA_PAIRS_MAX = 16;
const METADATA_KEY_MAX = 64;
const METADATA_VALUE_MAX = 512;

type Metadata = Readonly<Record<string, string>> | null;

function readCreateRequest(
  body: Readonly<Record<string, unknown>>,
): { readonly input: Omit<NewBatch, "owner"> } | { readonly refused: Answer } {
  for (const name of ["input_file_id", "endpoint", "completion_window"]) {
    if (body[name] === undefined || body[name] === null)
      return no("missing_required_parameter", name, `Missing required parameter: '${name}'.`);
    if (typeof body[name] !== "string") return no("invalid_type", name, typeMessage(name, "a string", body[name]));
  }
  const endpoint = String(body["endpoint"]);
  if (!ENDPOINTS.includes(endpoint)) {
    const supported = ENDPOINTS.map((name) => `'${name}'`).join(", ");
    return no("invalid_value", "endpoint", `Invalid value: '${endpoint}'. Supported values are: ${supported}.`);
  }
  const window = String(body["completion_window"]);
  if (window !== "24h") {
    return no("invalid_value", "completion_window", `Invalid value: '${window}'. Value must be '24h'.`);
  }
  const metadata = readMetadata(body["metadata"]);
  if ("refused" in metadata) return metadata;
  const asked = Object(body["output_expires_after"] ?? {}) as { anchor?: unknown; seconds?: unknown };
  const expiry = readExpiry(asked.anchor, asked.seconds, "output_expires_after");
  if ("refused" in expiry) return expiry;
  const inputFileId = String(body["input_file_id"]);
  return { input: { endpoint, inputFileId, metadata: metadata.value, outputTtlSeconds: expiry.ttlSeconds } };
}

function readMetadata(value: unknown): { readonly value: Metadata } | { readonly refused: Answer } {
  if (value === undefined || value === null) return { value: null };
  if (typeof value !== "object" || Array.isArray(value)) {
    return no("invalid_type", "metadata", typeMessage("metadata", "an object", value));
  }
  const pairs = Object.entries(value);
  if (pairs.length > METADATA_PAIRS_MAX) {
    const message =
      `Invalid 'metadata': too many properties. Expected an object with at most ${METADATA_PAIRS_MAX} properties, ` +
      `but got an object with ${pairs.length} properties instead.`;
    return no("object_above_max_properties", "metadata", message);
  }
  for (const [key, text] of pairs) {
    const name = `metadata.${key}`;
    if (typeof text !== "string") return no("invalid_type", name, typeMessage(name, "a string", text));
    if (key.length > METADATA_KEY_MAX) return tooLong("metadata", METADATA_KEY_MAX, key.length);
    if (text.length > METADATA_VALUE_MAX) return tooLong(name, METADATA_VALUE_MAX, text.length);
  }
  return { value: Object.fromEntries(pairs.map(([key, text]) => [key, String(text)])) };
}

function tooLong(name: string, max: number, length: number): { readonly refused: Answer } {
  const message =
    `Invalid '${name}': string too long. Expected a string with maximum length ${max}, ` +
    `but got a string with length ${length} instead.`;
  return no("string_above_max_length", name, message);
}

function typeMessage(name: string, expected: string, found: unknown): string {
  return `Invalid type for '${name}': expected ${expected}, but got ${kindOf(found)} instead.`;
}

function no(code: string, param: string, message: string): { readonly refused: Answer } {
  return { refused: refusal(400, message, { code, param }) };
}
