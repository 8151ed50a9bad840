/** A row's cells for display: long ones are cut, and those that would first have to be built in full are only named. */
import { identifier, raw, sql, type Sql } from "../../postgres/database.js";
import { isCut, SHOWN_CHARACTERS_MAX, shownText } from "../../postgres/shown-text.js";
import { isMeasured } from "./row-size.js";
import { textOf, type TableColumn } from "./inspection.js";

/** Larger stored values, of types whose length is not known without reading, are not turned into text. */
const SHOWN_STORED_BYTES_MAX = 1024 * 1024;

/** As text; null for null. */
export function shownCell(alias: string, column: TableColumn): Sql {
  const cell = sql`${raw(alias)}.${identifier(column.name)}`;
  const whole = raw(`(${textOf(alias, column)})`);
  if (!isMeasured(column))
    return sql`case
      when ${isHeavy(cell)} then ${heavyText(cell)}
      else ${shownText({ whole, bytes: sql`pg_catalog.octet_length(${whole})` })} end`;
  if (column.type !== "bytea") return shownText({ whole, bytes: sql`pg_catalog.octet_length(${cell})` });
  const head = sql`pg_catalog.substr(${cell}, 1, ${raw(String(SHOWN_CHARACTERS_MAX))})::pg_catalog.text`;
  return shownText({ whole, head, bytes: sql`pg_catalog.octet_length(${cell})` });
}

/** A long cell is JSON text; so is one of a user-defined type, whose cast to json is user-defined code. */
export function shownJson(alias: string, column: TableColumn): Sql {
  const cell = sql`${raw(alias)}.${identifier(column.name)}`;
  if (isMeasured(column) || !column.builtIn) return sql`pg_catalog.to_json(${shownCell(alias, column)})`;
  const isLong = isCut(sql`pg_catalog.octet_length(${raw(`(${textOf(alias, column)})`)})`);
  return sql`case when ${isHeavy(cell)} then pg_catalog.to_json(${heavyText(cell)})
    when ${isLong} then pg_catalog.to_json(${shownCell(alias, column)}) else pg_catalog.to_json(${cell}) end`;
}

function isHeavy(cell: Sql): Sql {
  return sql`pg_catalog.pg_column_size(${cell}) operator(pg_catalog.>) ${raw(String(SHOWN_STORED_BYTES_MAX))}`;
}

function heavyText(cell: Sql): Sql {
  return sql`pg_catalog.concat('[', pg_catalog.pg_column_size(${cell}), ' bytes as stored: too long to show]')`;
}
