/** Reads a table of a SQLite database in pages. Nothing is written there, and no lock is held between two pages. */
import sql, { join, raw } from "sql-template-tag";
import { ConnectorError, type Page, type ReadOptions } from "../../model/connector.js";
import type { Json } from "../../model/pipeline.js";
import {
  overlapOf,
  PAGE_BYTES,
  readInOrder,
  refuseCursor,
  withPlaceHint,
  type CursorColumn,
  type OrderedTable,
  type PageQuery,
  type PageRows,
} from "../reading/read-in-order.js";
import { openDriver, type OpenDriver, type TypedTexts } from "./driver.js";
import { explain } from "./failure.js";
import { placeOf } from "./place.js";
import type { ReadTable } from "./source.js";
import {
  columnOf,
  findTable,
  isOfClass,
  keyOf,
  keyValue,
  orderOf,
  quote,
  requireColumns,
  typed,
  type FoundColumn,
  type FoundTable,
  type KeyColumn,
} from "./table.js";

/** Below PAGE_MS_MAX, so that the message is this connector's. */
const READ_MS_MAX = 110_000;

/** @throws ConnectorError */
export async function* readTable(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const driver = await openSource(table, options.signal);
  try {
    const { file } = driver;
    const of = { ...options, since: ofFile(options.since, file), place: ofFile(options.place, file) };
    for await (const page of readInOrder(await orderedTable(driver, await readShape(driver, table)), of)) {
      await driver.requireSameFile();
      const { rows, place = null, mark = null } = page;
      yield {
        rows,
        ...(place === null ? {} : { place: { file, of: place } }),
        ...(mark === null ? {} : { mark: { file, of: mark } }),
      };
    }
  } catch (error) {
    driver.end();
    throw withPlaceHint(explain(error, placeOf(table.url, table.table), { isReading: true }), options);
  } finally {
    driver.release();
  }
}

export function openSource({ url, table, authToken }: ReadTable, signal: AbortSignal): ReturnType<typeof openDriver> {
  return openDriver({ place: placeOf(url, table), authToken, mode: "read", callMsMax: READ_MS_MAX, signal });
}

/** A place or a mark. Null: it is of another file, such as an older copy, whose changes came at other times. */
function ofFile(known: Json, file: string | null): Json {
  if (typeof known !== "object" || known === null || Array.isArray(known)) return null;
  return known["file"] === file ? (known["of"] ?? null) : null;
}

/** What is read of the table. */
export interface Shape {
  readonly of: ReadTable;
  readonly found: FoundTable;
  readonly key: readonly KeyColumn[];
  /** The key's, the others and the cursor's, by the names in the config. */
  readonly columns: ReadonlyMap<string, FoundColumn>;
}

/** @throws ConnectorError */
export async function readShape(driver: OpenDriver, of: ReadTable): Promise<Shape> {
  const found = await findTable(driver, of.table);
  if (found === null)
    throw new ConnectorError("stop", `There is no table ${of.table} in ${placeOf(of.url, of.table).shown}.`);
  const key = await keyOf(driver, found, of.key);
  const names = [...new Set([...of.key, ...of.columns, ...(of.cursor === null ? [] : [of.cursor])])];
  const columns = requireColumns(found, names);
  return { of, found, key, columns: new Map(names.map((name, at) => [name, columns[at] as FoundColumn])) };
}

async function orderedTable(driver: OpenDriver, shape: Shape): Promise<OrderedTable> {
  const { of, found, key } = shape;
  return {
    from: raw(quote(found.name)),
    key: key.map((column) => ({
      name: column.as,
      column: orderOf(column),
      value: (text) => sql`${keyValue(text, column) ?? text}`,
    })),
    cursor: of.cursor === null ? null : await cursorOf(driver, shape),
    overlap: of.overlap,
    where: of.where,
    first: async (statement) => {
      const [row] = await driver.run(statement);
      return row === undefined ? null : { newest: row[0], past: row[1], back: row[0] };
    },
    after: (columns, values) => sql`(${join([...columns])}) > (${join([...values])})`,
    page: (query) => readPage(driver, shape, query),
  };
}

const TIME = /^\d{4}-\d\d-\d\d(?:(?<separator>[ T])\d\d:\d\d(?::\d\d(?:[.]\d+)?)?(?<zone>Z|[+]00:?00)?)?$/;
const INT64_MAX = 2n ** 63n - 1n;

