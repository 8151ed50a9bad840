/**
 * An answer that fits a JSON schema, filled from the text of the message. Pure and deterministic.
 *
 * Supported: string, number, integer, boolean, null, arrays, nested objects, enum, const, anyOf/oneOf/allOf, `$ref` into
 * `$defs`, and the bounds minItems, maxItems, uniqueItems of texts, minimum, maximum, exclusive bounds, multipleOf,
 * minLength, maxLength and common formats. A `pattern` is satisfied only when a found text happens to fit.
 */
import { chooseFrom, listFor, numberFor, textFor, truthOf, type Field } from "./demo-fields.js";
import { boundedNumber, boundedText } from "./demo-bounds.js";
import { isJsonObject, type Json, type JsonObject } from "./json.js";

/** Deeper schemas (recursive ones) end in the shortest value. */
const DEPTH_MAX = 8;
const ITEMS_MAX = 1_000;

export interface Asking {
  readonly text: string;
  /** Put behind each free text of the answer: "" but for special texts. */
  readonly suffix: string;
}

interface Place extends Field {
  readonly suffix: string;
  readonly root: JsonObject;
  readonly depth: number;
}

/** The value for a whole schema. */
export function answerTo(schema: JsonObject, asking: Asking): Json {
  return valueOf(schema, { ...asking, name: "", description: "", root: schema, depth: 0 });
}

function valueOf(given: JsonObject, from: Place): Json {
  const schema = resolved(given, from.root);
  const described = typeof schema["description"] === "string" ? schema["description"] : from.description;
  const place: Place = { ...from, description: described, depth: from.depth + 1 };
  if ("const" in schema) return schema["const"] ?? null;
  const options = schema["enum"];
  if (Array.isArray(options)) return chosen(options as readonly Json[], place);
  switch (typeOf(schema, place)) {
    case "object":
      return objectOf(schema, place);
    case "array":
      return arrayOf(schema, place);
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
function resolved(schema: JsonObject, root: JsonObject): JsonObject {
  let current = schema;
  for (let step = 0; step < DEPTH_MAX; step++) {
    const ref = current["$ref"];
    if (typeof ref === "string") current = { ...without(current, "$ref"), ...lookUp(ref, root) };
    const all = current["allOf"];
    if (Array.isArray(all))
      current = Object.assign(without(current, "allOf"), ...(all as readonly JsonObject[])) as JsonObject;
    const branches = current["anyOf"] ?? current["oneOf"];
    if (!Array.isArray(branches)) {
      if (typeof current["$ref"] !== "string" && !Array.isArray(current["allOf"])) return current;
      continue;
    }
    const objects = (branches as readonly Json[]).filter(isJsonObject);
    const first = objects.find((branch) => branch["type"] !== "null") ?? objects[0] ?? {};
    const nullable = objects.some((branch) => branch["type"] === "null") && typeof first["type"] === "string";
    const type = nullable ? { type: [first["type"] ?? "null", "null"] } : {};
    current = { ...without(without(current, "anyOf"), "oneOf"), ...first, ...type };
  }
  return current;
}

function without(schema: JsonObject, name: string): Record<string, Json> {
  return Object.fromEntries(Object.entries(schema).filter(([key]) => key !== name));
}

function lookUp(ref: string, root: JsonObject): JsonObject {
  const steps = ref.split("/").slice(1);
  const found = steps.reduce<Json | undefined>((at, step) => (isJsonObject(at) ? at[step] : undefined), root);
  return isJsonObject(found) ? found : {};
}

/** The type to answer with; of several the first that is not null, unless a number is wanted and the text has none. */
function typeOf(schema: JsonObject, place: Place): string {
  const declared = schema["type"];
  if (typeof declared === "string") return declared;
  if (Array.isArray(declared)) {
    const types = (declared as readonly Json[]).map(String);
    const main = types.find((type) => type !== "null") ?? "null";
    const numeric = main === "number" || main === "integer";
    return numeric && types.includes("null") && numberFor(place) === null ? "null" : main;
  }
  if (isJsonObject(schema["properties"])) return "object";
  return isJsonObject(schema["items"]) ? "array" : "string";
}

function chosen(options: readonly Json[], place: Place): Json {
  const words = options.filter((option) => typeof option === "string");
  const chosenWord = chooseFrom(place, words);
  if (chosenWord !== undefined) return chosenWord;
  const wanted = numberFor(place);
  return options.find((option) => option === wanted) ?? options[0] ?? null;
}

function objectOf(schema: JsonObject, place: Place): Json {
  const properties = isJsonObject(schema["properties"]) ? schema["properties"] : {};
  const required = Array.isArray(schema["required"]) ? (schema["required"] as readonly Json[]) : [];
  const isTooDeep = place.depth >= DEPTH_MAX;
  const entries = Object.entries(properties).filter(([name]) => !isTooDeep || required.includes(name));
  return Object.fromEntries(
    entries.map(([name, of]) => [
      name,
      isJsonObject(of) ? valueOf(of, { ...place, name, description: "" }) : null,
    ]),
  );
}

function arrayOf(schema: JsonObject, place: Place): Json {
  const items = isJsonObject(schema["items"]) ? resolved(schema["items"], place.root) : {};
  const min = Math.min(numeric(schema["minItems"]) ?? 0, ITEMS_MAX);
  const max = Math.min(numeric(schema["maxItems"]) ?? ITEMS_MAX, ITEMS_MAX);
  const found = place.depth >= DEPTH_MAX ? [] : elementsOf(items, place);
  const elements = found.slice(0, Math.max(min, max));
  for (let count = elements.length; count < min; count++) elements.push(valueOf(items, place));
  return elements;
}

function elementsOf(items: JsonObject, place: Place): Json[] {
  const options = items["enum"];
  if (Array.isArray(options)) return fittingOptions(options as readonly Json[], place);
  if (typeOf(items, place) !== "string" || "const" in items) return [valueOf(items, place)];
  return listFor(place).map((text) => boundedText(items, text, place.suffix));
}

/** The options that the text's own list names, else the best single one. */
function fittingOptions(options: readonly Json[], place: Place): Json[] {
  const listed = listFor(place);
  const fitting = options.filter(
    (option) => typeof option === "string" && listed.includes(option.toLowerCase()),
  );
  return fitting.length > 0 ? fitting : [chosen(options, place)];
}

function numeric(value: Json | undefined): number | null {
  return typeof value === "number" ? value : null;
}
