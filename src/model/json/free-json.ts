/**
 * Owns answers that may be any JSON object: no schema, one column, the model's text, so that numbers stay exact. Pure.
 * Refuses what PostgreSQL's jsonb cannot hold: one such value would fail a whole statement.
 */
import type { AnswerColumn } from "../answer/answer-columns.js";
import { invalid, type ParsedAnswer } from "./find-answer.js";
import { numbersIn } from "./json-scan.js";
import { JSON_DEPTH_MAX } from "./json-values.js";
import type { ModelRequest } from "../provider/outcome.js";
import type { Json } from "../pipeline.js";
import { textProblem } from "../words/storable-text.js";

/** `Symbol.for`: a config may load another copy of this module. */
const FREE_JSON_SYMBOL: unique symbol = Symbol.for("rowmill.json");

/** What `answer: json()` is. */
export interface FreeJson {
  readonly [FREE_JSON_SYMBOL]: true;
}

export const FREE_JSON: FreeJson = Object.freeze({ [FREE_JSON_SYMBOL]: true as const });

export function isFreeJson(value: unknown): value is FreeJson {
  return typeof value === "object" && value !== null && FREE_JSON_SYMBOL in value;
}

export const FREE_JSON_COLUMN: AnswerColumn = {
  field: "answer",
  type: "jsonb",
  nullable: false,
  check: null,
  isJsonText: true,
};

/** Not a schema: the adapter asks for any object in its own way. */
export const FREE_JSON_SCHEMA: NonNullable<ModelRequest["schema"]> = {
  name: "json",
  schema: { type: "object" },
  isFree: true,
};

/** Ignores case. See `Dialect.freeJsonWord`. */
export function hasWord(word: string, text: string): boolean {
  return text.toLowerCase().includes(word.toLowerCase());
}

const STORED = "x-rowmill";

/** For the ledger, instead of a schema. */
export const FREE_JSON_STORED: Json = { [STORED]: "json" };

export function isStoredFreeJson(stored: Json): boolean {
  return typeof stored === "object" && stored !== null && !Array.isArray(stored) && stored[STORED] === "json";
}

/** The cell is the text itself: parsed, its numbers would be doubles. */
export function judgeFreeJson(parsed: unknown, json: string): ParsedAnswer {
  // It came out of JSON.parse.
  const value = parsed as Json;
  if (value === null || typeof value !== "object" || Array.isArray(value))
    return invalid("the answer is JSON, but not an object");
  const problem = contentProblem(value, 1) ?? numberProblem(json);
  return problem === null
    ? { ok: true, value, cells: { [FREE_JSON_COLUMN.field]: json } }
    : invalid(`the answer ${problem}`);
}

function contentProblem(value: Json, depth: number): string | null {
  if (typeof value === "string") return textProblem(value);
  if (value === null || typeof value !== "object") return null;
  if (depth > JSON_DEPTH_MAX) return `is nested deeper than ${JSON_DEPTH_MAX} levels`;
  for (const [name, entry] of Object.entries(value)) {
    const problem = textProblem(name) ?? contentProblem(entry, depth + 1);
    if (problem !== null) return problem;
  }
  return null;
}

/** The limits of PostgreSQL's numeric, in which jsonb keeps numbers. */
const DIGITS_BEFORE_POINT_MAX = 131_072;
const DIGITS_BEHIND_POINT_MAX = 16_383;

function numberProblem(json: string): string | null {
  for (const number of numbersIn(json)) {
    const [mantissa = "", exponent = "0"] = number.toLowerCase().split("e");
    const [whole = "", fraction = ""] = mantissa.replace("-", "").split(".");
    const isHeld =
      whole.length + Number(exponent) <= DIGITS_BEFORE_POINT_MAX &&
      fraction.length - Number(exponent) <= DIGITS_BEHIND_POINT_MAX;
    if (!isHeld) return `holds the number ${number.slice(0, 40)}, which PostgreSQL cannot store`;
  }
  return null;
}
