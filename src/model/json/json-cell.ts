/**
 * Owns cells of type json and jsonb as a template reads them. Pure. Numbers keep their text if a double would change it
 * (1.10, 1e400, twenty digits). A whole cell prints as the text that was read, an object or list inside it as JSON.
 */
import { endOfString, SCALAR, skip, skipSpace } from "./json-scan.js";
import { isOverfull, JSON_DEPTH_MAX, JSON_VALUES_MAX } from "./json-values.js";
import type { RowCells } from "../pipeline.js";

/** The texts of whole cells. */
const sources = new WeakMap<object, string>();

/** A template reaches only its own properties, which are the keys. */
class JsonObject {
  readonly [name: string]: unknown;
  // A symbol, because a key may be called `toString`.
  [Symbol.toPrimitive](): string {
    return jsonText(this);
  }
}

class JsonList extends Array<unknown> {
  /** Filters return plain lists. */
  static override get [Symbol.species](): ArrayConstructor {
    return Array;
  }
}

/** A number whose text a double would change. liquidjs compares with the methods of these names. */
class JsonNumber {
  readonly #text: string;
  readonly #value: number;
  constructor(text: string) {
    this.#text = text;
    this.#value = Number(text);
  }
  toString(): string {
    return this.#text;
  }
  valueOf(): number {
    return this.#value;
  }
  equals(other: unknown): boolean {
    return this.#value === Number(other);
  }
  gt(other: unknown): boolean {
    return this.#value > Number(other);
  }
  geq(other: unknown): boolean {
    return this.#value >= Number(other);
  }
  lt(other: unknown): boolean {
    return this.#value < Number(other);
  }
  leq(other: unknown): boolean {
    return this.#value <= Number(other);
  }
}

/** The row with these cells parsed. @throws Error if one is not JSON, or too large */
export function withJsonCells(row: RowCells, names: ReadonlySet<string>): Readonly<Record<string, unknown>> {
  const walked = [...names].flatMap((name): [string, unknown][] => {
    const cell = row[name];
    return cell === undefined || cell === null ? [] : [[name, jsonCell(cell)]];
  });
  return { ...row, ...Object.fromEntries(walked) };
}

function jsonCell(text: string): object {
  if (isOverfull(text)) throw new Error(`a cell of JSON holds more than ${JSON_VALUES_MAX} values`);
  JSON.parse(text);
  const { value } = valueAt(text, skipSpace(text, 0), 1);
  // A text, a number or null has nothing inside.
  const cell = value instanceof JsonObject || value instanceof JsonList ? value : new JsonObject();
  sources.set(cell, text);
  return cell;
}

/** Null for what is neither object nor list, and prints by itself. */
export function printedJson(value: unknown): string | null {
  return value instanceof JsonObject || value instanceof JsonList ? jsonText(value) : null;
}

function jsonText(value: unknown): string {
  if (typeof value === "string") return JSON.stringify(value);
  if (value instanceof JsonList) return sources.get(value) ?? `[${[...value].map(jsonText).join(", ")}]`;
  if (!(value instanceof JsonObject)) return String(value);
  const members = Object.entries(value).map(([name, member]) => `${JSON.stringify(name)}: ${jsonText(member)}`);
  return sources.get(value) ?? `{${members.join(", ")}}`;
}

interface Read {
  readonly value: unknown;
  /** After it and the white space that follows. */
  readonly end: number;
}

/** `json` is valid. */
function valueAt(json: string, at: number, depth: number): Read {
  if (depth > JSON_DEPTH_MAX) throw new Error(`a cell of JSON is nested deeper than ${JSON_DEPTH_MAX} levels`);
  if (json[at] === "{") return objectAt(json, at, depth);
  if (json[at] === "[") return listAt(json, at, depth);
  const end = json[at] === '"' ? endOfString(json, at) : skip(SCALAR, json, at);
  return { value: scalarOf(json.slice(at, end)), end: skipSpace(json, end) };
}

function scalarOf(text: string): unknown {
  const value: unknown = JSON.parse(text);
  return typeof value === "number" && String(value) !== text ? new JsonNumber(text) : value;
}

function objectAt(json: string, opened: number, depth: number): Read {
  const object = new JsonObject();
  let at = skipSpace(json, opened + 1);
  while (json[at] !== "}") {
    const name = valueAt(json, at, depth);
    const member = valueAt(json, skipSpace(json, name.end + 1), depth + 1);
    // Not an assignment: a key may be called `__proto__`.
    const property = { value: member.value, enumerable: true, configurable: true };
    Object.defineProperty(object, String(name.value), property);
    at = json[member.end] === "," ? skipSpace(json, member.end + 1) : member.end;
  }
  return { value: object, end: skipSpace(json, at + 1) };
}

function listAt(json: string, opened: number, depth: number): Read {
  const list = new JsonList();
  let at = skipSpace(json, opened + 1);
  while (json[at] !== "]") {
    const entry = valueAt(json, at, depth + 1);
    list.push(entry.value);
    at = json[entry.end] === "," ? skipSpace(json, entry.end + 1) : entry.end;
  }
  return { value: list, end: skipSpace(json, at + 1) };
}
