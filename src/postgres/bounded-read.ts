/**
 * Reads that one row's data may make too much for the database: its time, its memory, or the longest value it can
 * build.
 */
import { DatabaseError, raw, sentAhead, STATEMENTS_OWN, type Queryable } from "./database.js";

/** For reading rows by their keys. Two of these and the reads between them take less time than a lease. */
export const READ_TIMEOUT_MS = 6_000;

/**
 * Null: it was too much, and the transaction continues as if nothing had been tried. `timeoutMs` null: the
 * transaction's own time-out. For statements that only read, because all that they did is rolled back, the setting
 * included.
 */
export async function boundedRead<Result>(
  tx: Queryable,
  timeoutMs: number | null,
  read: () => Promise<Result>,
): Promise<Result | null> {
  await tx.run(sentAhead(raw("savepoint rowmill_read")));
  if (timeoutMs !== null)
    await tx.run(sentAhead(raw(`select pg_catalog.set_config('statement_timeout', '${timeoutMs}', true)`)));
  try {
    const result = await read();
    await undo(tx);
    return result;
  } catch (error) {
    if (!isTooMuch(error)) throw error;
    await undo(tx);
    return null;
  }
}

async function undo(tx: Queryable): Promise<void> {
  await tx.run(sentAhead(raw("rollback to savepoint rowmill_read")));
  await tx.run(sentAhead(raw("release savepoint rowmill_read")));
}

/** A time-out, too little memory, or too long a value (54; or XX000 with this message, which is never translated). */
function isTooMuch(error: unknown): boolean {
  if (!(error instanceof DatabaseError) || error.sqlState === null) return false;
  if (error.sqlState === "XX000") return error.message.includes("invalid memory alloc request size");
  return /^(57014|53200|54)/.test(error.sqlState) && !STATEMENTS_OWN.test(error.sqlState);
}
