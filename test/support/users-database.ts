/**
 * A connection of the user's: its statements look names up as theirs do, and not as Rowmill's own, whose path is
 * pinned.
 */
import { openDatabase, underRolePath, type Database, type Queryable, type Sql } from "../../src/postgres/database.js";

export function openUsersDatabase(...given: Parameters<typeof openDatabase>): Database {
  const database = openDatabase(...given);
  return {
    ...database,
    ...asUser(database),
    transaction: (work, options) => database.transaction((tx) => work(asUser(tx)), options),
  };
}

function asUser(client: Queryable): Queryable {
  return {
    rows: (statement) => client.rows(asTheirs(statement)),
    first: (statement) => client.first(asTheirs(statement)),
    column: (statement) => client.column(asTheirs(statement)),
    value: (statement) => client.value(asTheirs(statement)),
    number: (statement) => client.number(asTheirs(statement)),
    run: (statement) => client.run(asTheirs(statement)),
  };
}

/** A transaction that failed takes nothing but its return to a savepoint, so no setting before it. */
function asTheirs(statement: Sql): Sql {
  return /\bsavepoint\b/.test(statement.text) ? statement : underRolePath(statement);
}
