/** A connection of the user's: its statements look names up as theirs do, and not as Rowmill's own, whose path is pinned. */
import { openDatabase, underRolePath, type Database, type Queryable } from "../../src/store/database.js";

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
    rows: (statement) => client.rows(underRolePath(statement)),
    first: (statement) => client.first(underRolePath(statement)),
    run: (statement) => client.run(underRolePath(statement)),
  };
}
