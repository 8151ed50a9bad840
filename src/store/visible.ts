/** Which rows a snapshot sees. A row's own number does for it: nothing has to be stored, and no clock is asked. */
import { sql, type Reader, type Sql } from "./database.js";

/** Of all that is committed by now. */
export async function presentSnapshot(client: Reader): Promise<string> {
  const row = await client.first<{ snapshot: string }>(sql`select pg_current_snapshot()::text as snapshot`);
  return row?.snapshot ?? "";
}

/**
 * A row's xmin has 32 bits; the snapshot speaks of 64. The missing half is the current epoch, or the one before where the
 * row's number is still ahead of the counter. 2 is a row frozen by an old version. `xmin`: the row's, as an expression. A row that was
 * written within a savepoint, and not committed yet, may count as seen once it is.
 */
export function visibleBefore(xmin: Sql, snapshot: string): Sql {
  return sql`(select x.xmin = 2 or pg_visible_in_snapshot(
      (((x.now >> 32) - case when x.xmin > (x.now & 4294967295) then 1 else 0 end) * 4294967296 + x.xmin)::text::xid8, ${snapshot}::pg_snapshot)
    from (select ${xmin}::text::bigint as xmin, pg_snapshot_xmax(pg_current_snapshot())::text::bigint as now) x)`;
}
