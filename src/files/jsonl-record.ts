/** Reads one line of JSONL: a JSON object, whose values become texts as they stand. Pure. */
import { endOfString, endOfValue, SCALAR, skip, skipSpace } from "../model/json/json-scan.js";
import type { FileRecord } from "./file-types.js";
import type { CutRecord } from "./record-cutter.js";

const DEPTH_MAX = 500;
const NOT_AN_OBJECT = 'It is not a JSON object, such as {"title": "…"}. Write one object on each line.';

/** Numbers keep their digits. A key that is there twice has its last value, as in `JSON.parse`. */
export function jsonlRecord({ line, raw, problem }: Pick<CutRecord, "line" | "raw" | "problem">): FileRecord {
  if (problem !== null || raw === null) return { line, raw, problem: problem ?? NOT_AN_OBJECT };
  const cells = cellsOf(raw.toString());
  if (typeof cells === "string") return { line, raw, problem: cells };
  return { line, raw, cells };
}

type Cells = Readonly<Record<string, string | null>>;

/** In one pass, because a second one would take as long as all else. Returns the problem in words. */
function cellsOf(text: string): Cells | string {
  const opened = skipSpace(text, 0);
  if (text[opened] !== "{") return NOT_AN_OBJECT;
  const entries: [string, string | null][] = [];
  let at = skipSpace(text, opened + 1);
  while (text[at] !== "}" || entries.length > 0) {
    const key = text[at] === '"' ? endOfString(text, at) : -at;
    if (key < 0) return invalidAt(-key);
    const colon = skipSpace(text, key);
    if (text[colon] !== ":") return invalidAt(colon);
    const from = skipSpace(text, colon + 1);
    const to = endOfMember(text, from);
    if (to < 0) return invalidAt(-to);
    entries.push([stringOf(text.slice(at, key)), cellOf(text.slice(from, to))]);
    at = skipSpace(text, to);
    if (text[at] === "}") break;
    if (text[at] !== ",") return invalidAt(at);
    at = skipSpace(text, at + 1);
  }
  if (skipSpace(text, at + 1) !== text.length) return "Text follows the JSON object. Write one object on each line.";
  return (text.includes("\\u") ? escapeProblem(entries) : null) ?? Object.fromEntries(entries);
}

function invalidAt(at: number): string {
  return `It is not valid JSON: the first mistake is at character ${at + 1}.`;
}

/** PostgreSQL stores neither of these, and both may be hidden in an escape. */
function escapeProblem(entries: readonly (readonly [string, string | null])[]): string | null {
  const texts = entries.flat().filter((one) => one !== null);
  if (texts.some((one) => one.includes("\u0000") || one.includes("\\u0000"))) {
    return "It holds the character U+0000, which a table cannot store. Remove it.";
  }
  return texts.every((one) => one.isWellFormed()) ? null : "It holds half of a surrogate pair, which is no character.";
}

/** Negative: it is none, which shows there. */
function endOfMember(text: string, at: number): number {
  if (text[at] === "{" || text[at] === "[") return endOfValue(text, at, DEPTH_MAX);
  if (text[at] === '"') return endOfString(text, at);
  const end = skip(SCALAR, text, at);
  return end > at ? end : -at;
}

function stringOf(json: string): string {
  return json.includes("\\") ? String(JSON.parse(json)) : json.slice(1, -1);
}

function cellOf(json: string): string | null {
  if (json.startsWith('"')) return stringOf(json);
  return json === "null" ? null : json;
}
