/**
 * An answer that fits a JSON schema, filled from the text of the message. Pure and deterministic.
 * Supports all types, enum, const, anyOf/oneOf/allOf, `$ref` into `$defs`, and the usual bounds and formats. It does
 * not support `pattern`. `answer-text.ts` bounds the answer and the work, also for a schema without an end.
 */
import { writeAnswer, type AnswerText, type WrittenAnswer } from "./answer-text.js";
import { chooseFrom, listFor, numberFor, textFor, truthOf, type Field } from "./fields.js";
import { boundedNumber, boundedText, numberAt } from "./bounds.js";
import { TEXT_CHARS_MAX } from "./text.js";
import { isJsonObject, type Json, type JsonObject } from "../protocol/json.js";

/** Below this depth, as in recursive schemas, the shortest value ends the answer. */
const DEPTH_MAX = 8;
const ITEMS_MAX = 1_000;
/** The model reads this much of a property's name and description. */
const NAME_CHARS_MAX = 200;
const DESCRIPTION_CHARS_MAX = 1_000;

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
