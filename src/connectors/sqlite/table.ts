/** What a SQLite database says of a table: its columns, its unique keys, and which texts find a row by its key. */
import sql, { join, raw, type Sql } from "sql-template-tag";
import { ConnectorError } from "../../model/connector.js";
import { counted } from "../../model/words/counted.js";
import type { OpenDriver } from "./driver.js";
import { nameOf } from "./place.js";

/** As SQLite compares and stores the values of a column. */
export type Affinity = "integer" | "real" | "numeric" | "text" | "none";

export interface FoundColumn {
  readonly name: string;
  /** As declared, perhaps empty. */
  readonly type: string;
  readonly affinity: Affinity;
  readonly notNull: boolean;
  readonly hasDefault: boolean;
  readonly isGenerated: boolean;
}

export interface FoundTable {
  readonly name: string;
  /** The statement that made it. */
  readonly sql: string;
  readonly columns: readonly FoundColumn[];
  readonly primary: readonly string[];
  /** Of indexes that hold all rows and only columns. */
  readonly uniques: readonly (readonly IndexColumn[])[];
  /** Any index's first column. */
  readonly leading: readonly string[];
}

interface IndexColumn {
  readonly name: string;
  readonly collation: string;
}

export type KeyClass = "text" | "number" | "blob";

export interface KeyColumn extends FoundColumn {
  /** As the config names it. */
  readonly as: string;
  /** Under which the key is unique. */
  readonly collation: string;
  readonly holds: KeyClass;
}

