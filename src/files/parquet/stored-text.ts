/** Turns values as Parquet stores them into exact texts. Pure. */
import type { SchemaElement } from "hyparquet";
import { containerOf, isJson, isText, kindOf, type StoredColumn } from "./stored-schema.js";

/** A text whose bytes are not UTF-8. */
export class BadText extends Uint8Array {}

const DAY_MS = 86_400_000;
const NANOS: Readonly<Record<string, bigint>> = { MILLIS: 1_000_000n, MICROS: 1_000n, NANOS: 1n };

/** Null for null. A list, map or struct is JSON. @throws Error for a value that does not fit its type */
export function storedText(column: StoredColumn, value: unknown): string | null {
  if (value === null || value === undefined) return null;
  return kindOf(column) === "json" ? jsonOf(column, value) : leafText(column.element, value);
}

/** `isItem`: one of a repeated field. */
function jsonOf(column: StoredColumn, value: unknown, isItem = false): string {
  const { element, children } = column;
  if (value === null || value === undefined) return "null";
  if (element.repetition_type === "REPEATED" && !isItem && Array.isArray(value)) {
    return `[${value.map((item) => jsonOf(column, item, true)).join(",")}]`;
  }
  const [first] = children;
  if (first === undefined) return leafJson(element, value);
  if (element.logical_type?.type === "VARIANT") return plainJson(value);
  const container = containerOf(element);
  if (container === "LIST" && Array.isArray(value)) {
    const [only] = first.children;
    const item = first.children.length === 1 && only !== undefined ? only : first;
    return `[${value.map((one) => jsonOf(item, one, true)).join(",")}]`;
  }
  const members = Object.entries(value as object);
  const mapped = first.children[1];
  const inside = (name: string): StoredColumn | undefined =>
    container === "MAP" ? mapped : children.find((child) => child.element.name === name);
  const texts = members.map(([name, member]) => {
    const child = inside(name);
    return `${JSON.stringify(name)}:${child === undefined ? plainJson(member) : jsonOf(child, member)}`;
  });
  return `{${texts.join(",")}}`;
}

function leafJson(element: SchemaElement, value: unknown): string {
  const text = leafText(element, value);
  const kind = kindOf({ element: { ...element, repetition_type: "OPTIONAL" }, children: [] });
  const isBare = kind === "boolean" || kind === "json" || (kind === "number" && /\d$/.test(text));
  return isBare ? text : JSON.stringify(text);
}

