/**
 * Delivers answers into a table of MySQL or MariaDB. Its rows hold the fence of each pipeline that writes to them, so a
 * crash between the two databases is repaired by the same write again.
 */
import type { TargetConnector } from "../../model/connector.js";
import { Secret } from "../../model/secret.js";
import { addressOf, databaseOf } from "./address.js";

export interface MysqlTargetOptions {
  /** A `mysql://` URL, from a variable of the environment: the file with the config is no place for a password. */
  readonly url: string | undefined;
  /** `table` or `database.table`. Made if it does not exist. */
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

/** What a write holds in memory several times over, and well below a server's max_allowed_packet of 16 MiB. */
const CHANGES_MAX = 500;
const BYTES_MAX = 4 * 1024 * 1024;

export function mysqlTarget(options: MysqlTargetOptions): TargetConnector {
  const { url = "", table, key, columns = {}, addColumns = false } = options;
  const wanted = { table, columns, addColumns, key: key === undefined ? null : [key].flat() };
  const secret = new Secret(url);
  let opened: Promise<Writer> | null = null;
  // Only now: a config is read far more often than answers are delivered.
  const writer = () => (opened ??= import("./target-writer.js").then(({ openWriter }) => openWriter(secret, wanted)));
  return {
    name: "mysql",
    promise: "onceInEffect",
    address: addressOf(url, table),
    identity: async (signal) => (await import("./identity.js")).identityOf(secret.reveal(), table, signal),
    writes: JSON.stringify([databaseOf(url), table, wanted.key, columns]),
    most: { changes: CHANGES_MAX, bytes: BYTES_MAX },
    diagnose: async (of) => (await import("./diagnose.js")).diagnoseTarget(secret, wanted, of),
    prepare: async (of) => (await writer()).prepare(of),
    write: async (changes, delivery) => (await writer()).write(changes, delivery),
  };
}

type Writer = Pick<TargetConnector, "prepare" | "write">;
