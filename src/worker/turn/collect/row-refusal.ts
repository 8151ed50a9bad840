/** Whose doing it is that a transaction with answers failed: by the SQLSTATE, and by what ran when it failed. Pure. */
import { DatabaseError, isConflict, isDatabaseWide } from "../../../postgres/database.js";

/**
 * `passing`: a lock, a deadlock, a serialization failure or a time-out, so the same work may go well another time; a trigger of the user's
 * can raise them each time. `refusal`: of a row or its target, by whatever SQLSTATE. Null: anything else, which is no row's doing: the state
 * of the server (no connection, no room, read-only, shutting down, its disk), or a mistake in a statement over the ledger. A state of the
 * server that code of the user's raised is a refusal.
 *
 * `atTarget`: the target's write, what reads after it, or the COMMIT.
 */
export function causeOf(
  error: unknown,
  atTarget: boolean,
): { readonly cause: "passing" | "refusal"; readonly error: DatabaseError } | null {
  if (!(error instanceof DatabaseError) || error.sqlState === null) return null;
  if (isConflict(error)) return { cause: "passing", error };
  const isOfServer = isDatabaseWide(error) || /^(25P|58030)/.test(error.sqlState);
  if (!atTarget || (isOfServer && !isRaised(error))) return null;
  return { cause: error.sqlState === "57014" ? "passing" : "refusal", error };
}

/**
 * Did code of the user's raise it, by RAISE, or by a connection of its own (08: dblink, a foreign table)? The server's own words about itself
 * come from other routines, and none of class 08 comes with a context.
 */
export function isRaised({ cause, sqlState }: DatabaseError): boolean {
  if (!(cause instanceof Error)) return false;
  const isByStatement = "routine" in cause && cause.routine === "exec_stmt_raise";
  return isByStatement || (sqlState?.startsWith("08") === true && hasContext(cause));
}

function hasContext(cause: Error): boolean {
  return "where" in cause && cause.where !== undefined;
}

/**
 * A missing right, table, column or schema, or what is not supported (42, 3F, 0A), said of our own statement: where code of the user's raises
 * the like, the error has a context.
 */
export function isOfStatement({ cause, sqlState }: DatabaseError): boolean {
  const inCode = cause instanceof Error && hasContext(cause);
  return !inCode && /^(42|3F|0A)/.test(sqlState ?? "");
}
