/**
 * An answer that fits a JSON schema, filled from the text of the message. Pure and deterministic.
 * Supports all types, enum, const, anyOf/oneOf/allOf, `$ref` into `$defs`, and the usual bounds and formats. It does
 * not support `pattern`. `answer-text.ts` bounds the answer and the work, also for a schema without an end.
 */
import { isJsonObject, type Json, type JsonObject } from "../protocol/json.js";
import { writeAnswer, type AnswerText, type WrittenAnswer } from "./answer-text.js";
import { chooseFrom, listFor, numberFor, textFor, truthOf, type Field } from "./fields.js";
import { TEXT_CHARS_MAX, shorten } from "./text.js";

/** Below this depth, as in recursive schemas, the shortest value ends the answer. */
const DEPTH_MAX = 8;
const ITEMS_MAX = 1_000;
/** The model reads this much of a property's name and description. */
const NAME_CHARS_MAX = 200;
const DESCRIPTION_CHARS_MAX = 1_000;
const MIN_LENGTH_MAX = 10_000;
const FILLING = " – no more to say";

export interface Asking {
  readonly text: string;
  /** Appended to each free text of the answer; "" except for special texts. */
  readonly suffix: string;
}

interface Place extends Field {
  readonly suffix: string;
  readonly root: JsonObject;
  readonly depth: number;
  readonly out: AnswerText;
}

/** The JSON text for a whole schema. Reads only the beginning of a long message. */
export function answerTo(root: JsonObject, { text, suffix }: Asking): WrittenAnswer {
  const field = { name: "", description: "", text: text.slice(0, TEXT_CHARS_MAX) };
  return writeAnswer((out) => writeValue(root, { ...field, suffix, root, depth: 0, out }));
}

function writeValue(given: JsonObject, from: Place): void {
  const { out } = from;
  out.enter(from.depth);
  const schema = resolved(given, from);
  const described = schema["description"];
  const description = typeof described === "string" ? described.slice(0, DESCRIPTION_CHARS_MAX) : from.description;
  out.spendOn(description);
  const place: Place = { ...from, description, depth: from.depth + 1 };
  const type = "const" in schema || Array.isArray(schema["enum"]) ? "leaf" : typeOf(schema, place);
  if (type === "object") writeObject(schema, place);
  else if (type === "array") writeArray(schema, place);
  else out.write(JSON.stringify(leafOf(schema, place)));
}

function leafOf(schema: JsonObject, place: Place): Json {
  place.out.spendOn(place.text);
  if ("const" in schema) return schema["const"] ?? null;
  const options = schema["enum"];
  if (Array.isArray(options)) return chosen(options as readonly Json[], place);
  switch (typeOf(schema, place)) {
    case "boolean":
      return truthOf(place);
    case "integer":
      return boundedNumber(schema, numberFor(place), true);
    case "number":
      return boundedNumber(schema, numberFor(place), false);
    case "null":
      return null;
    default:
      return boundedText(schema, textFor(place), place.suffix);
  }
}

/** Follows `$ref`, merges `allOf`, and takes the first branch of a choice that is not null. */
function resolved(schema: JsonObject, { root, out }: Place): JsonObject {
  let current = schema;
  for (let step = 0; step < DEPTH_MAX; step++) {
    out.spend(1 + Object.keys(current).length);
    const ref = current["$ref"];
    if (typeof ref === "string") {
      out.spendOn(ref);
      current = { ...without(current, "$ref"), ...lookUp(ref, root) };
    }
    const all = current["allOf"];
    if (Array.isArray(all)) current = merged(without(current, "allOf"), all as readonly Json[], out);
    const branches = current["anyOf"] ?? current["oneOf"];
    if (!Array.isArray(branches)) {
      if (typeof current["$ref"] !== "string" && !Array.isArray(current["allOf"])) return current;
      continue;
    }
    out.spend(branches.length);
    const objects = (branches as readonly Json[]).filter(isJsonObject);
    const first = objects.find((branch) => branch["type"] !== "null") ?? objects[0] ?? {};
    const nullable = objects.some((branch) => branch["type"] === "null") && typeof first["type"] === "string";
    const type = nullable ? { type: [first["type"] ?? "null", "null"] } : {};
    current = { ...without(without(current, "anyOf"), "oneOf"), ...first, ...type };
  }
  return current;
}

