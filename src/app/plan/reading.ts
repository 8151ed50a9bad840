/** How a plan reads: the server refuses every write, and no one's lock is waited for long. */
import type { Database, Queryable } from "../../postgres/database.js";

/** The longest that a statement waits for another session's lock on a table, such as a migration's. */
const LOCK_MS_MAX = 2_000;

export function reading<T>(
  database: Database,
  work: (tx: Queryable) => Promise<T>,
  statementTimeoutMs?: number,
): Promise<T> {
  const limits = { readOnly: true, lockTimeoutMs: LOCK_MS_MAX };
  return database.transaction(work, statementTimeoutMs === undefined ? limits : { ...limits, statementTimeoutMs });
}
