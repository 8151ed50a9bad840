/** One row from elsewhere as the JSON text that Rowmill's copy takes: each declared column's text, or null. Pure. */
import type { Cell } from "../connector.js";

export interface RefusedRow {
  readonly key: string | null;
  /** For display; one of a few texts. */
  readonly reason: string;
}

export function isRefused(row: string | RefusedRow): row is RefusedRow {
  return typeof row !== "string";
}

export function rowText(row: { readonly [column: string]: Cell }, columns: readonly string[]): string | RefusedRow {
  const cells: Record<string, string | null> = {};
  for (const column of columns) {
    const text = Object.hasOwn(row, column) ? cellText(row[column]) : null;
    if (text !== null && (text.includes("\0") || !text.isWellFormed())) {
      const [key = null] = Object.values(cells);
      return { key, reason: "it has a character that PostgreSQL cannot hold (U+0000, or half of a surrogate pair)" };
    }
    cells[column] = text;
  }
  return JSON.stringify(cells);
}

/** `Uint8Array`: as PostgreSQL writes a bytea. */
export function cellText(value: Cell): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return value;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString("hex")}`;
  return typeof value === "object" ? JSON.stringify(value) : String(value);
}
