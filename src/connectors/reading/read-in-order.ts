/**
 * Reads a table in pages, in the order of its key or of its cursor, for each vendor of databases. Each page is a
 * statement of its own, so nothing is held open there. What commits behind the place that a pass has reached is met by
 * the overlap of the next one, or by the next pass over all rows.
 */
import sql, { raw, type Sql } from "sql-template-tag";
import { ConnectorError, type Page, type ReadOptions } from "../../model/connector.js";
import { parseDuration, type Duration } from "../../model/duration.js";
import type { Json, RowCells } from "../../model/pipeline.js";

const FIRST_ROWS = 100;
const PAGE_ROWS_MAX = 2_000;
/** Of one page, except where its first row alone is larger; rows of the size of its largest come to this. */
export const PAGE_BYTES = 8 * 1024 * 1024;
const OVERLAP_MS_DEFAULT = 300_000;
const OVERLAP_NUMBER_DEFAULT = 1_000;
/** After these, and the overlap, no row comes with a time. One without a zone may be that of any place on Earth. */
const LATE_MS = { withZone: 3_600_000, withoutZone: 48 * 3_600_000 } as const;

export interface OrderColumn {
  readonly name: string;
  /** As it stands in a statement. */
  readonly column: Sql;
  /** A text that was read of it, as a value of its type. */
  value(text: string): Sql;
}

export interface CursorColumn extends OrderColumn {
  readonly kind: "time" | "number";
  /** Of a time: it names one moment, wherever it was written. */
  readonly hasZone: boolean;
  /** As a text. */
  readonly text: Sql;
  /** No mark is beyond it: now, or the greatest number. */
  readonly present: Sql;
  /** A value less so many milliseconds, or less a number. */
  less(value: Sql, overlap: number): Sql;
}

/** A table, as the dialect of its database sees it. */
export interface OrderedTable {
  readonly from: Sql;
  readonly key: readonly OrderColumn[];
  /** Null: all rows are read each time. */
  readonly cursor: CursorColumn | null;
  /** Null: the default. */
  readonly overlap: Duration | number | null;
  /** A condition of the user's. */
  readonly where: string | null;
  /** The first row. */
  first(statement: Sql): Promise<Readonly<Record<string, unknown>> | null>;
  /** `(columns) > (values)`, in a form that uses an index. */
  after(columns: readonly Sql[], values: readonly Sql[]): Sql;
  page(of: PageQuery): Promise<PageRows>;
}

export interface PageQuery {
  readonly conditions: readonly Sql[];
  readonly order: readonly Sql[];
  readonly rowsMax: number;
}

export interface PageRows {
  /** The texts of the columns, the key and the cursor included. Less than PAGE_BYTES before the last row. */
  readonly rows: readonly RowCells[];
  /** There may be more, as `rowsMax` or PAGE_BYTES was reached. */
  readonly isCut: boolean;
}

/** Where a pass stands: the cursor's text, in a pass over changes, and the parts of the key. */
interface Place {
  readonly cursor: string | null;
  readonly key: readonly string[];
  /** In a pass over changes, the newest value at its start: what changes meanwhile is left to the next one. */
  readonly until: string | null;
}

/** The newest value. Changes are read from the overlap before it; after it where it is long past. */
interface Newest {
  readonly value: string;
  readonly isPast: boolean;
}

/** @throws ConnectorError */
export async function* readInOrder(
  table: OrderedTable,
  { since, place: from, signal }: ReadOptions,
): AsyncGenerator<Page> {
  const { cursor } = table;
  let place = readPlace(from, cursor);
  // Read before the first row, also of a pass over changes: what commits while a long pass runs is met again.
  const newest = place === null && cursor !== null ? await newestOf(table, cursor) : null;
  const mark = markOf(newest);
  const until = place === null ? (newest?.value ?? null) : place.until;
  const readsAll = place === null ? await wentBack(table, since, newest) : place.cursor === null;
  const start = readsAll || since === null ? null : readMark(since);
  let rowsMax = FIRST_ROWS;
  for (;;) {
    signal.throwIfAborted();
    const { rows, isCut } = await table.page(pageQuery(table, { start, place, until, rowsMax }));
    const last = rows.at(-1);
    if (last === undefined) {
      if (mark !== null) yield { rows: [], mark };
      return;
    }
    const key = table.key.map(({ name }) => last[name] ?? "");
    place = { cursor: start === null || cursor === null ? null : (last[cursor.name] ?? null), key, until };
    yield { rows, place: { ...place, key }, ...(mark === null ? {} : { mark }) };
    if (!isCut) return;
    rowsMax = nextRows(rows);
  }
}

/** Where a text of an earlier reading is no value of its column any more, only a reading from the beginning helps. */
export function withPlaceHint(error: unknown, { place }: ReadOptions): unknown {
  if (!(error instanceof ConnectorError) || error.kind !== "stop" || place === null) return error;
  const hint = "If the type of a key column was changed, read all rows again: rowmill sync --full";
  return new ConnectorError("stop", error.message, { cause: error, hints: [...error.hints, hint] });
}

/** @throws ConnectorError */
export function refuseCursor(name: string, type: string): never {
  throw new ConnectorError("stop", `A cursor grows with each change: a time or a whole number. ${name} is ${type}.`);
}