/**
 * SQLite has no type for times, so the greatest value tells what the column holds. Times are compared as texts, so all
 * must have one form and be UTC.
 * @throws ConnectorError
 */
export async function cursorOf(driver: OpenDriver, { of, found, columns }: Shape): Promise<CursorColumn> {
  const { name, affinity } = columns.get(of.cursor ?? "") as FoundColumn;
  const column = columnOf(name);
  const [row] = await driver.read(sql`
    select ${typed([column])}
    from ${raw(quote(found.name))} t
    where ${column} is not null
    order by ${column} desc
    limit 1`);
  const [type = "", [greatest = null] = []] = row ?? [];
  const isNumber = type === "" ? affinity !== "text" && affinity !== "none" : type === "i" || type === "r";
  const common = { name: of.cursor ?? name, column, text: column };
  if (isNumber) {
    overlapOf("number", of.overlap);
    return {
      ...common,
      kind: "number",
      hasZone: false,
      value: (text) => sql`${keyValue(text, { holds: "number", affinity: "numeric" }) ?? text}`,
      present: sql`${INT64_MAX}`,
      less: (value, overlap) => sql`${value} - ${overlap}`,
    };
  }
  const form = type === "" ? {} : TIME.exec(greatest ?? "")?.groups;
  if (form === undefined || (type !== "" && type !== "t"))
    return refuseCursor(
      name,
      `a ${type === "b" ? "blob" : "text that is no time in UTC, such as 2026-11-27 10:00:00"}`,
    );
  overlapOf("time", of.overlap);
  return {
    ...common,
    ...timeCursor(form["separator"] ?? " ", greatest?.length === 10),
    hasZone: form["zone"] !== undefined,
  };
}

/** Beginnings of times: every value in that second is greater. */
function timeCursor(separator: string, isDate: boolean): Pick<CursorColumn, "kind" | "value" | "present" | "less"> {
  const format = isDate ? "%Y-%m-%d" : `%Y-%m-%d${separator}%H:%M:%S`;
  return {
    kind: "time",
    value: (text) => sql`${text}`,
    // What has this second is not of the future.
    present: sql`strftime(${format}, 'now', '+1 second')`,
    less: (value, overlap) => sql`strftime(${format}, ${value}, ${`-${overlap / 1_000} seconds`})`,
  };
}

async function readPage(
  driver: OpenDriver,
  shape: Shape,
  { conditions, order, rowsMax }: PageQuery,
): Promise<PageRows> {
  const names = [...shape.columns.keys()];
  const columns = [...shape.columns.values()].map(({ name }) => columnOf(name));
  const rows = sql`
    from ${raw(quote(shape.found.name))} t
    where ${join([...conditions], " and ")}
    order by ${join([...order])}`;
  const size = join(
    columns.map((column) => sql`coalesce(octet_length(${column}), 0)`),
    " + ",
  );
  // A page of much larger rows than those before would not fit into memory, so their sizes are looked at first.
  const read = await driver.read(sql`
    select ${typed(columns)} ${rows}
    limit (
      select count(*)
      from (
        select size, sum(size) over (rows unbounded preceding) as total
        from (select ${size} as size ${rows} limit ${rowsMax}))
      where total - size < ${PAGE_BYTES})`);
  for (const row of read) requireKey(shape, row);
  const bytes = read.reduce(
    (sum, [, texts]) => sum + texts.reduce((all, text) => all + Buffer.byteLength(text ?? ""), 0),
    0,
  );
  return {
    rows: read.map(([, texts]) => Object.fromEntries(names.map((name, at) => [name, texts[at] ?? null]))),
    // Another way to count bytes may come to less: then one more page is asked for.
    isCut: read.length === rowsMax || bytes >= PAGE_BYTES / 2,
  };
}

/** @throws ConnectorError for a key that would read like another row's, or that no place can name */
function requireKey({ key, found, columns }: Shape, [types, texts]: TypedTexts): void {
  const names = [...columns.keys()];
  for (const column of key) {
    const at = names.indexOf(column.as);
    const text = texts[at] ?? "";
    if (!isOfClass(types[at] ?? "", column))
      throw new ConnectorError("stop", `The key column ${column.name} of ${found.name} holds values of two types.`, {
        hints: ["Two of them may read the same, such as 1 and '1'. Give the column one type."],
      });
    if (!text.isWellFormed() || text.includes("\0"))
      throw new ConnectorError("stop", `A key of ${found.name} is not UTF-8, or has the character U+0000.`);
  }
}
