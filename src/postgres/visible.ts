/** Which rows a snapshot sees. A row's own number does for it: nothing has to be stored, and no clock is asked. */
import { sql, type Reader, type Sql } from "./database.js";

/** A moment, by what was committed and by the database's clock. */
export interface Moment {
  readonly snapshot: string;
  readonly at: string;
}

export async function presentMoment(client: Reader): Promise<Moment> {
  const row = await client.first<Moment>(
    sql`select pg_current_snapshot()::text as snapshot, clock_timestamp()::text as at`,
  );
  return row ?? { snapshot: "", at: "infinity" };
}

/**
 * A row's xmin has 32 bits; the snapshot speaks of 64. The missing half is the current epoch, or the one before where the
 * row's number is still ahead of the counter. 2 is a row frozen by an old version. `xmin`: the row's, as an expression. A row that was
 * written within a savepoint, and not committed yet, may count as seen once it is. Qualified, for statements under the role's path.
 */
export function visibleBefore(xmin: Sql, snapshot: string): Sql {
  const xid = sql`(((x.now operator(pg_catalog.>>) 32)
      operator(pg_catalog.-) case when x.xmin operator(pg_catalog.>) (x.now operator(pg_catalog.&) 4294967295) then 1 else 0 end)
      operator(pg_catalog.*) 4294967296 operator(pg_catalog.+) x.xmin)::pg_catalog.text::pg_catalog.xid8`;
  return sql`(select x.xmin operator(pg_catalog.=) 2 or pg_catalog.pg_visible_in_snapshot(${xid}, ${snapshot}::pg_catalog.pg_snapshot)
    from (select ${xmin}::pg_catalog.text::bigint as xmin,
      pg_catalog.pg_snapshot_xmax(pg_catalog.pg_current_snapshot())::pg_catalog.text::bigint as now) x)`;
}
