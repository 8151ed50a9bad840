/** `mysql()` of a config: a table of MySQL or MariaDB, as a source or as a target. Loads no driver. */
import type { SyncedSource } from "../../config/define-source.js";
import type { TargetConnector } from "../../model/connector.js";
import { mysqlSource, type MysqlSourceSpec } from "./source.js";
import { mysqlTarget, type MysqlTargetOptions } from "./target.js";

/**
 * A table of MySQL or MariaDB: with `columns` that are a list, a source whose rows Rowmill reads; otherwise a target,
 * to which it delivers answers.
 */
export function mysql<const Column extends string, const Key extends string>(
  spec: MysqlSourceSpec<Column, Key>,
): SyncedSource<Column, Key>;
export function mysql(options: MysqlTargetOptions): TargetConnector;
export function mysql(
  given: MysqlSourceSpec<string, string> | MysqlTargetOptions,
): SyncedSource<string, string> | TargetConnector {
  return isSource(given) ? mysqlSource(given) : mysqlTarget(given);
}

function isSource(
  given: MysqlSourceSpec<string, string> | MysqlTargetOptions,
): given is MysqlSourceSpec<string, string> {
  return Array.isArray(given.columns);
}
