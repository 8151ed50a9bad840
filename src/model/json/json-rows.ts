/**
 * Cuts the body of a push into the texts of its rows, unparsed: `JSON.parse` would turn 9007199254740993 into …992.
 * Pure, linear, and bounded in depth.
 */
import { endOfString, endOfValue, SCALAR, skip, skipSpace } from "./json-scan.js";
import { JSON_DEPTH_MAX } from "./json-values.js";

export type CutRows =
  | { readonly rows: readonly string[] }
  /** `at`: the place in the text, in UTF-16 units. */
  | { readonly problem: string; readonly at: number };

const FOLLOWED = "Text follows the JSON of the body. For lines of JSON, set the Content-Type application/x-ndjson.";

/** Of `[…]`, `{"data": […], …}`, `{"data": null}`, or of one row `{…}`. */
export function cutRows(body: string): CutRows {
  const start = skipSpace(body, body.startsWith("\uFEFF") ? 1 : 0);
  if (start === body.length) return { problem: "The body is empty.", at: start };
  const end = endOfAny(body, start);
  if (end < 0) return { problem: "The body is not JSON, or is nested too deeply.", at: -end };
  const rest = skipSpace(body, end);
  if (rest < body.length) return { problem: FOLLOWED, at: rest };
  if (body[start] === "[") return { rows: elementsOf(body, start) };
  if (body[start] !== "{") return { problem: "The body is neither a list of rows nor an object.", at: start };
  const data = memberOf(body, start, "data");
  if (data === null) return { rows: [body.slice(start, end)] };
  if (body[data] === "[") return { rows: elementsOf(body, data) };
  if (body.startsWith("null", data)) return { rows: [] };
  return { problem: 'The member "data" of the body is not a list of rows.', at: data };
}

/** Why PostgreSQL could not take the row's text; null: it can. The row is valid JSON. */
export function textProblem(row: string): string | null {
  if (!/\\u(?:0000|d[89a-f])/i.test(row)) return null;
  // The escapes of a text one after another, so that `\\u0000`, a backslash and five characters, is none.
  const escapes = /\\(?:u([0-9a-f]{4})|.)/gis;
  let highEndsAt = -1;
  for (let escape = escapes.exec(row); escape !== null; escape = escapes.exec(row)) {
    const code = escape[1] === undefined ? null : Number.parseInt(escape[1], 16);
    const isLow = code !== null && code >= 0xdc00 && code <= 0xdfff;
    if (code === 0) return "its text has \\u0000, which PostgreSQL cannot hold";
    if (isLow !== (highEndsAt === escape.index) || (!isLow && highEndsAt >= 0)) return HALF_PAIR;
    const isHigh = code !== null && code >= 0xd800 && code <= 0xdbff;
    highEndsAt = isHigh ? escapes.lastIndex : -1;
  }
  return highEndsAt < 0 ? null : HALF_PAIR;
}

const HALF_PAIR = "its text has half of a surrogate pair, which PostgreSQL cannot hold";

/** Negative as `endOfValue`. */
function endOfAny(text: string, start: number): number {
  const first = text[start];
  if (first === "{" || first === "[") return endOfValue(text, start, JSON_DEPTH_MAX);
  if (first === '"') return endOfString(text, start);
  const end = skip(SCALAR, text, start);
  return end > start ? end : -start - 1;
}

/** Of the valid list at `start`. */
function elementsOf(text: string, start: number): string[] {
  const elements: string[] = [];
  for (let at = skipSpace(text, start + 1); text[at] !== "]";) {
    const end = endOfAny(text, at);
    elements.push(text.slice(at, end));
    at = skipSpace(text, end);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return elements;
}

/** Where the last value of that name begins in the valid object at `start`; null: there is none. */
function memberOf(text: string, start: number, name: string): number | null {
  let found: number | null = null;
  for (let at = skipSpace(text, start + 1); text[at] !== "}";) {
    const nameEnd = endOfString(text, at);
    const value = skipSpace(text, skipSpace(text, nameEnd) + 1);
    if (JSON.parse(text.slice(at, nameEnd)) === name) found = value;
    at = skipSpace(text, endOfAny(text, value));
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  return found;
}
