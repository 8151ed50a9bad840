/**
 * Reads a table of another PostgreSQL in pages, in the order of its key or of its cursor: each page is a short
 * read-only transaction of its own, so that nothing is held open there. What commits behind the place that a pass has
 * reached is met by the overlap of the next one, or by the next pass over all rows.
 */
import { ConnectorError, type Page, type ReadOptions } from "../../model/connector.js";
import { parseDuration } from "../../model/duration.js";
import type { Json } from "../../model/pipeline.js";
import { join, quoteIdentifier, raw, sql, type Database, type Queryable, type Sql } from "../../postgres/database.js";
import { inspectTable, textOf, type SourceTable, type TableColumn } from "../../sources/table/inspection.js";
import { openServer } from "./server.js";
import type { ReadTable } from "./source.js";

const FIRST_ROWS = 100;
const PAGE_ROWS_MAX = 2_000;
/** Of one page, except where its first row alone is larger; rows of the size of its largest come to this. */
const PAGE_BYTES = 8 * 1024 * 1024;
const OVERLAP_MS_DEFAULT = 300_000;
const OVERLAP_NUMBER_DEFAULT = 1_000;
/** After these, and the overlap, no row comes with a time. One without a zone may be that of any place on Earth. */
const LATE_HOURS = { "timestamp with time zone": 1, otherwise: 48 } as const;
const TIMES = new Set(["date", "timestamp without time zone", "timestamp with time zone"]);
const NUMBERS = new Set(["smallint", "integer", "bigint", "numeric"]);

/** @throws ConnectorError */
export async function* readPages(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const { database, explain } = openServer(table.url, table.table, { poolMax: 1, signal: options.signal });
  try {
    yield* readFrom(database, table, options);
  } catch (error) {
    throw withHint(explain(error), options);
  } finally {
    await database.close();
  }
}

/** Where a text of an earlier reading is no value of its column any more, only a reading from the beginning helps. */
function withHint(error: unknown, { place }: ReadOptions): unknown {
  if (!(error instanceof ConnectorError) || error.kind !== "stop" || place === null) return error;
  const hint = "If the type of a key column was changed, read all rows again: rowmill sync --full";
  return new ConnectorError("stop", error.message, { cause: error, hints: [...error.hints, hint] });
}

/** Where a pass stands: the cursor's text, in a pass over changes, and the parts of the key. */
interface Place {
  readonly cursor: string | null;
  readonly key: readonly string[];
  /** In a pass over changes, the newest value at its start: what changes meanwhile is left to the next one. */
  readonly until: string | null;
}

async function* readFrom(
  database: Database,
  table: ReadTable,
  { since, place: from, signal }: ReadOptions,
): AsyncGenerator<Page> {
  const found = await database.transaction((tx) => inspectTable(tx, shapeOf(table)), { readOnly: true });
  const cursor = table.cursor === null ? null : cursorOf(found, table.cursor);
  const before = cursor === null ? null : overlapOf(cursor, table.overlap);
  let place = readPlace(from, cursor);
  // Read before the first row, also of a pass over changes: what commits while a long pass runs is met again.
  const newest = place === null ? await newestOf(database, { found, cursor, before }) : null;
  const mark = markOf(newest);
  const until = place === null ? (newest?.value ?? null) : place.until;
  const readsAll = place === null ? await wentBack(database, { cursor, before, since, newest }) : place.cursor === null;
  const reading: Reading = { found, table, cursor, before, start: readsAll ? null : since };
  let rowsMax = FIRST_ROWS;
  for (;;) {
    signal.throwIfAborted();
    const { rows, isLast } = await database.transaction((tx) => readPage(tx, reading, { place, until, rowsMax }), {
      readOnly: true,
    });
    const last = rows.at(-1);
    if (last === undefined) {
      if (mark !== null) yield { rows: [], mark };
      return;
    }
    place = { cursor: last.cursor, key: last.key, until };
    yield {
      rows: rows.map(({ cells }) => cells),
      place: { ...place, key: [...place.key] },
      ...(mark === null ? {} : { mark }),
    };
    if (isLast) return;
    rowsMax = nextRows(rows);
  }
}

/** The cursor is read as a column too. */
export function shapeOf({ table, key, columns, cursor }: ReadTable): Parameters<typeof inspectTable>[1] {
  return { table, key, columns: [...new Set([...columns, ...(cursor === null ? [] : [cursor])])] };
}

/** A cursor that can be read with its overlap. @throws ConnectorError */
export function requireCursor(found: SourceTable, { cursor, overlap }: ReadTable): TableColumn {
  const column = cursorOf(found, cursor ?? "");
  overlapOf(column, overlap);
  return column;
}

