/** The exact text of each type's values, and the values of these texts. */
import sql, { type Sql } from "sql-template-tag";
import { columnSql, type Column } from "./inspection.js";

const INTEGERS = new Set(["tinyint", "smallint", "mediumint", "int", "bigint"]);
const BINARY = new Set(["binary", "varbinary", "tinyblob", "blob", "mediumblob", "longblob", "vector"]);
const TEXTS = new Set(["char", "varchar", "tinytext", "text", "mediumtext", "longtext"]);
const GEOMETRIES = /^(?:geometry|geometrycollection|geomcollection|(?:multi)?(?:point|linestring|polygon))$/;

export function isInteger({ type }: Pick<Column, "type">): boolean {
  return INTEGERS.has(type);
}

export function isText({ type }: Pick<Column, "type">): boolean {
  return TEXTS.has(type);
}

function isUnsigned({ declared }: Column): boolean {
  return /\bunsigned\b/.test(declared);
}

/** As every connection gets it: numbers, times and JSON come as the server writes them. */
export function textSql(column: Column): Sql {
  const value = columnSql(column);
  if (column.type === "bit") return sql`${value} + 0`;
  if (BINARY.has(column.type)) return sql`lower(hex(${value}))`;
  // The text of a float has six digits, and would hide a change in the seventh.
  if (column.type === "float") return sql`${value} + 0e0`;
  if (GEOMETRIES.test(column.type)) return sql`st_astext(${value})`;
  return value;
}

/** Null: as it came. */
export function readText(column: Column, text: string | null): string | null {
  return column.type === "float" && text !== null ? shortFloat(text) : text;
}

const FLOAT_DIGITS_MAX = 9;

/** The shortest text that names this float of 32 bits: `1.1`, where its double is 1.100000023841858. */
function shortFloat(text: string): string {
  const value = Number(text);
  for (let digits = 1; digits < FLOAT_DIGITS_MAX; digits++) {
    const short = Number(value.toPrecision(digits));
    if (Math.fround(short) === value) return String(short);
  }
  return text;
}

/** A column whose order and equality its texts keep, so that a reading can continue after one. */
export function canOrder({ type }: Column): boolean {
  return (
    INTEGERS.has(type) ||
    BINARY.has(type) ||
    TEXTS.has(type) ||
    ["decimal", "bit", "date", "datetime", "timestamp", "time", "year", "uuid"].includes(type)
  );
}

/** A text of `textSql` as a value. MySQL would compare a whole number with a text as doubles. */
export function valueSql(column: Column, text: string): Sql {
  const { type, precision, scale } = column;
  if (INTEGERS.has(type)) return isUnsigned(column) ? sql`cast(${text} as unsigned)` : sql`cast(${text} as signed)`;
  if (type === "bit" || type === "year") return sql`cast(${text} as unsigned)`;
  if (type === "decimal") return sql`cast(${text} as decimal(${precision}, ${scale}))`;
  if (type === "date") return sql`cast(${text} as date)`;
  if (type === "datetime" || type === "timestamp") return sql`cast(${text} as datetime(6))`;
  if (type === "time") return sql`cast(${text} as time(6))`;
  return BINARY.has(type) ? sql`unhex(${text})` : sql`${text}`;
}
