/** Builds the bodies and lines that OpenAI's chat completions take. Pure: equal requests give equal bytes. */
import type { ModelRequest } from "../../model/outcome.js";
import type { Json } from "../../model/pipeline.js";

export const CHAT_ENDPOINT = "/v1/chat/completions";

/** Keywords that fine-tuned models refuse in a strict schema (Structured Outputs guide, 2026). */
const CONSTRAINTS = new Set(
  "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf minItems maxItems format".split(" "),
);

/**
 * The body of one request. Our own fields win over parameters of the same name. The keys of `parameters` are
 * sorted; the schema's are not, because the model writes its fields in their order.
 */
export function buildBody(request: ModelRequest): Json {
  const user = { role: "user", content: request.user };
  const system = request.system === null ? [] : [{ role: "system", content: request.system }];
  const parameters = Object.keys(request.parameters)
    .sort()
    .map((name): [string, Json] => [name, request.parameters[name] ?? null]);
  const own: Record<string, Json> = {
    model: request.model,
    messages: [...system, user],
    max_completion_tokens: request.maxOutputTokens,
  };
  if (request.schema?.isFree === true) own["response_format"] = JSON_OBJECT;
  else if (request.schema !== null) own["response_format"] = responseFormat(request.model, request.schema);
  return { ...own, ...Object.fromEntries(parameters), ...own };
}

/** The names of the output limit on the wire, today's and the one that other code may still write. */
const ROOM_NAMES = ["max_completion_tokens", "max_tokens"] as const;

export function questionOf(body: Json): Json {
  if (body === null || typeof body !== "object" || Array.isArray(body)) return body;
  const question = { ...body };
  for (const name of ROOM_NAMES) delete question[name];
  return question;
}

/** The most output tokens that a body allows; null: it does not say. */
export function roomOf(body: Readonly<Record<string, unknown>> | null): number | null {
  const room = ROOM_NAMES.map((name) => body?.[name]).find((limit) => limit !== undefined && limit !== null);
  return typeof room === "number" && Number.isInteger(room) && room > 0 && room <= ROOM_MAX ? room : null;
}

/** What an integer column holds. */
const ROOM_MAX = 2_147_483_647;

/** One line of an input file, without the line feed; JSON has none inside. */
export function renderLine(customId: string, body: Json): string {
  return JSON.stringify({ custom_id: customId, method: "POST", url: CHAT_ENDPOINT, body });
}

const JSON_OBJECT: Json = { type: "json_object" };

/** One object per schema, so that what was worked out about it holds for all rows. */
const responseFormats = new WeakMap<object, { plain: Json; tuned: Json }>();

function responseFormat(model: string, schema: NonNullable<ModelRequest["schema"]>): Json {
  const formats = responseFormats.get(schema) ?? {
    plain: strictFormat(schema.name, schema.schema),
    tuned: strictFormat(schema.name, withoutConstraints(schema.schema)),
  };
  responseFormats.set(schema, formats);
  return model.startsWith("ft:") ? formats.tuned : formats.plain;
}

function strictFormat(name: string, schema: Json): Json {
  return { type: "json_schema", json_schema: { name, strict: true, schema } };
}

/** Follows the schema's own structure, so that a field that is called `format` stays. */
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
