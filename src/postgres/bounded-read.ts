/** Reads what the data of one row may make too much for the database: for its time, its memory or the longest value it can build. */
import { DatabaseError, raw, sentAhead, STATEMENTS_OWN, type Queryable } from "./database.js";

/** For the reading of rows by their keys. Two of these and what is read meanwhile take less time than a lease. */
export const READ_TIMEOUT_MS = 6_000;

/**
 * Null: it was too much; the transaction goes on as if nothing had been tried. `timeoutMs` null: the transaction's own time-out.
 * For statements that only read: what they did is undone, and with it the setting.
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

/**
 * What the size of one row can cause: a time-out, too little memory, a value longer than PostgreSQL can build (54, or XX000 with this
 * message, which it never translates).
 */
function isTooMuch(error: unknown): boolean {
  if (!(error instanceof DatabaseError) || error.sqlState === null) return false;
  if (error.sqlState === "XX000") return error.message.includes("invalid memory alloc request size");
  return /^(57014|53200|54)/.test(error.sqlState) && !STATEMENTS_OWN.test(error.sqlState);
}
