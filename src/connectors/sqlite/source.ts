/** Rows of a table of a SQLite database. Importing this loads no driver. */
import type { SyncedSource } from "../../config/define-source.js";
import type { Page, ReadOptions } from "../../model/connector.js";
import type { Duration } from "../../model/duration.js";
import { addressOf, identityOf, nameOf, writtenPlace } from "./place.js";

/** What `sqlite` takes as a source. */
export interface SqliteSourceSpec<Column extends string, Key extends string> {
  /**
   * `"file:films.db"`, from the folder in which `rowmill up` runs, `"file:/data/films.db"`, or a `libsql://` URL from a
   * variable of the environment.
   */
  readonly url: string | undefined;
  /** Of a server, from a variable of the environment. */
  readonly authToken?: string | undefined;
  readonly table: string;
  /** The column or columns that identify a row: a primary key or another unique one. */
  readonly key: Key | readonly Key[];
  /** The columns that your prompt uses. */
  readonly columns: readonly Column[];
  /** An SQL condition there that selects rows. Default: all rows. */
  readonly where?: string;
  /**
   * A column that grows with each change, such as `updated_at`: then only rows that have changed are read, and all rows
   * once in `fullEvery`. It holds numbers, or times in UTC as texts of one form. It should be the first column of an
   * index. Default: none, all rows each time.
   */
  readonly cursor?: string;
  /**
   * How far before the last value of `cursor` the next reading begins, for transactions that commit late; a number
   * where `cursor` holds numbers. Default: `"5m"`, or 1000.
   */
  readonly overlap?: Duration | number;
  /** How long after a reading the next one begins. Default: `"1m"`. */
  readonly every?: Duration;
  /** How often all rows are read, which alone shows deleted ones. Default: `"1d"`. */
  readonly fullEvery?: Duration;
  /** What to do with an answer whose row was deleted, as for a table. Default: `"drop"`. */
  readonly onGone?: "drop" | "keepAnswer";
}

/** As the reading needs it. */
export interface ReadTable {
  readonly url: string;
  readonly authToken: string;
  readonly table: string;
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly where: string | null;
  readonly cursor: string | null;
  readonly overlap: Duration | number | null;
}

export function sqliteSource<const Column extends string, const Key extends string>({
  url = "",
  authToken = "",
  table,
  where,
  cursor,
  overlap,
  ...shape
}: SqliteSourceSpec<Column, Key>): SyncedSource<Column, Key> {
  const { key, columns } = shape;
  const read: ReadTable = {
    url,
    authToken,
    table,
    key: typeof key === "string" ? [key] : [...key],
    columns: [...columns],
    where: where ?? null,
    cursor: cursor ?? null,
    overlap: overlap ?? null,
  };
  return {
    ...shape,
    elsewhere: {
      name: "sqlite",
      reads: JSON.stringify([writtenPlace(url), nameOf(table), where, cursor]),
      address: addressOf(url, table),
      identity: () => identityOf(url, table),
      rows: (options) => lazily(read, options),
      diagnose: async ({ signal }) => (await import("./diagnose.js")).diagnoseSource(read, signal),
    },
  };
}

async function* lazily(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const { readTable } = await import("./read-table.js");
  yield* readTable(table, options);
}