/** In milliseconds, or as a number. @throws ConnectorError */
export function overlapOf(kind: CursorColumn["kind"], overlap: Duration | number | null): number {
  if (kind === "time") {
    if (overlap === null) return OVERLAP_MS_DEFAULT;
    const ms = typeof overlap === "string" ? parseDuration(overlap) : null;
    if (ms !== null) return ms;
    throw new ConnectorError("stop", 'The cursor is a time, so overlap is a duration, such as "5m".');
  }
  const number = overlap ?? OVERLAP_NUMBER_DEFAULT;
  if (typeof number === "number" && Number.isSafeInteger(number) && number >= 0) return number;
  throw new ConnectorError("stop", "The cursor is a number, so overlap is a whole number of 0 or more, such as 1000.");
}

/**
 * Null: none. A value of the future, or one beyond all numbers, would hide what comes before it. The rows of a time
 * that is long past are not read again: there may be a million, where a table was loaded at once.
 */
async function newestOf({ from, overlap, first }: OrderedTable, cursor: CursorColumn): Promise<Newest | null> {
  const { column, text, present, kind } = cursor;
  const before = overlapOf(kind, overlap);
  const late = cursor.hasZone ? LATE_MS.withZone : LATE_MS.withoutZone;
  const isPast = kind === "time" ? sql`${column} < ${cursor.less(present, late + before)}` : sql`1 = 0`;
  const row = await first(sql`
    select ${text} as newest, ${isPast} as past
    from ${from} t
    where ${column} <= ${present}
    order by ${column} desc
    limit 1`);
  return row === null ? null : { value: String(row["newest"]), isPast: isTrue(row["past"]) };
}

/** As a boolean, a number or the text of one. */
function isTrue(value: unknown): boolean {
  return Number(value) === 1;
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
  { cursor, overlap, first }: OrderedTable,
  since: Json,
  newest: Newest | null,
): Promise<boolean> {
  if (since === null || cursor === null) return true;
  if (newest === null) return false;
  const { value } = readMark(since);
  if (!isOfKind(cursor, value)) return true;
  const before = overlapOf(cursor.kind, overlap);
  const row = await first(sql`
    select ${cursor.value(newest.value)} < ${cursor.less(cursor.value(value), before)} as back`);
  return isTrue(row?.["back"]);
}

/** False: its type was another one, a time or a number, when this value was read. */
function isOfKind({ kind }: CursorColumn, value: string): boolean {
  return (kind === "time") !== /^-?[\d.]+(?:e[+-]?\d+)?$/.test(value);
}

interface NextPage {
  /** The mark from which changes are read. Null: all rows. */
  readonly start: Newest | null;
  readonly place: Place | null;
  readonly until: string | null;
  readonly rowsMax: number;
}

function pageQuery(table: OrderedTable, { start, place, until, rowsMax }: NextPage): PageQuery {
  const { key, where, cursor } = table;
  const by = start === null ? null : cursor;
  const order = by === null ? key : [by, ...key];
  const texts = place === null ? [] : [...(by === null ? [] : [place.cursor ?? ""]), ...place.key];
  const columns = order.map(({ column }) => column);
  return {
    conditions: [
      ...key.map(({ column }) => sql`${column} is not null`),
      ...(where === null ? [] : [sql`(${raw(where)})`]),
      ...(place === null
        ? []
        : [
            table.after(
              columns,
              order.map((one, index) => one.value(texts[index] ?? "")),
            ),
          ]),
      ...(place === null && by !== null && start !== null ? [from(by, start, table.overlap)] : []),
      ...(until !== null && by !== null ? [notMeanwhile(by, until)] : []),
    ],
    order: columns,
    rowsMax,
  };
}

function from(cursor: CursorColumn, { value, isPast }: Newest, overlap: OrderedTable["overlap"]): Sql {
  const mark = cursor.value(value);
  if (isPast) return sql`${cursor.column} > ${mark}`;
  return sql`${cursor.column} >= ${cursor.less(mark, overlapOf(cursor.kind, overlap))}`;
}

/** Otherwise a pass over rows that change faster than it reads them would never end. Values of the future stay. */
function notMeanwhile({ column, value, present }: CursorColumn, until: string): Sql {
  return sql`(${column} <= ${value(until)} or ${column} > ${present})`;
}

/** Null: from the beginning. */
function readPlace(place: Json, column: CursorColumn | null): Place | null {
  if (typeof place !== "object" || place === null || Array.isArray(place)) return null;
  const { cursor, until, key } = place;
  const textOrNull = (value: Json | undefined) => (value == null ? null : String(value));
  if (!Array.isArray(key) || (column !== null && cursor != null && !isOfKind(column, String(cursor)))) return null;
  return { cursor: textOrNull(cursor), key: key.map(String), until: textOrNull(until) };
}

function nextRows(rows: readonly RowCells[]): number {
  const sizes = rows.map((cells) => Object.values(cells).reduce((sum, cell) => sum + (cell?.length ?? 0), 1));
  const largest = sizes.reduce((most, size) => Math.max(most, size), 1);
  return Math.max(1, Math.min(PAGE_ROWS_MAX, Math.floor(PAGE_BYTES / largest)));
}
