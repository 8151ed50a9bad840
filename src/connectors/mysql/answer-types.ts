/** The types of MySQL and MariaDB for an answer's columns, and the values that go into them. */
import sql, { type Sql } from "sql-template-tag";
import type { AnswerColumn } from "../../model/answer/answer-columns.js";
import type { Json } from "../../model/pipeline.js";
import type { Column } from "./inspection.js";

const WHOLE = ["tinyint", "smallint", "mediumint", "int", "bigint", "decimal"];
const LONG = ["text", "mediumtext", "longtext"];
const TEXTS = ["char", "varchar", "tinytext", ...LONG];
/** Of texts that the schema lists, which are short enough for an index. */
const LISTED_CHARS_MAX = 255;

/** Which types can hold which answers. The session is strict: a value that does not fit is refused, never cut. */
const HOLD: Readonly<Record<AnswerColumn["type"], readonly string[]>> = {
  text: [...TEXTS, "enum"],
  bigint: [...WHOLE, ...TEXTS],
  "double precision": ["double", "float", "decimal", ...TEXTS],
  boolean: [...WHOLE, "bit", ...TEXTS],
  "text[]": ["json", ...LONG, "varchar"],
  jsonb: ["json", ...LONG, "varchar"],
};

export function holds({ type }: AnswerColumn, column: Column): boolean {
  return HOLD[type].includes(column.type);
}

export function typeOf({ type, check }: AnswerColumn): string {
  switch (type) {
    case "bigint":
      return "bigint";
    case "double precision":
      return "double";
    case "boolean":
      return "boolean";
    case "text[]":
    case "jsonb":
      return "json";
    default: {
      const isShort = check !== null && check.every((text) => [...text].length <= LISTED_CHARS_MAX);
      return `${isShort ? `varchar(${LISTED_CHARS_MAX})` : "longtext"} character set utf8mb4`;
    }
  }
}

/** A cell, for its column. */
export function cellSql(answer: AnswerColumn, column: Column, cell: Json | undefined): Sql {
  if (cell === undefined || cell === null) return sql`null`;
  if (answer.type === "boolean")
    return TEXTS.includes(column.type) ? sql`${String(cell)}` : sql`${cell === true ? 1 : 0}`;
  if (answer.type === "text[]" || (answer.type === "jsonb" && answer.isJsonText !== true))
    return sql`${JSON.stringify(cell)}`;
  return sql`${typeof cell === "object" ? JSON.stringify(cell) : String(cell)}`;
}
