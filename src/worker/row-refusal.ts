/** Whose doing it is that a transaction with answers failed: by the SQLSTATE, and by what ran when it failed. Pure. */
import { DatabaseError, isConflict, isDatabaseWide } from "../store/database.js";

/**
 * `passing`: a lock, a deadlock, a serialization failure or a time-out, so the same work may go well another time; a trigger of the user's
 * can raise them each time. `refusal`: of a row or its target, by whatever SQLSTATE. Null: anything else, which is no row's doing: the state
 * of the server (no connection, no room, read-only, shutting down, its disk), or a mistake in a statement over the ledger.
 *
 * `atTarget`: the target's write, what reads after it, or the COMMIT.
 */
export function causeOf(
  error: unknown,
  atTarget: boolean,
): { readonly cause: "passing" | "refusal"; readonly error: DatabaseError } | null {
  if (!(error instanceof DatabaseError) || error.sqlState === null) return null;
  if (isConflict(error)) return { cause: "passing", error };
  if (!atTarget || isDatabaseWide(error) || /^(25P|58030)/.test(error.sqlState)) return null;
  return { cause: error.sqlState === "57014" ? "passing" : "refusal", error };
}

/**
 * A missing right, table, column or schema, or what is not supported (42, 3F, 0A), said of our own statement: where code of the user's raises
 * the like, the error has a context.
 */
export function isOfStatement({ cause, sqlState }: DatabaseError): boolean {
  const inCode = cause instanceof Error && "where" in cause && cause.where !== undefined;
  return !inCode && /^(42|3F|0A)/.test(sqlState ?? "");
}
