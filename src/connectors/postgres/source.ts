/** Rows of a table of another PostgreSQL. Importing this loads no driver. */
import type { SyncedSource } from "../../config/define-source.js";
import type { Page, ReadOptions } from "../../model/connector.js";
import { tableSource, type ReadTable, type TableSourceSpec } from "../reading/table-spec.js";
import { addressOf, databaseOf } from "./address.js";

/** What `postgres` takes as a source. */
export interface PostgresSourceSpec<Column extends string, Key extends string> extends TableSourceSpec<Column, Key> {
  /** A `postgres://` URL, from a variable of the environment: the file with the config is no place for a password. */
  readonly url: string | undefined;
  /** The table, as `"movies"` or `"schema.movies"`. */
  readonly table: string;
}

export function postgresSource<const Column extends string, const Key extends string>(
  spec: PostgresSourceSpec<Column, Key>,
): SyncedSource<Column, Key> {
  return tableSource(spec, (read) => ({
    name: "postgres",
    reads: readsOf(read),
    address: addressOf(read.url, read.table),
    identity: async (signal) => (await import("./identity.js")).identityOf(read.url, read.table, signal),
    rows: (options) => lazily(read, options),
    diagnose: async ({ signal }) => (await import("./diagnose.js")).diagnoseSource(read, signal),
  }));
}

/** Not the overlap, which does not change the rows. */
function readsOf({ url, table, where, cursor }: ReadTable): string {
  return JSON.stringify([databaseOf(url), table, where, cursor]);
}

async function* lazily(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const { readPages } = await import("./read-pages.js");
  yield* readPages(table, options);
}
