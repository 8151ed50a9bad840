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

function cellsOf(text: string): Readonly<Record<string, string | null>> | string {
  const opened = skipSpace(text, 0);
  if (text[opened] !== "{") return NOT_AN_OBJECT;
  const end = endOfValue(text, opened, DEPTH_MAX);
  if (end < 0) return `It is not valid JSON: that shows at character ${-end + 1}.`;
  if (skipSpace(text, end) !== text.length) return "Text follows the JSON object. Write one object on each line.";
  const entries: [string, string | null][] = [];
  for (let at = skipSpace(text, opened + 1); text[at] !== "}";) {
    const key = endOfString(text, at);
    const from = skipSpace(text, skipSpace(text, key) + 1);
    const to = endOfMember(text, from);
    entries.push([stringOf(text.slice(at, key)), cellOf(text.slice(from, to))]);
    at = skipSpace(text, to);
    if (text[at] === ",") at = skipSpace(text, at + 1);
  }
  const cells = Object.fromEntries(entries);
  // PostgreSQL stores neither, and both may be hidden in an escape.
  if (!text.includes("\\u")) return cells;
  const texts = entries.flat().filter((one) => one !== null);
  if (texts.some((one) => one.includes("\u0000") || one.includes("\\u0000"))) {
    return "It holds the character U+0000, which a table cannot store. Remove it.";
  }
  return texts.every((one) => one.isWellFormed()) ? cells : "It holds half of a surrogate pair, which is no character.";
}

function endOfMember(text: string, at: number): number {
  if (text[at] === "{" || text[at] === "[") return endOfValue(text, at);
  return text[at] === '"' ? endOfString(text, at) : skip(SCALAR, text, at);
}

function stringOf(json: string): string {
  return json.includes("\\") ? String(JSON.parse(json)) : json.slice(1, -1);
}

function cellOf(json: string): string | null {
  if (json.startsWith('"')) return stringOf(json);
  return json === "null" ? null : json;
}
