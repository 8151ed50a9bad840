/** Rows of a table of another PostgreSQL. Importing this loads no driver. */
import type { Page, ReadOptions } from "../../model/connector.js";
import type { Duration } from "../../model/duration.js";
import type { SyncedSource } from "../../config/define-source.js";
import { addressOf, databaseOf } from "./address.js";

/** What `postgres` takes as a source. */
export interface PostgresSourceSpec<Column extends string, Key extends string> {
  /** A `postgres://` URL, from a variable of the environment: the file with the config is no place for a password. */
  readonly url: string | undefined;
  /** The table, as `"movies"` or `"schema.movies"`. */
  readonly table: string;
  /** The column or columns that identify a row: a primary key or another unique one. */
  readonly key: Key | readonly Key[];
  /** The columns that your prompt uses. */
  readonly columns: readonly Column[];
  /** An SQL condition there that selects rows. Default: all rows. */
  readonly where?: string;
  /**
   * A column that grows with each change, such as `updated_at`: then only rows that have changed are read, and all rows
   * once in `fullEvery`. It should be the first column of an index. Default: none, all rows each time.
   */
  readonly cursor?: string;
  /**
   * How far before the last value of `cursor` the next reading begins, for transactions that commit late; a number
   * where `cursor` is one. Default: `"5m"`, or 1000.
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
  readonly table: string;
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly where: string | null;
  readonly cursor: string | null;
  readonly overlap: Duration | number | null;
}

export function postgresSource<const Column extends string, const Key extends string>({
  url = "",
  table,
  where,
  cursor,
  overlap,
  ...shape
}: PostgresSourceSpec<Column, Key>): SyncedSource<Column, Key> {
  const { key, columns } = shape;
  const read: ReadTable = {
    url,
    table,
    key: typeof key === "string" ? [key] : [...key],
    columns: [...columns],
    where: where ?? null,
    cursor: cursor ?? null,
    overlap: overlap ?? null,
  };
  const address = addressOf(url, table);
  return {
    ...shape,
    elsewhere: {
      name: "postgres",
      reads: readsOf(read),
      address,
      identity: async (signal) => (await import("./identity.js")).identityOf(url, table, signal),
      rows: (options) => lazily(read, options),
      diagnose: async ({ signal }) => (await import("./diagnose.js")).diagnoseSource(read, signal),
    },
  };
}

/** Not the overlap, which does not change the rows. */
function readsOf({ url, table, where, cursor }: ReadTable): string {
  return JSON.stringify([databaseOf(url), table, where, cursor]);
}

async function* lazily(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const { readPages } = await import("./read-pages.js");
  yield* readPages(table, options);
}
