/** Writes lines of chat completions, and reads what they asked. Pure: equal requests give equal bytes. */
import { hash } from "node:crypto";
import { canonicalJson } from "../../model/json/canonical-json.js";
import type { ModelRequest } from "../../model/provider/outcome.js";
import type { Json } from "../../model/pipeline.js";
import type { Attempt, Encoder, RequestShape } from "../../model/provider/provider.js";
import { boundTokens, TOKENS_PER_MESSAGE, TOKENS_PER_REPLY } from "../../model/request/tokens.js";

export const CHAT_ENDPOINT = "/v1/chat/completions";

const METHOD_AND_URL = `,"method":"POST","url":"${CHAT_ENDPOINT}"`;

/** Of the two messages, and what opens the answer. */
const FRAMING_TOKENS = 2 * TOKENS_PER_MESSAGE + TOKENS_PER_REPLY;
const FINGERPRINT_HEX = 32;

/** Keywords that fine-tuned models refuse in a strict schema (Structured Outputs guide, 2026). */
const CONSTRAINTS = new Set(
  "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems format".split(" "),
);

/** The names of the output limit on the wire, today's and the one that other code may still write. */
const ROOM_NAMES = ["max_completion_tokens", "max_tokens"] as const;

/**
 * Our own fields win over parameters of the same name. The keys of `parameters` are sorted, the schema's are not: the
 * model writes its fields in their order. Each text of a row is escaped once, for the line and the fingerprint.
 */
export function openaiEncoder(shape: RequestShape): Encoder {
  const print = fingerprintOf(shape);
  const members = new Map<string, string>();
  let frame: BodyFrame | null = null;
  return (customId, { system, user }, attempt) => {
    if (frame === null || !frame.isOf(system, attempt)) {
      const shared = members.get(attempt.model) ?? sharedMembers(shape, attempt.model);
      members.set(attempt.model, shared);
      frame = bodyFrame(shared, system, attempt);
    }
    const { head, guided, tail } = frame;
    const asked = JSON.stringify(user);
    const told = attempt.told === null ? "}" : `},${message("user", JSON.stringify(attempt.told))}`;
    return {
      line: `{"custom_id":${JSON.stringify(customId)}${METHOD_AND_URL},"body":${head}${asked}${told}${tail}}`,
      fingerprint: print(guided, asked),
      boundTokens: boundTokens([head, asked, told, tail], shape.tokensPerByte) + FRAMING_TOKENS,
    };
  };
}

/** What stands around a row's words in a body: mostly the same from line to line. */
interface BodyFrame {
  readonly head: string;
  readonly tail: string;
  /** The system message, escaped. */
  readonly guided: string | null;
  isOf(system: string | null, attempt: Attempt): boolean;
}

/** `shared`: the model's `sharedMembers`. */
function bodyFrame(shared: string, system: string | null, { model, maxOutputTokens }: Attempt): BodyFrame {
  const guided = system === null ? null : JSON.stringify(system);
  const first = guided === null ? "" : `${message("system", guided)},`;
  return {
    head: `{"model":${JSON.stringify(model)},"messages":[${first}{"role":"user","content":`,
    tail: `],"max_completion_tokens":${maxOutputTokens}${shared}}`,
    guided,
    isOf: (other, attempt) =>
      other === system && attempt.model === model && attempt.maxOutputTokens === maxOutputTokens,
  };
}

function message(role: string, content: string): string {
  return `{"role":"${role}","content":${content}}`;
}

/** What all lines of a model have behind their own members, a comma before each. */
function sharedMembers(shape: RequestShape, model: string): string {
  return Object.entries(sharedBody(shape, model))
    .map(([name, value]) => `,${JSON.stringify(name)}:${JSON.stringify(value)}`)
    .join("");
}

const OWN_NAMES: ReadonlySet<string> = new Set(["model", "messages", "max_completion_tokens"]);

function sharedBody({ schema, parameters }: RequestShape, model: string): Record<string, Json> {
  const format: Record<string, Json> = schema === null ? {} : { response_format: formatOf(model, schema) };
  const names = Object.keys(parameters).filter((name) => !OWN_NAMES.has(name));
  const sorted = names.sort().map((name): [string, Json] => [name, parameters[name] ?? null]);
  return { ...format, ...Object.fromEntries(sorted), ...format };
}

function formatOf(model: string, schema: NonNullable<ModelRequest["schema"]>): Json {
  if (schema.isFree === true) return { type: "json_object" };
  const { name, schema: whole } = schema;
  const accepted = model.startsWith("ft:") ? withoutConstraints(whole) : whole;
  return { type: "json_schema", json_schema: { name, strict: true, schema: accepted } };
}

/** Of definition and row alone, without the output limit and the corrections of one try. */
function fingerprintOf(shape: RequestShape): (system: string | null, user: string) => string {
  const shared: Record<string, Json> = { model: shape.model, ...sharedBody(shape, shape.model) };
  for (const name of ROOM_NAMES) delete shared[name];
  const names = [...Object.keys(shared), "messages"].sort();
  const place = names.indexOf("messages");
  const member = (name: string) => `${JSON.stringify(name)}:${canonicalJson(shared[name] ?? null)}`;
  const before = names.slice(0, place).map((name) => `${member(name)},`);
  const after = names.slice(place + 1).map((name) => `,${member(name)}`);
  const start = `[${JSON.stringify(CHAT_ENDPOINT)},{${before.join("")}"messages":[`;
  const end = `]${after.join("")}}]`;
  const canonical = (role: string, content: string) => `{"content":${content},"role":"${role}"}`;
  return (system, user) => {
    const guided = system === null ? "" : `${canonical("system", system)},`;
    return printOf(`${start}${guided}${canonical("user", user)}${end}`);
  };
}

/** The same for a body that was read. Null: it asks nothing. */
export function fingerprintOfBody(body: Readonly<Record<string, unknown>> | null): string | null {
  if (body === null) return null;
  const question = { ...body };
  for (const name of ROOM_NAMES) delete question[name];
  // It came out of JSON.parse.
  const canonical = canonicalJson([CHAT_ENDPOINT, question as Json]);
  return printOf(canonical);
}

/** In one call: a hash object for each row is the slowest thing for the garbage collector. */
function printOf(canonical: string): string {
  return hash("sha256", canonical, "hex").slice(0, FINGERPRINT_HEX);
}

/** The most output tokens that a body allows; null: no limit. */
export function roomOf(body: Readonly<Record<string, unknown>> | null): number | null {
  const room = ROOM_NAMES.map((name) => body?.[name]).find((limit) => limit !== undefined && limit !== null);
  return typeof room === "number" && Number.isInteger(room) && room > 0 && room <= ROOM_MAX ? room : null;
}

/** What an integer column holds. */
const ROOM_MAX = 2_147_483_647;

/** Follows the schema's structure, so that a field named `format` stays. */
function withoutConstraints(schema: Json): Json {
  if (schema === null || typeof schema !== "object" || Array.isArray(schema)) return schema;
  const kept = Object.entries(schema).filter(([keyword]) => !CONSTRAINTS.has(keyword));
  return Object.fromEntries(
    kept.map(([keyword, value]): [string, Json] => {
      if (keyword === "items") return [keyword, withoutConstraints(value)];
      if (keyword === "anyOf" && Array.isArray(value)) return [keyword, value.map(withoutConstraints)];
      if (keyword !== "properties" || value === null || typeof value !== "object") return [keyword, value];
      const fields = Object.entries(value).map(([name, field]) => [name, withoutConstraints(field)] as const);
      return [keyword, Object.fromEntries(fields)];
    }),
  );
}