export function quote(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

/** A column of the table `t`. */
export function columnOf(name: string): Sql {
  return raw(`t.${quote(name)}`);
}

/** Null: there is none. @throws ConnectorError where it is no table of rows */
export async function findTable(driver: OpenDriver, name: string): Promise<FoundTable | null> {
  const [found] = await driver.run(sql`
    select m.name, m.type, m.sql
    from sqlite_master m
    where lower(m.name) = lower(${name}) and m.type in ('table', 'view')`);
  if (found === undefined) return null;
  const [realName, type, text] = found.map((value) => String(value ?? ""));
  if (type === "view" || /^create\s+virtual/i.test(text ?? ""))
    throw new ConnectorError("stop", `${name} is a ${type === "view" ? "view" : "virtual table"}, not a table.`, {
      hints: ["Its rows have no unique key that Rowmill can rely on. Name the table below it, and use `where`."],
    });
  const columns = await driver.run(sql`
    select c.name, c.type, c."notnull", c.dflt_value is not null, c.hidden, c.pk, l.strict
    from pragma_table_xinfo(${realName}) c, pragma_table_list(${realName}) l
    where l.schema = 'main'
    order by c.cid`);
  const indexes = await indexesOf(driver, realName ?? name);
  const primary = columns.filter(([, , , , , pk]) => Number(pk) > 0).map(([column]) => String(column));
  // The number of the row itself, which no index lists.
  const isRowid = primary.length === 1 && !indexes.some(({ isPrimary }) => isPrimary);
  const rowid = isRowid ? [{ columns: [{ name: primary[0] ?? "", collation: "BINARY" }], isUnique: true }] : [];
  const all = [...indexes, ...rowid];
  return {
    name: realName ?? name,
    sql: text ?? "",
    columns: columns.filter(([, , , , hidden]) => Number(hidden) !== 1).map(columnFrom),
    primary,
    uniques: all.filter(({ isUnique }) => isUnique).map((index) => index.columns),
    leading: all.map((index) => index.columns[0]?.name ?? ""),
  };
}

interface Index {
  readonly isUnique: boolean;
  readonly isPrimary: boolean;
  readonly columns: readonly IndexColumn[];
}

async function indexesOf(driver: OpenDriver, table: string): Promise<readonly Index[]> {
  const rows = await driver.run(sql`
    select i.name, i."unique" and not i.partial, i.origin, x.name, x.coll
    from pragma_index_list(${table}) i, pragma_index_xinfo(i.name) x
    where x.key
    order by i.seq, x.seqno`);
  const byName = new Map<string, (readonly unknown[])[]>();
  for (const row of rows) byName.set(String(row[0]), [...(byName.get(String(row[0])) ?? []), row]);
  return [...byName.values()].map((of) => ({
    isUnique: Number(of[0]?.[1]) === 1,
    isPrimary: of[0]?.[2] === "pk",
    // An expression has no name.
    columns: of.map(([, , , name, collation]) => ({ name: String(name ?? ""), collation: String(collation) })),
  }));
}

function columnFrom(row: readonly unknown[]): FoundColumn {
  const [name, type, notNull, hasDefault, hidden, , strict] = row;
  return {
    name: String(name),
    type: String(type ?? ""),
    affinity: affinityOf(String(type ?? ""), Number(strict) === 1),
    notNull: Number(notNull) === 1,
    hasDefault: Number(hasDefault) === 1,
    isGenerated: Number(hidden) > 1,
  };
}

/** By SQLite's own rules, in their order. */
function affinityOf(type: string, isStrict: boolean): Affinity {
  if (/int/i.test(type)) return "integer";
  if (/char|clob|text/i.test(type)) return "text";
  if (type === "" || /blob/i.test(type) || (isStrict && /^any$/i.test(type))) return "none";
  return /real|floa|doub/i.test(type) ? "real" : "numeric";
}

/** By a name in the config, whatever its case. */
export function columnNamed(table: FoundTable, name: string): FoundColumn | null {
  return table.columns.find((column) => nameOf(column.name) === nameOf(name)) ?? null;
}

/** @throws ConnectorError where the table has no such column, or the key is not unique */
export async function keyOf(
  driver: OpenDriver,
  table: FoundTable,
  key: readonly string[],
): Promise<readonly KeyColumn[]> {
  const columns = requireColumns(table, key);
  const names = columns.map(({ name }) => name).toSorted();
  const index = table.uniques.find(
    (of) =>
      of
        .map(({ name }) => name)
        .toSorted()
        .join("\n") === names.join("\n"),
  );
  if (index === undefined) throw notUnique(table, columns);
  return Promise.all(
    columns.map(async (column, at) => ({
      ...column,
      as: key[at] ?? column.name,
      collation: index.find(({ name }) => name === column.name)?.collation ?? "BINARY",
      holds: await classOf(driver, table, column),
    })),
  );
}

function notUnique({ name }: FoundTable, columns: readonly FoundColumn[]): ConnectorError {
  const names = columns.map((column) => quote(column.name)).join(", ");
  return new ConnectorError("stop", `The key (${names}) of ${name} has no unique index.`, {
    hints: [
      "Name its primary key, or create an index:",
      `create unique index ${quote(`${name}_key`)} on ${quote(name)} (${names});`,
    ],
  });
}

/** @throws ConnectorError */
export function requireColumns(table: FoundTable, names: readonly string[]): readonly FoundColumn[] {
  const missing = names.filter((name) => columnNamed(table, name) === null);
  const rowid = missing.find((name) => /^(?:rowid|oid|_rowid_)$/i.test(name));
  if (rowid !== undefined)
    throw new ConnectorError(
      "stop",
      `${table.name} has no column ${rowid}, and SQLite may give its rows other numbers.`,
      {
        hints: ["Add a primary key to the table: a VACUUM may change numbers that no column declares."],
      },
    );
  if (missing.length > 0)
    throw new ConnectorError(
      "stop",
      `${table.name} has no ${missing.length === 1 ? "column" : "columns"} ${missing.join(", ")}.`,
      {
        hints: [`Its ${counted(table.columns.length, "column")}: ${table.columns.map(({ name }) => name).join(", ")}.`],
      },
    );
  return names.map((name) => columnNamed(table, name)).filter((column) => column !== null);
}

/** A column without a type may hold anything: its first row decides, and each other row must agree. */
async function classOf(driver: OpenDriver, table: FoundTable, { name, affinity }: FoundColumn): Promise<KeyClass> {
  if (affinity !== "none") return affinity === "text" ? "text" : "number";
  const column = columnOf(name);
  const [row] = await driver.run(sql`
    select typeof(${column})
    from ${raw(quote(table.name))} t
    where ${column} is not null
    limit 1`);
  const type = String(row?.[0] ?? "text");
  return type === "text" || type === "blob" ? type : "number";
}

/** The type and the value of each column, for `read`. Texts as bytes: the driver ends at one that is not UTF-8. */
export function typed(columns: readonly Sql[]): Sql {
  return join(
    columns.map(
      (column) =>
        sql`typeof(${column}), case typeof(${column}) when 'text' then cast(${column} as blob) else ${column} end`,
    ),
  );
}

const WHOLE = /^(?:0|-?[1-9]\d*)$/;
const INT64_MAX = 2n ** 63n - 1n;

/** What a part of a key is to SQLite. Null: the column would store another value, such as 7 for 007. */
export function keyValue(
  text: string,
  { holds, affinity }: Pick<KeyColumn, "holds" | "affinity">,
): bigint | number | string | Buffer | null {
  if (holds === "text") return text;
  if (holds === "blob") return /^\\x(?:[\da-f]{2})*$/.test(text) ? Buffer.from(text.slice(2), "hex") : null;
  if (WHOLE.test(text)) {
    const whole = BigInt(text);
    if (whole <= INT64_MAX && whole >= -INT64_MAX - 1n) return whole;
  }
  const number = Number(text);
  if (text.trim() === "" || !Number.isFinite(number)) return affinity === "none" ? null : text;
  return String(number) === text ? number : null;
}

/** Whether a cell of this type can be the key: of two types, two different keys may have one text. */
export function isOfClass(type: string, { holds, affinity }: KeyColumn): boolean {
  if (holds === "text") return type === "t";
  if (holds === "blob") return type === "b";
  return type === "i" || type === "r" || (type === "t" && affinity !== "none");
}

/** A part of the key, in the order and comparison of its unique index. */
export function orderOf({ name, collation, affinity }: KeyColumn, column = columnOf(name)): Sql {
  return affinity === "text" || affinity === "none" ? sql`${column} collate ${raw(quote(collation))}` : column;
}
