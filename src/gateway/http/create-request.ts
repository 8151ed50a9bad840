/** The body of POST /v1/batches: read, or refused in OpenAI's words. Pure. */
import { readExpiry } from "../protocol/expiry-field.js";
import { kindOf } from "../protocol/json.js";
import { refusal, type Answer } from "../protocol/wire.js";
import type { NewBatch } from "../engine/batch-moves.js";

/** What the demo model can answer. */
const endpoints = ["/v1/chat/completions"];
const METADATA_PAIRS_MAX = 16;
const METADATA_KEY_MAX = 64;
const METADATA_VALUE_MAX = 512;

type Metadata = Readonly<Record<string, string>> | null;

export function readCreateRequest(
  body: Readonly<Record<string, unknown>>,
): { readonly input: Omit<NewBatch, "owner"> } | { readonly refused: Answer } {
  for (const name of ["input_file_id", "endpoint", "completion_window"]) {
    if (body[name] === undefined || body[name] === null)
      return no("missing_required_parameter", name, `Missing required parameter: '${name}'.`);
    if (typeof body[name] !== "string")
      return no("invalid_type", name, typeMessage(name, "a string", body[name]));
  }
  const endpoint = String(body["endpoint"]);
  if (!endpoints.includes(endpoint)) {
    const supported = endpoints.map((name) => `'${name}'`).join(", ");
    return no(
      "invalid_value",
      "endpoint",
      `Invalid value: '${endpoint}'. Supported values are: ${supported}.`,
    );
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