function cursorOf({ columns, key }: SourceTable, name: string): TableColumn {
  const column = [...columns, ...key].find((one) => one.name === name);
  if (column !== undefined && (TIMES.has(column.type) || NUMBERS.has(column.type))) return column;
  const type = column?.type ?? "nothing";
  throw new ConnectorError("stop", `A cursor grows with each change: a time or a whole number. ${name} is ${type}.`);
}

interface Reading {
  readonly found: SourceTable;
  readonly table: ReadTable;
  readonly cursor: TableColumn | null;
  /** By how much they overlap. */
  readonly before: Sql | null;
  /** The mark from which changes are read. Null: all rows. */
  readonly start: Json;
}

interface ReadRow {
  readonly cells: Readonly<Record<string, string | null>>;
  readonly cursor: string | null;
  readonly key: readonly string[];
}

/** The newest value. Changes are read from the overlap before it; after it where it is long past. */
interface Newest {
  readonly value: string;
  readonly isPast: boolean;
}

/**
 * Null: none. A value of the future, or one beyond all numbers, would hide what comes before it. The rows of a time
 * that is long past are not read again: there may be a million, where a table was loaded at once.
 */
async function newestOf(
  database: Queryable,
  { found, cursor, before }: Pick<Reading, "found" | "cursor" | "before">,
): Promise<Newest | null> {
  if (cursor === null) return null;
  const name = raw(`t.${quoteIdentifier(cursor.name)}`);
  const isTime = TIMES.has(cursor.type);
  const hours = LATE_HOURS[cursor.type === "timestamp with time zone" ? cursor.type : "otherwise"];
  const longPast = sql`${name} < now() - make_interval(hours => ${hours}) - ${before ?? sql`interval '0'`}`;
  return database.first<Newest>(sql`
    select ${name}::text as value, ${isTime ? longPast : sql`false`} as "isPast"
    from ${raw(found.from)} t
    where ${name} <= ${presentOf(cursor)}
    order by ${name} desc
    limit 1`);
}

function markOf(newest: Newest | null): Json {
  return newest?.isPast === true ? { after: newest.value } : (newest?.value ?? null);
}

function readMark(mark: Json): Newest {
  const past = typeof mark === "object" && mark !== null && !Array.isArray(mark) ? mark["after"] : undefined;
  return { value: String(past ?? mark), isPast: past !== undefined };
}

/**
 * All rows are read where there is no mark, and where the newest value is far before it: the table was restored from a
 * backup, or its cursor is another column now.
 */
async function wentBack(
  database: Queryable,
  { cursor, before, since, newest }: Pick<Reading, "cursor" | "before"> & { since: Json; newest: Newest | null },
): Promise<boolean> {
  if (since === null || cursor === null) return true;
  if (newest === null) return false;
  const { value } = readMark(since);
  if (!isOfKind(cursor, value)) return true;
  const type = raw(cursor.castType);
  const isBack = await database.value<boolean>(sql`
    select ${newest.value}::text::${type} < ${value}::text::${type} - ${before ?? sql`0`}`);
  return isBack === true;
}

/** False: its type was another one, a time or a number, when this value was read. */
function isOfKind({ type }: TableColumn, value: string): boolean {
  return TIMES.has(type) !== /^-?[\d.]+(?:e[+-]?\d+)?$/.test(value);
}

/** No mark is beyond it. */
function presentOf(cursor: TableColumn): Sql {
  return TIMES.has(cursor.type) ? sql`now()::${raw(cursor.castType)}` : raw(greatestOf(cursor));
}

/** Of numeric, `NaN` and `Infinity` are the greatest. */
function greatestOf({ type }: TableColumn): string {
  return type === "numeric" ? "1e1000" : "9223372036854775807";
}

