/** One row from elsewhere as the JSON text that Rowmill's copy takes: each declared column's text, or null. Pure. */
import type { Cell } from "../connector.js";
import { canonicalJson } from "../json/canonical-json.js";
import type { Json } from "../pipeline.js";

export interface RefusedRow {
  /** For display. */
  readonly key: string | null;
  /** The JSON text of its key, by which it counts as present. Null: it has none. */
  readonly keyText: string | null;
  /** For display; one of a few texts. */
  readonly reason: string;
}

export function isRefused(row: string | RefusedRow): row is RefusedRow {
  return typeof row !== "string";
}

const NO_CHARACTERS = "it has a character that PostgreSQL cannot hold (U+0000, or half of a surrogate pair)";
const NO_TEXT = "one of its values has no text: an invalid date, or an object that cannot be JSON";

type Row = Readonly<Record<string, Cell>>;
type Cells = Readonly<Record<string, string | null>>;

/** `key`: its columns, which are among `columns`. */
export function rowText(
  row: Row,
  { key, columns }: { readonly key: readonly string[]; readonly columns: readonly string[] },
): string | RefusedRow {
  const cells = cellsOf(row, columns);
  if (typeof cells !== "string") return JSON.stringify(cells);
  const keys = cellsOf(row, key);
  if (typeof keys === "string") return { key: null, keyText: null, reason: cells };
  const texts = Object.values(keys);
  return { key: texts[0] ?? null, keyText: texts.includes(null) ? null : JSON.stringify(keys), reason: cells };
}

/** Or why they cannot be kept. */
function cellsOf(row: Row, columns: readonly string[]): Cells | string {
  // Without a prototype, of which a column may have the name.
  const cells: Record<string, string | null> = Object.create(null) as Record<string, string | null>;
  for (const column of columns) {
    let text: string | null;
    try {
      text = Object.hasOwn(row, column) ? cellText(row[column]) : null;
    } catch {
      return NO_TEXT;
    }
    if (text !== null && (text.includes("\0") || !text.isWellFormed())) return NO_CHARACTERS;
    cells[column] = text;
  }
  return cells;
}

/** `Uint8Array`: as PostgreSQL writes a bytea. */
export function cellText(value: Cell): string | null {
  if (value === null || value === undefined) return null;
  if (typeof value === "string") return value;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return `\\x${Buffer.from(value).toString("hex")}`;
  if (typeof value !== "object") return String(value);
  // A `toJSON` may give nothing.
  const text: string | undefined = JSON.stringify(value);
  // Many systems give the names of an object in any order: then the row would seem to change.
  return text === undefined ? null : canonicalJson(JSON.parse(text) as Json);
}
