/** How a table of another PostgreSQL is read in pages. Each page is a short read-only transaction. */
import type { Page, ReadOptions } from "../../model/connector.js";
import type { RowCells } from "../../model/pipeline.js";
import { join, quoteIdentifier, raw, sql, type Database, type Sql } from "../../postgres/database.js";
import { inspectTable, textOf, type SourceTable, type TableColumn } from "../../sources/table/inspection.js";
import {
  overlapOf,
  PAGE_BYTES,
  readInOrder,
  refuseCursor,
  withPlaceHint,
  type CursorColumn,
  type OrderColumn,
  type OrderedTable,
  type PageQuery,
  type PageRows,
} from "../reading/read-in-order.js";
import { openServer } from "./server.js";
import type { ReadTable } from "../reading/table-spec.js";

const TIMES = new Set(["date", "timestamp without time zone", "timestamp with time zone"]);
const NUMBERS = new Set(["smallint", "integer", "bigint", "numeric"]);

/** @throws ConnectorError */
export async function* readPages(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const { database, explain } = openServer(table.url, table.table, { poolMax: 1, signal: options.signal });
  try {
    const found = await database.transaction((tx) => inspectTable(tx, shapeOf(table)), { readOnly: true });
    if (table.cursor !== null) requireCursor(found, table);
    yield* readInOrder(orderedTable(database, table, found), options);
  } catch (error) {
    throw withPlaceHint(explain(error), options);
  } finally {
    await database.close();
  }
}

/** The cursor is read as a column too. */
export function shapeOf({ table, key, columns, cursor }: ReadTable): Parameters<typeof inspectTable>[1] {
  return { table, key, columns: [...new Set([...columns, ...(cursor === null ? [] : [cursor])])] };
}

/** A cursor that can be read with its overlap. @throws ConnectorError */
export function requireCursor({ columns, key }: SourceTable, { cursor, overlap }: ReadTable): TableColumn {
  const column = [...columns, ...key].find((one) => one.name === cursor);
  if (column === undefined || !(TIMES.has(column.type) || NUMBERS.has(column.type)))
    return refuseCursor(cursor ?? "", column?.type ?? "nothing");
  overlapOf(kindOf(column), overlap);
  return column;
}

function kindOf({ type }: TableColumn): CursorColumn["kind"] {
  return TIMES.has(type) ? "time" : "number";
}

function orderedTable(database: Database, table: ReadTable, found: SourceTable): OrderedTable {
  return {
    from: raw(found.from),
    key: found.key.map(orderColumn),
    cursor: table.cursor === null ? null : cursorColumn(requireCursor(found, table)),
    overlap: table.overlap,
    where: table.where,
    first: (statement) => database.first<Record<string, unknown>>(statement),
    after: (columns, values) => sql`(${join([...columns])}) > (${join([...values])})`,
    page: (query) => readPage(database, found, query),
  };
}

function orderColumn({ name, castType }: TableColumn): OrderColumn {
  return {
    name,
    column: raw(`t.${quoteIdentifier(name)}`),
    value: (text) => sql`${text}::text::${raw(castType)}`,
  };
}

function cursorColumn(column: TableColumn): CursorColumn {
  const { type, castType } = column;
  const order = orderColumn(column);
  const kind = kindOf(column);
  return {
    ...order,
    kind,
    hasZone: type === "timestamp with time zone",
    text: sql`${order.column}::text`,
    present: kind === "time" ? sql`now()::${raw(castType)}` : raw(greatestOf(column)),
    less: (value, overlap) =>
      kind === "time"
        ? sql`(${value} - make_interval(secs => ${overlap / 1_000}))::${raw(castType)}`
        : // Not cast back: a small number less the overlap may be no value of its type.
          sql`(${value} - ${overlap}::bigint)`,
  };
}

/** Of numeric, `NaN` and `Infinity` are the greatest. */
function greatestOf({ type }: TableColumn): string {
  return type === "numeric" ? "1e1000" : "9223372036854775807";
}

async function readPage(
  database: Database,
  found: SourceTable,
  { conditions, order, rowsMax }: PageQuery,
): Promise<PageRows> {
  const columns = [...new Map([...found.key, ...found.columns].map((one) => [one.name, one])).values()];
  const cells: Sql[] = columns.map((column) => sql`${column.name}::text, ${raw(textOf("t", column))}`);
  // The server counts bytes, since a page of much larger rows than those before would not fit into memory here.
  const statement = sql`
    select cells, found
    from (
      select cells, n, count(*) over ()::integer as found,
        sum(octet_length(cells::text)) over (order by n) - octet_length(cells::text) as before
      from (
        select json_build_object(${join(cells)}) as cells, row_number() over (order by ${join([...order])}) as n
        from ${raw(found.from)} t
        where ${join([...conditions], " and ")}
        order by ${join([...order])}
        limit ${rowsMax}) page) counted
    where before < ${PAGE_BYTES}
    order by n`;
  const rows = await database.transaction((tx) => tx.rows<{ cells: RowCells; found: number }>(statement), {
    readOnly: true,
  });
  // Where rows were left out for their bytes, there are more.
  const isCut = rows.length !== (rows[0]?.found ?? 0) || rows.length >= rowsMax;
  return { rows: rows.map(({ cells }) => cells), isCut };
}
