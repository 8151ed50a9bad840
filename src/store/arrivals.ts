/** The hints that triggers append. Taking them deletes them, in the transaction that acts on them. */
import { sql, type Queryable, type Reader } from "./database.js";
import { visibleBefore, type Moment } from "./visible.js";

/** About so many keys are taken at once; one arrival more may go over it by KEYS_PER_ARRIVAL. */
export const TAKE_KEYS = 5_000;
const TAKE_ARRIVALS_MAX = 5_000;

export interface TakenArrivals {
  readonly keys: readonly string[];
  readonly sweepWanted: boolean;
  /** Rows that no key names were among what was written. */
  readonly keyless: boolean;
  readonly count: number;
  /** When the oldest of them arrived; null: there were none. */
  readonly since: string | null;
}

/**
 * Oldest first by place in the table. The caller holds the pipeline's intake lock, so nobody else takes the same.
 * `before`: only what had arrived by then, also what was put back since; null: whatever there is.
 */
export async function takeArrivals(
  tx: Queryable,
  pipelineId: number,
  before: Moment | null,
): Promise<TakenArrivals> {
  const old =
    before === null
      ? sql`true`
      : sql`(a.arrived_at <= ${before.at}::timestamptz or ${visibleBefore(sql`a.xmin`, before.snapshot)})`;
  const rows = await tx.rows<{ keys: string[] | null; since: string }>(sql`
    with taken as (delete from rowmill.arrivals where ctid = any (array(
      select ctid from (
        select ctid, sum(coalesce(cardinality(keys), 1)) over (order by ctid) - coalesce(cardinality(keys), 1) as before
        from (select ctid, keys from rowmill.arrivals a where pipeline_id = ${pipelineId} and ${old} limit ${TAKE_ARRIVALS_MAX}) oldest_first
      ) counted where before < ${TAKE_KEYS}))
    returning keys, arrived_at)
    select keys, min(arrived_at) over ()::text as since from taken`);
  const keys = new Set(rows.flatMap((row) => row.keys ?? []));
  const keyless = keys.delete("");
  return {
    keys: [...keys],
    keyless,
    sweepWanted: rows.some((row) => row.keys === null),
    count: rows.length,
    since: rows[0]?.since ?? null,
  };
}

/**
 * Keys that nothing is known about yet, in the transaction that found them: a later look takes them, and a crash loses none. They count
 * as arrived when they first were; null: now.
 */
export async function putBack(
  tx: Queryable,
  pipelineId: number,
  { keys, since }: { keys: readonly string[]; since: string | null },
): Promise<void> {
  for (let start = 0; start < keys.length; start += TAKE_KEYS) {
    await tx.run(sql`insert into rowmill.arrivals (pipeline_id, keys, arrived_at)
      values (${pipelineId}, ${keys.slice(start, start + TAKE_KEYS)}::text[], coalesce(${since}::timestamptz, now()))`);
  }
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