/** Of values without a schema, as in variants. */
function plainJson(value: unknown): string {
  if (typeof value === "bigint") return String(value);
  if (value instanceof Uint8Array) return JSON.stringify(hexOf(value));
  if (value instanceof Date) return JSON.stringify(value.toISOString());
  if (Array.isArray(value)) return `[${value.map(plainJson).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value) ?? "null";
  return `{${Object.entries(value)
    .map(([name, member]) => `${JSON.stringify(name)}:${plainJson(member)}`)
    .join(",")}}`;
}

function leafText(element: SchemaElement, value: unknown): string {
  if (value instanceof BadText) throw new Error("It holds bytes that are not UTF-8.");
  if (typeof value === "string") return isJson(element) ? value.replaceAll(/[\r\n]+/g, " ") : value;
  if (typeof value === "boolean") return String(value);
  if (value instanceof Uint8Array) return bytesText(element, value);
  if (typeof value !== "number" && typeof value !== "bigint") throw new Error("It holds a value of an unknown kind.");
  if (element.type === "FLOAT") return floatText(Number(value));
  if (element.type === "DOUBLE") return doubleText(Number(value));
  if (element.type === "INT96") return timestampText(BigInt(value), "NANOS", false);
  return wholeText(element, BigInt(value));
}

function wholeText(element: SchemaElement, value: bigint): string {
  const { converted_type: converted, logical_type: logical } = element;
  if (converted === "DECIMAL" || logical?.type === "DECIMAL") return decimalText(value, scaleOf(element));
  if (converted === "DATE" || logical?.type === "DATE") return dateText(Number(value));
  if (logical?.type === "TIMESTAMP") return timestampText(value, logical.unit, logical.isAdjustedToUTC);
  if (logical?.type === "TIME") return timeText(value, logical.unit);
  switch (converted) {
    case "TIMESTAMP_MILLIS":
      return timestampText(value, "MILLIS", true);
    case "TIMESTAMP_MICROS":
      return timestampText(value, "MICROS", true);
    case "TIME_MILLIS":
      return timeText(value, "MILLIS");
    case "TIME_MICROS":
      return timeText(value, "MICROS");
    default: {
      const isUnsigned = converted?.startsWith("UINT_") === true || (logical?.type === "INTEGER" && !logical.isSigned);
      return String(isUnsigned ? BigInt.asUintN(element.type === "INT64" ? 64 : 32, value) : value);
    }
  }
}

function scaleOf({ scale, logical_type }: SchemaElement): number {
  return scale ?? (logical_type?.type === "DECIMAL" ? logical_type.scale : 0);
}

function bytesText(element: SchemaElement, bytes: Uint8Array): string {
  const { converted_type: converted, logical_type: logical } = element;
  if (converted === "DECIMAL" || logical?.type === "DECIMAL") return decimalText(signed(bytes), scaleOf(element));
  if (logical?.type === "UUID" && bytes.length === 16) {
    return Buffer.from(bytes)
      .toString("hex")
      .replace(/^(.{8})(.{4})(.{4})(.{4})/, "$1-$2-$3-$4-");
  }
  if (logical?.type === "FLOAT16" && bytes.length === 2) return doubleText(halfFloat(bytes));
  if (converted === "INTERVAL" && bytes.length === 12) {
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    const [months, days, millis] = [0, 4, 8].map((at) => view.getUint32(at, true));
    return `P${months}M${days}DT${(millis ?? 0) / 1000}S`;
  }
  if (isText(element)) return Buffer.from(bytes).toString();
  return hexOf(bytes);
}

/** As PostgreSQL prints bytea. */
function hexOf(bytes: Uint8Array): string {
  return `\\x${Buffer.from(bytes).toString("hex")}`;
}

/** Two's complement, the highest byte first. */
function signed(bytes: Uint8Array): bigint {
  if (bytes.length === 0) return 0n;
  return BigInt.asIntN(bytes.length * 8, BigInt(`0x${Buffer.from(bytes).toString("hex")}`));
}

function decimalText(unscaled: bigint, scale: number): string {
  if (scale <= 0) return String(unscaled * 10n ** BigInt(-scale));
  const digits = String(unscaled < 0n ? -unscaled : unscaled).padStart(scale + 1, "0");
  return `${unscaled < 0n ? "-" : ""}${digits.slice(0, -scale)}.${digits.slice(-scale)}`;
}

function doubleText(value: number): string {
  return Object.is(value, -0) ? "-0" : String(value);
}

/** The shortest text that is the same float. */
function floatText(value: number): string {
  for (let digits = 6; digits <= 9; digits++) {
    const text = doubleText(Number(value.toPrecision(digits)));
    if (Math.fround(Number(text)) === value) return text;
  }
  return doubleText(value);
}

function halfFloat(bytes: Uint8Array): number {
  const bits = ((bytes[1] ?? 0) << 8) | (bytes[0] ?? 0);
  const [sign, exponent, fraction] = [bits >> 15 === 0 ? 1 : -1, (bits >> 10) & 0x1f, bits & 0x3ff];
  if (exponent === 0) return sign * 2 ** -14 * (fraction / 1024);
  if (exponent === 0x1f) return fraction === 0 ? sign * Infinity : Number.NaN;
  return sign * 2 ** (exponent - 15) * (1 + fraction / 1024);
}

/** @throws RangeError beyond the years of JavaScript's dates */
function dateText(days: number): string {
  return new Date(days * DAY_MS).toISOString().replace(/T.*/, "");
}

const DAY_NANOS = BigInt(DAY_MS) * 1_000_000n;

/** With the digits of its unit. */
function timestampText(value: bigint, unit: string, isUtc: boolean): string {
  const nanos = value * (NANOS[unit] ?? 1n);
  const time = ((nanos % DAY_NANOS) + DAY_NANOS) % DAY_NANOS;
  const days = Number((nanos - time) / DAY_NANOS);
  return `${dateText(days)}T${timeOf(time, unit)}${isUtc ? "Z" : ""}`;
}

function timeText(value: bigint, unit: string): string {
  return timeOf(value * (NANOS[unit] ?? 1n), unit);
}

const DIGITS: Readonly<Record<string, number>> = { MILLIS: 3, MICROS: 6, NANOS: 9 };

function timeOf(nanos: bigint, unit: string): string {
  const [seconds, fraction] = [Number(nanos / 1_000_000_000n), String(nanos % 1_000_000_000n).padStart(9, "0")];
  const parts = [Math.floor(seconds / 3600), Math.floor(seconds / 60) % 60, seconds % 60];
  return `${parts.map((part) => String(part).padStart(2, "0")).join(":")}.${fraction.slice(0, DIGITS[unit] ?? 9)}`;
}
