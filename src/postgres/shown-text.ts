/** Cuts text for display in SQL: PostgreSQL's longest value is longer than JavaScript's. */
import { raw, sql, type Sql } from "./database.js";

export const SHOWN_CHARACTERS_MAX = 100_000;
/** Below this nothing is cut, so cutting always shortens. */
const WHOLE_BYTES_MAX = 4 * SHOWN_CHARACTERS_MAX;

export interface Shown {
  readonly bytes: Sql;
  readonly whole: Sql;
  /** At least its first SHOWN_CHARACTERS_MAX characters, where those cost less than the whole. */
  readonly head?: Sql;
}

/** Null for null. */
export function shownText({ bytes, whole, head = whole }: Shown): Sql {
  return sql`case
    when ${isCut(bytes)} then pg_catalog.concat(pg_catalog.left(${head}, ${raw(String(SHOWN_CHARACTERS_MAX))}),
      ' … [', ${bytes}, ' bytes in all]')
    else ${whole} end`;
}

export function isCut(bytes: Sql): Sql {
  return sql`${bytes} operator(pg_catalog.>) ${raw(String(WHOLE_BYTES_MAX))}`;
}
