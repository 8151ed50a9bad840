/** Owns which row a record is: its key, by which it is known again, and the cells that are asked about. Pure. */
import { createHash } from "node:crypto";
import type { FileRecord } from "../../files/file-types.js";
import { isRefused, rowText } from "../../model/request/sync-row.js";

/** How the records of a file become rows. */
export interface RowShape {
  /** The column whose cells name the rows; null: the cells that are asked about do, so equal questions are one row. */
  readonly keyColumn: string | null;
  /** The name of the key in Rowmill's copy: `keyColumn`, or one that the file does not have. */
  readonly key: string;
  /** Their names in prompts and in Rowmill's copy, */
  readonly columns: readonly string[];
  /** which stand for these columns of the file. */
  readonly names: ReadonlyMap<string, string>;
}

export type FileRow =
  | { readonly key: string; readonly cells: Readonly<Record<string, string | null>> }
  /** Why this record cannot be asked. */
  | { readonly problem: string };

/** As `rowmill.push_rows` refuses them. */
const KEY_BYTES_MAX = 1_024;
const ROW_BYTES_MAX = 4 * 1024 * 1024;
const HASH_CHARACTERS = 32;

/** PostgreSQL cuts longer names. */
const NAME_BYTES_MAX = 63;
const OWN_PREFIX = "rowmill_";

/** What the columns are called in prompts: by their names, or by their places where PostgreSQL cannot hold a name. */
export function promptNames(columns: readonly string[]): ReadonlyMap<string, string> {
  return new Map(columns.map((column, at) => [isUsable(column) ? column : numbered(at + 1, columns), column]));
}

/** Whether PostgreSQL and a config can name it. */
export function isUsable(name: string): boolean {
  // An object takes a cell of that name for its prototype.
  if (name === "__proto__") return false;
  return Buffer.byteLength(name) <= NAME_BYTES_MAX && !name.startsWith(OWN_PREFIX) && !/^".*"$/s.test(name);
}

function numbered(place: number, columns: readonly string[]): string {
  let name = `column_${place}`;
  while (columns.includes(name)) name += "_";
  return name;
}

/** A name for the key that no column has. */
export function contentKeyName(columns: readonly string[]): string {
  let name = "line_hash";
  while (columns.includes(name)) name += "_";
  return name;
}

export function rowOf(record: FileRecord, { keyColumn, key, columns, names }: RowShape): FileRow {
  if ("problem" in record) return { problem: record.problem };
  const asked = Object.fromEntries(columns.map((name) => [name, record.cells[names.get(name) ?? name] ?? null]));
  const named = keyColumn === null ? contentHash(asked) : (record.cells[keyColumn] ?? "");
  if (named === "") return { problem: `Its key is empty: the column "${keyColumn ?? ""}" names the row.` };
  if (Buffer.byteLength(named) > KEY_BYTES_MAX)
    return { problem: `Its key in the column "${keyColumn ?? ""}" has more than ${KEY_BYTES_MAX} bytes.` };
  const cells = { ...asked, [key]: named };
  const text = rowText(cells, { key: [key], columns: [...new Set([key, ...columns])] });
  if (isRefused(text)) return { problem: `It cannot be read: ${text.reason}.` };
  if (Buffer.byteLength(text) > ROW_BYTES_MAX)
    return { problem: "The columns that the question reads have more than 4 MiB." };
  return { key: named, cells };
}

/** Of the cells with their names, in any order. */
function contentHash(cells: Readonly<Record<string, string | null>>): string {
  const named = Object.entries(cells).toSorted(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(named)).digest("hex").slice(0, HASH_CHARACTERS);
}
