/** Makes a found number or text fit the bounds of a schema. Pure. */
import type { JsonObject } from "../protocol/json.js";
import { shorten } from "./text.js";

const MIN_LENGTH_MAX = 10_000;
const FILLING = " – no more to say";

/** Within minimum, maximum, exclusive bounds and `multipleOf`. Null becomes 0 or the nearest bound. */
export function boundedNumber(schema: JsonObject, found: number | null, integer: boolean): number {
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
export function boundedText(schema: JsonObject, found: string, suffix: string): string {
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

export function numberAt(schema: JsonObject, name: string): number | null {
  const value = schema[name];
  return typeof value === "number" ? value : null;
}
