/** Rows of a table of a SQLite database. Importing this loads no driver. */
import type { SyncedSource } from "../../config/define-source.js";
import type { Page, ReadOptions } from "../../model/connector.js";
import { tableSource, type ReadTable as ReadAnyTable, type TableSourceSpec } from "../reading/table-spec.js";
import { addressOf, identityOf, nameOf, writtenPlace } from "./place.js";

/** What `sqlite` takes as a source. A `cursor` holds numbers, or times in UTC as texts of one form. */
export interface SqliteSourceSpec<Column extends string, Key extends string> extends TableSourceSpec<Column, Key> {
  /**
   * `"file:films.db"`, from the folder in which `rowmill up` runs, `"file:/data/films.db"`, or a `libsql://` URL from a
   * variable of the environment.
   */
  readonly url: string | undefined;
  /** Of a server, from a variable of the environment. */
  readonly authToken?: string | undefined;
  readonly table: string;
}

export interface ReadTable extends ReadAnyTable {
  readonly authToken: string;
}

export function sqliteSource<const Column extends string, const Key extends string>({
  authToken = "",
  ...spec
}: SqliteSourceSpec<Column, Key>): SyncedSource<Column, Key> {
  return tableSource<Column, Key>(spec, (table) => {
    const { url, table: name, where, cursor } = table;
    const read: ReadTable = { ...table, authToken };
    return {
      name: "sqlite",
      reads: JSON.stringify([writtenPlace(url), nameOf(name), where, cursor]),
      address: addressOf(url, name),
      identity: () => identityOf(url, name),
      rows: (options) => lazily(read, options),
      diagnose: async ({ signal }) => (await import("./diagnose.js")).diagnoseSource(read, signal),
    };
  });
}

async function* lazily(table: ReadTable, options: ReadOptions): AsyncGenerator<Page> {
  const { readTable } = await import("./read-table.js");
  yield* readTable(table, options);
}
