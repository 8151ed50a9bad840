/**
 * The fragments of every statement over a user's table. With a user's predicate the statements run under the role's own
 * search path, so every name in them is qualified.
 */
import { identifier, join, raw, sql, underRolePath, type Sql } from "../../postgres/database.js";
import { textArray } from "../../postgres/arrays.js";
import { visibleBefore } from "../../postgres/visible.js";
import { keyEquals, textOf, type SourceTable, type TableColumn } from "./inspection.js";
import { weighRows, type WeighedRows } from "./weighed-rows.js";

export interface TableSourceOptions {
  readonly pipelineId: number;
  readonly where: string | null;
  /** With `existing: "skip"`, the snapshot of the installation: rows that it sees existed before. */
  readonly skipBefore: string | null;
}

/** Fragments over the source under the alias `s`. */
export interface TableParts {
  readonly pipelineId: number;
  readonly columns: readonly TableColumn[];
  readonly key: readonly TableColumn[];
  readonly from: Sql;
  readonly keyText: Sql;
  /** The key's parts as a JSON array of texts. */
  readonly keyParts: Sql;
  /** The same from the ledger's spelling of a key, for the cursor. */
  readonly partsOf: (key: Sql) => Sql;
  readonly keyColumns: Sql;
  readonly keyNotNull: Sql;
  readonly rows: WeighedRows;
  readonly matches: Sql;
  readonly existedBefore: Sql;
  /** Every statement over the table goes through this. */
  readonly statement: (statement: Sql) => Sql;
}

export function tableParts(table: SourceTable, options: TableSourceOptions): TableParts {
  const texts = table.key.map((column) => raw(textOf("s", column)));
  const keyParts = sql`pg_catalog.json_build_array(${join(texts)})::pg_catalog.text`;
  const [only] = texts;
  return {
    pipelineId: options.pipelineId,
    columns: table.columns,
    key: table.key,
    from: raw(table.from),
    keyText: texts.length === 1 && only ? only : keyParts,
    keyParts,
    partsOf: (key) => (texts.length === 1 ? sql`pg_catalog.json_build_array(${key})` : sql`${key}::pg_catalog.json`),
    keyColumns: join(table.key.map((column) => sql`s.${identifier(column.name)}`)),
    keyNotNull: join(
      table.key.map((column) => sql`s.${identifier(column.name)} is not null`),
      " and ",
    ),
    rows: weighRows(table.columns),
    matches: matchesOf(table, options),
    existedBefore: options.skipBefore === null ? sql`false` : visibleBefore(sql`s.xmin`, options.skipBefore),
    statement: options.where === null ? (statement) => statement : underRolePath,
  };
}

/** No row of an earlier generation has all columns. */
function matchesOf({ generation }: SourceTable, { where }: TableSourceOptions): Sql {
  const conditions = [
    ...(generation === null ? [] : [sql`s.rowmill_generation operator(pg_catalog.=) ${raw(String(generation))}`]),
    ...(where === null ? [] : [sql`(${raw(where)})`]),
  ];
  return conditions.length === 0 ? sql`true` : join(conditions, " and ");
}

/** As `k`, with the place of each from 1 on. */
export function eachKey(keys: readonly string[]): Sql {
  return sql`pg_catalog.unnest(${textArray(keys)}) with ordinality as k (key, position)`;
}

/** The row of `k.key`, unread. */
export function rowOf(parts: TableParts): Sql {
  return sql`(select ${parts.rows.cells}, ${parts.existedBefore} as "rowmill existed" from ${parts.from} s
    where ${isRowOf(parts, sql`k.key`)})`;
}

export function isRowOf(parts: TableParts, ledgerKey: Sql): Sql {
  return sql`${keyEquals("s", parts.key, ledgerKey)}
    and ${parts.keyText} operator(pg_catalog.=) ${ledgerKey}
    and ${parts.matches}`;
}