function merged(base: Record<string, Json>, branches: readonly Json[], out: AnswerText): JsonObject {
  for (const branch of branches.filter(isJsonObject)) {
    out.spend(1 + Object.keys(branch).length);
    Object.assign(base, branch);
  }
  return base;
}

function without(schema: JsonObject, name: string): Record<string, Json> {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== name));
}

function lookUp(ref: string, root: JsonObject): JsonObject {
  const steps = ref.split("/").slice(1);
  const found = steps.reduce<Json | undefined>((at, step) => (isJsonObject(at) ? at[step] : undefined), root);
  return isJsonObject(found) ? found : {};
}

/** The first declared type that is not null; null for a nullable number when the text has no number. */
function typeOf(schema: JsonObject, place: Place): string {
  const declared = schema["type"];
  if (typeof declared === "string") return declared;
  if (Array.isArray(declared)) {
    place.out.spend(declared.length);
    const types = (declared as readonly Json[]).map(String);
    const main = types.find((type) => type !== "null") ?? "null";
    const numeric = main === "number" || main === "integer";
    return numeric && types.includes("null") && numberFor(place) === null ? "null" : main;
  }
  if (isJsonObject(schema["properties"])) return "object";
  return isJsonObject(schema["items"]) ? "array" : "string";
}

function chosen(options: readonly Json[], place: Place): Json {
  for (const option of options) place.out.spendOn(typeof option === "string" ? option : "");
  const words = options.filter((option) => typeof option === "string");
  const chosenWord = chooseFrom(place, words);
  if (chosenWord !== undefined) return chosenWord;
  const wanted = numberFor(place);
  return options.find((option) => option === wanted) ?? options[0] ?? null;
}

function writeObject(schema: JsonObject, place: Place): void {
  const { out } = place;
  const properties = isJsonObject(schema["properties"]) ? schema["properties"] : {};
  const isTooDeep = place.depth >= DEPTH_MAX;
  const required = new Set(Array.isArray(schema["required"]) ? (schema["required"] as readonly Json[]) : []);
  const names = Object.keys(properties);
  out.spend(names.length + required.size);
  let separator = "{";
  for (const name of isTooDeep ? names.filter((name) => required.has(name)) : names) {
    out.write(`${separator}${JSON.stringify(name)}:`);
    separator = ",";
    const of = properties[name];
    if (!isJsonObject(of)) out.write("null");
    else writeValue(of, { ...place, name: name.slice(0, NAME_CHARS_MAX), description: "" });
  }
  out.write(separator === "{" ? "{}" : "}");
}

/** The elements that the text has, then equal ones up to the schema's minimum. */
function writeArray(schema: JsonObject, place: Place): void {
  const { out } = place;
  const items = isJsonObject(schema["items"]) ? resolved(schema["items"], place) : {};
  const min = Math.min(numberAt(schema, "minItems") ?? 0, ITEMS_MAX);
  const max = Math.min(numberAt(schema, "maxItems") ?? ITEMS_MAX, ITEMS_MAX);
  const isTooDeep = place.depth >= DEPTH_MAX;
  const found = isTooDeep ? [] : foundElements(items, place);
  const count = Math.max(min, Math.min(found?.length ?? 1, max));
  let more: string | null = null;
  for (let index = 0; index < count; index++) {
    out.write(index === 0 ? "[" : ",");
    const element = found?.[index];
    if (element !== undefined) out.write(JSON.stringify(element));
    else if (more !== null) out.write(more);
    else {
      const { mark } = out;
      writeValue(items, place);
      more = out.since(mark);
    }
  }
  out.write(count === 0 ? "[]" : "]");
}

/** Null: the text has no elements of this type, so the caller makes one. */
function foundElements(items: JsonObject, place: Place): Json[] | null {
  place.out.spendOn(place.text);
  const options = items["enum"];
  if (Array.isArray(options)) return fittingOptions(options as readonly Json[], place);
  if (typeOf(items, place) !== "string" || "const" in items) return null;
  return listFor(place).map((text) => boundedText(items, text, place.suffix));
}

/** The options that the text names, else the best single one. */
function fittingOptions(options: readonly Json[], place: Place): Json[] {
  for (const option of options) place.out.spendOn(typeof option === "string" ? option : "");
  const listed = listFor(place);
  const fitting = options.filter((option) => typeof option === "string" && listed.includes(option.toLowerCase()));
  return fitting.length > 0 ? fitting : [chosen(options, place)];
}