async function readPage(
  tx: Queryable,
  { found, table, cursor, before, start }: Reading,
  { place, until, rowsMax }: { readonly place: Place | null; readonly until: string | null; readonly rowsMax: number },
): Promise<{ readonly rows: readonly ReadRow[]; readonly isLast: boolean }> {
  const key = found.key.map(({ name }) => raw(`t.${quoteIdentifier(name)}`));
  const byCursor = cursor !== null && start !== null ? [raw(`t.${quoteIdentifier(cursor.name)}`)] : [];
  const order = [...byCursor, ...key];
  const conditions = [
    ...key.map((part) => sql`${part} is not null`),
    ...(table.where === null ? [] : [sql`(${raw(table.where)})`]),
    ...(place === null ? [] : [after({ found, cursor }, order, place)]),
    ...(place === null && cursor !== null && start !== null ? [from(cursor, before, start)] : []),
    ...(until !== null && cursor !== null && start !== null ? [notMeanwhile(cursor, until)] : []),
  ];
  const columns = [...new Map([...found.key, ...found.columns].map((one) => [one.name, one])).values()];
  const cells = columns.map((column) => sql`${column.name}::text, ${raw(textOf("t", column))}`);
  // The server counts bytes, since a page of much larger rows than those before would not fit into memory here.
  const rows = await tx.rows<{ cells: Record<string, string | null>; found: number }>(sql`
    select cells, found
    from (
      select cells, n, count(*) over ()::integer as found,
        sum(octet_length(cells::text)) over (order by n) - octet_length(cells::text) as before
      from (
        select json_build_object(${join(cells)}) as cells, row_number() over (order by ${join(order)}) as n
        from ${raw(found.from)} t
        where ${join(conditions, " and ")}
        order by ${join(order)}
        limit ${rowsMax}) page) counted
    where before < ${PAGE_BYTES}
    order by n`);
  const read = rows.map((row) => ({
    cells: row.cells,
    cursor: byCursor.length === 0 || cursor === null ? null : (row.cells[cursor.name] ?? null),
    key: found.key.map(({ name }) => row.cells[name] ?? ""),
  }));
  // Where rows were left out for their bytes, there are more.
  return { rows: read, isLast: rows.length === (rows[0]?.found ?? 0) && rows.length < rowsMax };
}

function after({ found, cursor }: Pick<Reading, "found" | "cursor">, order: readonly Sql[], place: Place): Sql {
  const types = [...(order.length > found.key.length && cursor !== null ? [cursor] : []), ...found.key];
  const texts = [...(order.length > found.key.length ? [place.cursor] : []), ...place.key];
  const values = texts.map((text, index) => sql`${text}::text::${raw(types[index]?.castType ?? "text")}`);
  return sql`(${join([...order])}) > (${join(values)})`;
}

/** Numbers are not cast back: a small one less the overlap may be no value of its type. */
function from(cursor: TableColumn, before: Sql | null, start: Json): Sql {
  const name = raw(`t.${quoteIdentifier(cursor.name)}`);
  const { value, isPast } = readMark(start);
  if (isPast) return sql`${name} > ${value}::text::${raw(cursor.castType)}`;
  const mark = sql`(${value}::text::${raw(cursor.castType)} - ${before ?? sql`0`})`;
  return TIMES.has(cursor.type) ? sql`${name} >= ${mark}::${raw(cursor.castType)}` : sql`${name} >= ${mark}`;
}

/** Otherwise a pass over rows that change faster than it reads them would never end. Values of the future stay. */
function notMeanwhile(cursor: TableColumn, until: string): Sql {
  const name = raw(`t.${quoteIdentifier(cursor.name)}`);
  return sql`(${name} <= ${until}::text::${raw(cursor.castType)} or ${name} > ${presentOf(cursor)})`;
}

/** Checked before the first reading. */
function overlapOf({ type }: TableColumn, overlap: ReadTable["overlap"]): Sql {
  if (TIMES.has(type)) {
    const ms = typeof overlap === "string" ? parseDuration(overlap) : overlap === null ? OVERLAP_MS_DEFAULT : null;
    if (ms !== null) return sql`make_interval(secs => ${ms / 1_000})`;
    throw new ConnectorError("stop", 'The cursor is a time, so overlap is a duration, such as "5m".');
  }
  const number = overlap ?? OVERLAP_NUMBER_DEFAULT;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return sql`${number}::bigint`;
  throw new ConnectorError("stop", "The cursor is a number, so overlap is a whole number of 0 or more, such as 1000.");
}

/** Null: from the beginning. */
function readPlace(place: Json, column: TableColumn | null): Place | null {
  if (typeof place !== "object" || place === null || Array.isArray(place)) return null;
  const { cursor, until, key } = place;
  const textOrNull = (value: Json | undefined) => (value == null ? null : String(value));
  if (!Array.isArray(key) || (column !== null && cursor != null && !isOfKind(column, String(cursor)))) return null;
  return { cursor: textOrNull(cursor), key: key.map(String), until: textOrNull(until) };
}

function nextRows(rows: readonly ReadRow[]): number {
  const sizes = rows.map(({ cells }) => Object.values(cells).reduce((sum, cell) => sum + (cell?.length ?? 0), 1));
  const largest = sizes.reduce((most, size) => Math.max(most, size), 1);
  return Math.max(1, Math.min(PAGE_ROWS_MAX, Math.floor(PAGE_BYTES / largest)));
}
