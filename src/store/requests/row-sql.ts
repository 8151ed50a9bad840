/** How the rows of a source look to the ledger's own statements: each source gives these fragments. */
import type { Sql } from "../../postgres/database.js";

/** For statements over the ledger that look at the rows themselves. Everything in such a statement is qualified: a predicate is the user's code. */
export interface RowSql {
  /** Is there a row of this key that matches `where`? */
  readonly exists: (key: Sql) => Sql;
  /** The version of the row of this key, as bytes; null: there is none, or it is too much to be read among others. */
  readonly hash: (key: Sql) => Sql;
  /** The whole statement goes through this. */
  readonly statement: (statement: Sql) => Sql;
}
