/**
 * Delivers answers into a table of another PostgreSQL. Its rows hold the fence of each pipeline that writes to them, so
 * a crash between the two databases is repaired by the same write again.
 */
import type { TargetConnector } from "../../model/connector.js";
import { Secret } from "../../model/secret.js";
import { addressOf, databaseOf } from "./address.js";

export interface PostgresTargetOptions {
  /** A `postgres://` URL, from a variable of the environment: the file with the config is no place for a password. */
  readonly url: string | undefined;
  /** `table` or `schema.table`. Made if it does not exist. */
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
  /** Of a table that we make. `private`, the default: row-level security on and no grants. */
  readonly access?: "private" | "inherit";
  /** Write to it even if another user owns it or the functions of its triggers, checks and defaults. */
  readonly trustOwner?: boolean;
}

/** What a write holds in memory several times over. */
const CHANGES_MAX = 500;
const BYTES_MAX = 4 * 1024 * 1024;

export function postgresTarget(options: PostgresTargetOptions): TargetConnector {
  const { url = "", table, key, columns = null, addColumns = false, access = "private", trustOwner = false } = options;
  const wanted = {
    table,
    columns,
    addColumns,
    access,
    trustOwner,
    elsewhere: null,
    key: key === undefined ? null : [key].flat(),
  };
  const address = new Secret(url);
  let opened: Promise<Writer> | null = null;
  // Only now: a config is read far more often than answers are delivered.
  const writer = () => (opened ??= import("./target-writer.js").then(({ openWriter }) => openWriter(address, wanted)));
  return {
    name: "postgres",
    promise: "onceInEffect",
    address: addressOf(url, table),
    identity: async (signal) => (await import("./identity.js")).identityOf(address.reveal(), table, signal),
    writes: JSON.stringify([databaseOf(url), table, wanted.key, columns]),
    most: { changes: CHANGES_MAX, bytes: BYTES_MAX },
    diagnose: async ({ signal, source = null, ...of }) =>
      (await import("./diagnose.js")).diagnoseTarget(address, { wanted, source, ...of }, signal),
    prepare: async (of) => (await writer()).prepare(of),
    write: async (changes, delivery) => (await writer()).write(changes, delivery),
  };
}

type Writer = Pick<TargetConnector, "prepare" | "write">;
