/** How a table of MySQL or MariaDB is read in pages. */
import sql, { raw, type Sql } from "sql-template-tag";
import { ConnectorError, type Page, type ReadOptions } from "../../model/connector.js";
import type { RowCells } from "../../model/pipeline.js";
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
import { requireAddress, type Address } from "./address.js";
import { canOrder, readText, textSql, valueSql } from "./column-text.js";
import { openSession, type Session } from "./connection.js";
import {
  columnSql,
  findTable,
  list,
  requireColumns,
  requireUnique,
  type Column,
  type FoundTable,
} from "./inspection.js";
import type { ReadTable } from "../reading/table-spec.js";

const TIMES = new Set(["date", "datetime", "timestamp"]);
const NUMBERS = new Set(["tinyint", "smallint", "mediumint", "int", "bigint", "decimal"]);
/** Beyond the greatest of each type. */
const GREATEST = "1e65";

/** @throws ConnectorError */
export async function* readPages(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const address = requireAddress(table.url, table.table);
  const session = await openSession(address, options.signal);
  try {
    const shape = await shapeOf(session, table, address);
    yield* readInOrder(orderedTable(session, table, shape), options);
  } catch (error) {
    throw withPlaceHint(session.explain(error), options);
  } finally {
    session.close();
  }
}

export interface Shape {
  readonly found: FoundTable;
  readonly key: readonly Column[];
  readonly cursor: Column | null;
  /** All that is read, each once. */
  readonly columns: readonly Column[];
}

/** @throws ConnectorError */
export async function shapeOf(session: Session, table: ReadTable, address: Address): Promise<Shape> {
  const found = await findTable(session, address);
  if (found === null) throw new ConnectorError("stop", `There is no table ${table.table}, or the user may not see it.`);
  const key = requireColumns(found, table.key);
  requireUnique(found, table.key);
  for (const column of key) if (!canOrder(column)) throw refuseKey(column);
  const cursor = table.cursor === null ? null : requireCursor(found, table.cursor, table);
  const columns = requireColumns(found, [
    ...new Set([...table.key, ...table.columns, ...(table.cursor === null ? [] : [table.cursor])]),
  ]);
  return { found, key, cursor, columns };
}

function refuseKey({ name, declared }: Column): ConnectorError {
  return new ConnectorError(
    "stop",
    `The key column "${name}" is of type ${declared}. A key is a whole number, decimal, text, time, uuid or binary.`,
  );
}

function requireCursor(found: FoundTable, name: string, { overlap }: ReadTable): Column {
  const column = found.columns.find((one) => one.name === name);
  if (column === undefined || !(TIMES.has(column.type) || NUMBERS.has(column.type)))
    return refuseCursor(name, column?.declared ?? "nothing");
  overlapOf(kindOf(column), overlap);
  return column;
}

function kindOf({ type }: Column): CursorColumn["kind"] {
  return TIMES.has(type) ? "time" : "number";
}

function orderedTable(session: Session, table: ReadTable, shape: Shape): OrderedTable {
  return {
    from: raw(shape.found.qualified),
    key: shape.key.map(orderColumn),
    cursor: shape.cursor === null ? null : cursorColumn(shape.cursor),
    overlap: table.overlap,
    where: table.where,
    first: (statement) => session.first(statement),
    after,
    page: (query) => readPage(session, shape, query),
  };
}

function orderColumn(column: Column): OrderColumn {
  return { name: column.name, column: columnSql(column), value: (text) => valueSql(column, text) };
}

function cursorColumn(column: Column): CursorColumn {
  const kind = kindOf(column);
  const isTime = kind === "time";
  return {
    ...orderColumn(column),
    kind,
    hasZone: column.type === "timestamp",
    text: textSql(column),
    present: isTime ? sql`utc_timestamp(6)` : raw(GREATEST),
    // A sum of whole numbers without a sign must not fall below zero.
    less: (value, overlap) =>
      isTime
        ? sql`(${value} - interval ${overlap * 1_000} microsecond)`
        : sql`(cast(${value} as decimal(65, 10)) - ${overlap})`,
  };
}

/** Neither server looks into an index for `(a, b) > (x, y)`. */
function after(columns: readonly Sql[], values: readonly Sql[]): Sql {
  const [column, ...others] = columns;
  const [value, ...rest] = values;
  if (column === undefined || value === undefined) return sql`1 = 0`;
  if (others.length === 0) return sql`${column} > ${value}`;
  return sql`${column} >= ${value} and (${column} > ${value} or (${after(others, rest)}))`;
}

async function readPage(
  session: Session,
  { found, columns }: Shape,
  { conditions, order, rowsMax }: PageQuery,
): Promise<PageRows> {
  const rest = sql`
    from ${raw(found.qualified)} t
    where ${list(conditions, " and ")}
    order by ${list(order)}`;
  const limit = await rowsThatFit(session, columns, { rest, rowsMax });
  const texts = columns.map((column, index) => sql`${textSql(column)} as ${raw(`c${index}`)}`);
  const rows = await session.rows(sql`select ${list(texts)} ${rest} limit ${limit}`);
  const cells = rows.map((row) => cellsOf(columns, row));
  // Where rows were left out for their bytes, there are more.
  return { rows: cells, isCut: limit < rowsMax || cells.length >= rowsMax };
}

function cellsOf(columns: readonly Column[], row: Readonly<Record<string, string | null>>): RowCells {
  return Object.fromEntries(columns.map((column, index) => [column.name, readText(column, row[`c${index}`] ?? null)]));
}

/** Of a number or a time, with what the driver needs for it. */
const SHORT_BYTES = 100;

/**
 * How many of the next rows come to PAGE_BYTES. The server is asked for their lengths first where they can be more:
 * much larger rows than those before would not fit into memory here.
 */
async function rowsThatFit(
  session: Session,
  columns: readonly Column[],
  { rest, rowsMax }: { readonly rest: Sql; readonly rowsMax: number },
): Promise<number> {
  const rowBytesMax = columns.reduce((sum, { bytesMax }) => sum + (bytesMax ?? SHORT_BYTES), 0);
  if (rowBytesMax * rowsMax <= PAGE_BYTES) return rowsMax;
  const long = columns.filter(({ bytesMax, type }) => bytesMax !== null || /json|geom|point|poly|line/.test(type));
  const lengths = long.map((column) => sql`coalesce(length(${textSql(column)}), 0)`);
  const rows = await session.rows<{ bytes: string }>(sql`
    select ${list(lengths, " + ")} as bytes
    ${rest}
    limit ${rowsMax}`);
  let bytes = 0;
  const over = rows.findIndex((row) => {
    const isOver = bytes >= PAGE_BYTES;
    bytes += Number(row.bytes);
    return isOver;
  });
  return over === -1 ? rowsMax : over;
}
