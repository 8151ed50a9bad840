/** Which rows a snapshot sees, by the rows' own xmin: nothing has to be stored, and no clock is read. */
import { sql, type Sql } from "./database.js";

/**
 * `xmin`: the row's, as an expression. A row that was written within a savepoint and is not committed yet may count as
 * seen once it is. Qualified, for statements under the role's path.
 */
export function visibleBefore(xmin: Sql, snapshot: string): Sql {
  return sql`(
    select ${IS_FROZEN} or pg_catalog.pg_visible_in_snapshot(${FULL_XID}, ${snapshot}::pg_catalog.pg_snapshot)
    from (
      select ${xmin}::pg_catalog.text::bigint as xmin,
        pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::bigint as now) x)`;
}

/** By an old version of PostgreSQL, which wrote 2. */
const IS_FROZEN = sql`x.xmin operator(pg_catalog.=) 2`;

const IS_AHEAD = sql`x.xmin operator(pg_catalog.>) (x.now operator(pg_catalog.&) 4294967295)`;

/** xmin has 32 bits, a snapshot 64: the rest is the present epoch, or the last where xmin is ahead. */
const FULL_XID = sql`(((x.now operator(pg_catalog.>>) 32)
  operator(pg_catalog.-) case when ${IS_AHEAD} then 1 else 0 end)
  operator(pg_catalog.*) 4294967296
  operator(pg_catalog.+) x.xmin)::pg_catalog.text::pg_catalog.xid8`;
