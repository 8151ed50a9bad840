/**
 * The size of a row's columns, as far as PostgreSQL knows it without reading them: of text and bytea the length (0.1
 * ms at 600 MB), of other types only the stored size, which may be compressed. Qualified SQL, because users' code runs
 * next to it.
 */
import { quoteIdentifier, quoteLiteral, raw, sql, type Sql } from "../../postgres/database.js";
import { LARGE_PREFIX, ROW_BYTES_MAX } from "../source.js";
import { textOf, type TableColumn } from "./inspection.js";

/** Above this the text exceeds the bound: arrays of small numbers are up to four times as large as their text. */
const STORED_BYTES_MAX = 4 * ROW_BYTES_MAX;
/** Larger values of other types are turned into text one row a statement. */
const TOGETHER_BYTES_MAX = 256 * 1024;

/** Built-in types whose length needs no reading; bytea is read as hexadecimal text. */
const MEASURED_TYPES = new Set(["text", "character varying", "character", "bytea"]);

export function isMeasured(column: TableColumn): boolean {
  return column.builtIn && MEASURED_TYPES.has(column.type);
}

/** Read with others in one statement, alone in one, or never. */
export const WEIGHT = { together: 0, alone: 1, never: 2 } as const;

export interface RowSize {
  /** All columns: the length as text where it needs no reading, else the stored size. */
  readonly bytes: Sql;
  readonly weight: Sql;
}

export function rowSize(alias: string, columns: readonly TableColumn[]): RowSize {
  const known = sum(columns.filter(isMeasured).map((column) => knownBytes(alias, column)));
  const stored = sum(columns.filter((column) => !isMeasured(column)).map((column) => storedBytes(alias, column)));
  const over = (bytes: string, max: number) => `${bytes} operator(pg_catalog.>) ${max}`;
  return {
    bytes: raw(`(${known} operator(pg_catalog.+) ${stored})`),
    weight: raw(`case when ${over(known, ROW_BYTES_MAX)} or ${over(stored, STORED_BYTES_MAX)} then ${WEIGHT.never}
      when ${over(stored, TOGETHER_BYTES_MAX)} then ${WEIGHT.alone} else ${WEIGHT.together} end`),
  };
}

/** The length as text of those columns that have to be read for it. */
export function readBytes(alias: string, columns: readonly TableColumn[]): Sql {
  const texts = columns.filter((column) => !isMeasured(column));
  return raw(sum(texts.map((column) => lengthOf(`(${textOf(alias, column)})`))));
}

/**
 * Stands in for a content's hash, as bytes, so that a sweep sees without reading whether a row changed. Its number is
 * padded so that it never has the length of a hash.
 */
export function largeHash(bytes: Sql): Sql {
  return sql`pg_catalog.convert_to(
    pg_catalog.concat(${raw(quoteLiteral(LARGE_PREFIX))}, pg_catalog.lpad(${bytes}::pg_catalog.text, 13, '0')),
    'UTF8')`;
}

function knownBytes(alias: string, column: TableColumn): string {
  const length = lengthOf(cell(alias, column));
  // Parentheses, because all qualified operators have the same precedence.
  return column.type === "bytea" ? `(${length} operator(pg_catalog.*) 2)` : length;
}

function lengthOf(text: string): string {
  return `coalesce(pg_catalog.octet_length(${text}), 0)::pg_catalog.int8`;
}

function storedBytes(alias: string, column: TableColumn): string {
  return `coalesce(pg_catalog.pg_column_size(${cell(alias, column)}), 0)::pg_catalog.int8`;
}

function cell(alias: string, column: TableColumn): string {
  return `${alias}.${quoteIdentifier(column.name)}`;
}

function sum(terms: readonly string[]): string {
  return terms.length === 0 ? "0::pg_catalog.int8" : `(${terms.join(" operator(pg_catalog.+) ")})`;
}