/** Within minimum, maximum, exclusive bounds and `multipleOf`. Null becomes 0 or the nearest bound. */
function boundedNumber(schema: JsonObject, found: number | null, integer: boolean): number {
  const step = numberAt(schema, "multipleOf") ?? (integer ? 1 : null);
  const wanted = found ?? 0;
  const low = lowest(schema, step);
  const high = highest(schema, step);
  const value = Math.min(Math.max(wanted, low), high);
  if (step === null) return value;
  const below = Math.floor(value / step) * step;
  return tidy(below >= low ? below : Math.ceil(low / step) * step);
}

/** Moves an exclusive bound inwards: by a step, or into the middle of a short range. */
function lowest(schema: JsonObject, step: number | null): number {
  const bound = numberAt(schema, "minimum") ?? -Infinity;
  const exclusive = numberAt(schema, "exclusiveMinimum");
  if (exclusive === null || exclusive < bound) return bound;
  return step === null ? inside(exclusive, ceilingOf(schema)) : (Math.floor(exclusive / step) + 1) * step;
}

function highest(schema: JsonObject, step: number | null): number {
  const bound = numberAt(schema, "maximum") ?? Infinity;
  const exclusive = numberAt(schema, "exclusiveMaximum");
  if (exclusive === null || exclusive > bound) return bound;
  return step === null ? inside(exclusive, floorOf(schema)) : (Math.ceil(exclusive / step) - 1) * step;
}

function inside(bound: number, opposite: number): number {
  if (!Number.isFinite(opposite)) return opposite > bound ? bound + 1 : bound - 1;
  return (bound + opposite) / 2;
}

function ceilingOf(schema: JsonObject): number {
  return Math.min(numberAt(schema, "maximum") ?? Infinity, numberAt(schema, "exclusiveMaximum") ?? Infinity);
}

function floorOf(schema: JsonObject): number {
  return Math.max(numberAt(schema, "minimum") ?? -Infinity, numberAt(schema, "exclusiveMinimum") ?? -Infinity);
}

/** 0.30000000000000004 → 0.3. */
function tidy(value: number): number {
  return Number(value.toPrecision(12));
}

const FORMAT_DEFAULTS: Readonly<Record<string, readonly [pattern: RegExp, example: string]>> = {
  date: [/\b\d{4}-\d\d-\d\d\b/, "1970-01-01"],
  "date-time": [/\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z/, "1970-01-01T00:00:00Z"],
  time: [/\b\d\d:\d\d:\d\d\b/, "00:00:00"],
  email: [/(?<![\w.+-])[\w.+-]{1,64}@[\w-]+\.[\w.-]*\w/, "name@example.com"],
  uri: [/https?:\/\/[^\s)>"]+/, "https://example.com/"],
  uuid: [/\b[\da-f]{8}-[\da-f]{4}-4[\da-f]{3}-[89ab][\da-f]{3}-[\da-f]{12}\b/i, "00000000-0000-4000-8000-000000000000"],
  ipv4: [/\b(?:\d{1,3}\.){3}\d{1,3}\b/, "127.0.0.1"],
};

/** Within minLength and maxLength, in the given format. Free text ends with the suffix. */
function boundedText(schema: JsonObject, found: string, suffix: string): string {
  const named = schema["format"];
  const isKnown = typeof named === "string" && Object.hasOwn(FORMAT_DEFAULTS, named);
  const format = isKnown ? FORMAT_DEFAULTS[named] : undefined;
  if (format !== undefined) return format[0].exec(found)?.[0] ?? format[1];
  const max = numberAt(schema, "maxLength");
  const min = Math.min(numberAt(schema, "minLength") ?? 0, MIN_LENGTH_MAX);
  const text = max === null ? found : shorten(found, Math.max(0, max - suffix.length));
  const missing = min - [...text].length;
  const filled = missing <= 0 ? text : text + FILLING.repeat(Math.ceil(missing / FILLING.length)).slice(0, missing);
  return filled + suffix;
}

function numberAt(schema: JsonObject, name: string): number | null {
  const value = schema[name];
  return typeof value === "number" ? value : null;
}
