/** The fragments that a source gives to the ledger's own statements. */
import type { Sql } from "../../postgres/database.js";

/** For statements over ledger and rows. Everything in them is qualified, because a predicate is the user's code. */
export interface RowSql {
  /** Whether a row of this key matches `where`. */
  readonly exists: (key: Sql) => Sql;
  /** The row's version, as bytes; null: there is no row, or it is too large to be read with others. */
  readonly hash: (key: Sql) => Sql;
  /** Takes the whole statement. */
  readonly statement: (statement: Sql) => Sql;
}
