/** `sqlite()` of a config: a table of a SQLite file or a libSQL server, as a source or as a target. Loads no driver. */
import type { SyncedSource } from "../../config/define-source.js";
import type { TargetConnector } from "../../model/connector.js";
import { sqliteSource, type SqliteSourceSpec } from "./source.js";
import { sqliteTarget, type SqliteTargetOptions } from "./target.js";

/**
 * A table of a SQLite file (`"file:films.db"`) or of a libSQL server, such as Turso: with `columns` that are a list, a
 * source whose rows Rowmill reads; otherwise a target, to which it delivers answers. It needs the package
 * `@libsql/client`.
 */
export function sqlite<const Column extends string, const Key extends string>(
  spec: SqliteSourceSpec<Column, Key>,
): SyncedSource<Column, Key>;
export function sqlite(options: SqliteTargetOptions): TargetConnector;
export function sqlite(
  given: SqliteSourceSpec<string, string> | SqliteTargetOptions,
): SyncedSource<string, string> | TargetConnector {
  return isSource(given) ? sqliteSource(given) : sqliteTarget(given);
}

function isSource(
  given: SqliteSourceSpec<string, string> | SqliteTargetOptions,
): given is SqliteSourceSpec<string, string> {
  return Array.isArray(given.columns);
}
