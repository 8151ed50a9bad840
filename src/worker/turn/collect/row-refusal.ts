/** Why a transaction with answers failed: by the SQLSTATE, and by what ran when it failed. Pure. */
import { DatabaseError, isConflict, isDatabaseWide } from "../../../postgres/database.js";

/**
 * `passing`: a lock, a deadlock, a serialization failure or a time-out; a retry may succeed, though a user's trigger
 * can raise them each time. `refusal`: by a row or its target, with any SQLSTATE. Null: no row's fault, but the
 * server's state (no connection, no room, read-only, shutting down, its disk) or a mistake in a statement over the
 * ledger. A server's state that the user's code raised is a refusal. `atTarget`: the target's write, the reads after
 * it, or the COMMIT.
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
 * Did the user's code raise it, by RAISE or on a connection of its own (08: dblink, a foreign table)? The server's own
 * errors come from other routines, and those of class 08 have no context.
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
 * A missing right, table, column or schema, or something not supported (42, 3F, 0A), in our own statement: where the
 * user's code raises such an error, it has a context.
 */
export function isOfStatement({ cause, sqlState }: DatabaseError): boolean {
  const inCode = cause instanceof Error && hasContext(cause);
  return !inCode && /^(42|3F|0A)/.test(sqlState ?? "");
}
