/** The hints that triggers append. Taking them deletes them, in the transaction that acts on them. */
import { sql, type Queryable, type Reader } from "./database.js";
import { visibleBefore } from "./visible.js";

/** About so many keys are taken at once; one arrival more may go over it by KEYS_PER_ARRIVAL. */
export const TAKE_KEYS = 5_000;
const TAKE_ARRIVALS_MAX = 5_000;

export interface TakenArrivals {
  readonly keys: readonly string[];
  readonly sweepWanted: boolean;
  readonly count: number;
}

/**
 * Oldest first by place in the table. The caller holds the pipeline's intake lock, so nobody else takes the same.
 * `before`: only what this snapshot sees; null: whatever there is.
 */
export async function takeArrivals(
  tx: Queryable,
  pipelineId: number,
  before: string | null,
): Promise<TakenArrivals> {
  const old = before === null ? sql`true` : visibleBefore(sql`a.xmin`, before);
  const rows = await tx.rows<{ keys: string[] | null }>(sql`
    delete from rowmill.arrivals where ctid = any (array(
      select ctid from (
        select ctid, sum(coalesce(cardinality(keys), 1)) over (order by ctid) - coalesce(cardinality(keys), 1) as before
        from (select ctid, keys from rowmill.arrivals a where pipeline_id = ${pipelineId} and ${old} limit ${TAKE_ARRIVALS_MAX}) oldest_first
      ) counted where before < ${TAKE_KEYS}))
    returning keys`);
  const keys = new Set(rows.flatMap((row) => row.keys ?? []));
  return { keys: [...keys], sweepWanted: rows.some((row) => row.keys === null), count: rows.length };
}

/** Ids of pipelines for which something arrived. */
export async function pipelinesWithArrivals(client: Reader): Promise<number[]> {
  const rows = await client.rows<{ id: number }>(
    sql`select distinct pipeline_id as id from rowmill.arrivals`,
  );
  return rows.map((row) => row.id);
}

/** Hints for pipelines that are uninstalled or not there any more: nobody will ever take them. */
export async function dropForeignArrivals(client: Queryable): Promise<number> {
  return client.run(sql`delete from rowmill.arrivals where pipeline_id not in (
    select id from rowmill.pipelines where uninstalled_at is null)`);
}

export async function countArrivals(client: Queryable, pipelineId: number): Promise<number> {
  const row = await client.first<{ count: number }>(
    sql`select count(*)::int as count from rowmill.arrivals where pipeline_id = ${pipelineId}`,
  );
  return row?.count ?? 0;
}
