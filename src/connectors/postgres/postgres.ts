/** `postgres()` of a config: a table of another PostgreSQL, as a source or as a target. Loads no driver. */
import type { SyncedSource } from "../../config/define-source.js";
import type { TargetConnector } from "../../model/connector.js";
import { postgresSource, type PostgresSourceSpec } from "./source.js";
import { postgresTarget, type PostgresTargetOptions } from "./target.js";

/**
 * A table of another PostgreSQL: with `columns` that are a list, a source whose rows Rowmill reads; otherwise a target,
 * to which it delivers answers.
 */
export function postgres<const Column extends string, const Key extends string>(
  spec: PostgresSourceSpec<Column, Key>,
): SyncedSource<Column, Key>;
export function postgres(options: PostgresTargetOptions): TargetConnector;
export function postgres(
  given: PostgresSourceSpec<string, string> | PostgresTargetOptions,
): SyncedSource<string, string> | TargetConnector {
  return isSource(given) ? postgresSource(given) : postgresTarget(given);
}

function isSource(
  given: PostgresSourceSpec<string, string> | PostgresTargetOptions,
): given is PostgresSourceSpec<string, string> {
  return Array.isArray(given.columns);
}
