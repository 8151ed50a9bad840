/**
 * Delivers answers into a table of a SQLite database. Its rows hold the fence of each pipeline that writes to them, so
 * a crash between the two databases is repaired by the same write again.
 */
import type { TargetConnector } from "../../model/connector.js";
import { Secret } from "../../model/secret.js";
import { addressOf, identityOf, nameOf, writtenPlace } from "./place.js";

export interface SqliteTargetOptions {
  /**
   * `"file:labels.db"`, from the folder in which `rowmill up` runs, `"file:/data/labels.db"`, or a `libsql://` URL from
   * a variable of the environment. A file is made if it does not exist.
   */
  readonly url: string | undefined;
  /** Of a server, from a variable of the environment. */
  readonly authToken?: string | undefined;
  /** Made if it does not exist. */
  readonly table: string;
  /**
   * Its key columns, in the order of the source's key. Default: `key`; the source's own, where answers are written back
   * into its rows.
   */
  readonly key?: string | readonly string[];
  /** Answer field → column. Default: of the same name. */
  readonly columns?: Readonly<Record<string, string>>;
  /** Add the columns that an existing table lacks. Default: false. */
  readonly addColumns?: boolean;
}

/** As the writing needs it. `key`: null as it was not named. */
export interface WantedTable {
  readonly url: Secret;
  readonly authToken: Secret;
  readonly table: string;
  readonly key: readonly string[] | null;
  readonly columns: Readonly<Record<string, string>> | null;
  readonly addColumns: boolean;
}

/** What a write holds in memory several times over. */
const CHANGES_MAX = 500;
const BYTES_MAX = 4 * 1024 * 1024;

export function sqliteTarget(options: SqliteTargetOptions): TargetConnector {
  const { url = "", authToken = "", table, key, columns = null, addColumns = false } = options;
  const wanted: WantedTable = {
    url: new Secret(url),
    authToken: new Secret(authToken),
    table,
    key: key === undefined ? null : [key].flat(),
    columns,
    addColumns,
  };
  let opened: Promise<Writer> | null = null;
  // Only now: a config is read far more often than answers are delivered.
  const writer = () => (opened ??= import("./target-writer.js").then(({ openWriter }) => openWriter(wanted)));
  return {
    name: "sqlite",
    promise: "onceInEffect",
    address: addressOf(url, table),
    identity: () => identityOf(url, table),
    writes: JSON.stringify([writtenPlace(url), nameOf(table), wanted.key, columns]),
    most: { changes: CHANGES_MAX, bytes: BYTES_MAX },
    diagnose: async (of) => (await import("./diagnose.js")).diagnoseTarget(wanted, of),
    prepare: async (of) => (await writer()).prepare(of),
    write: async (changes, delivery) => (await writer()).write(changes, delivery),
  };
}

type Writer = Pick<TargetConnector, "prepare" | "write">;
