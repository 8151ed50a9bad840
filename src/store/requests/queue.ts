/**
 * The queue: rows of up to QUEUE_ROW request ids, in order of arrival. A planner gives whole rows to a batch, so that
 * planning 100,000 requests writes 100 rows. An id may be here twice, or although its request no longer waits:
 * rendering checks the state. So sums are upper bounds; `tidy` makes them exact.
 */
import { int8Array } from "../../postgres/arrays.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";

/** Ids of a row, rendered together. With half as many, a batch took 7 % longer and less memory (340 MB, not 386). */
export const QUEUE_ROW = 2_000;

/** In the transaction that made them wait. `delayMs`: until they may go out. */
export async function enqueue(tx: Queryable, pipelineId: number, ids: readonly string[], delayMs = 0): Promise<void> {
  for (let start = 0; start < ids.length; start += QUEUE_ROW)
    await tx.run(sql`
      insert into rowmill.queue (pipeline_id, not_before, ids)
      values (${pipelineId}, now() + make_interval(secs => ${delayMs / 1000}),
        ${int8Array(ids.slice(start, start + QUEUE_ROW))})`);
}

export interface ReadyFacts {
  readonly ready: number;
  readonly oldestWaitMs: number | null;
  /** Of the whole queue: ids beyond those that wait. */
  readonly excess: number;
  /** Arrivals are not looked at yet. */
  readonly arriving: boolean;
}

/** Of `q`. */
const IS_DUE = sql`q.batch is null and q.not_before <= now()`;

/** How many may go out now (an upper bound), and how long the oldest has waited. */
export async function readyFacts(tx: Reader, pipelineId: number): Promise<ReadyFacts> {
  const row = await tx.first<ReadyFacts>(sql`
    select coalesce(sum(n) filter (where ${IS_DUE}), 0)::int as ready,
      (extract(epoch from clock_timestamp() - min(since) filter (where ${IS_DUE})) * 1000)::float8 as "oldestWaitMs",
      greatest(0, coalesce(sum(n), 0) - (
        select coalesce(sum(waiting), 0) from rowmill.counts where pipeline_id = ${pipelineId}))::int as excess,
      exists (select from rowmill.arrivals where pipeline_id = ${pipelineId}) as arriving
    from rowmill.queue q
    where pipeline_id = ${pipelineId}`);
  return row ?? { ready: 0, oldestWaitMs: null, excess: 0, arriving: false };
}

/** Removes what no longer waits or is queued again later. Reads the whole queue, under the pipeline's lock. */
export async function tidy(tx: Queryable, pipelineId: number): Promise<void> {
  await tx.run(sql`
    with old as (
      delete from rowmill.queue
      where pipeline_id = ${pipelineId} and batch is null
      returning no, since, not_before, ids),
    planned as materialized (
      select x.id
      from rowmill.queue q
      cross join unnest(q.ids) x (id)
      where q.pipeline_id = ${pipelineId} and q.batch is not null),
    kept as (
      select distinct on (x.id) x.id, o.no, o.since, o.not_before
      from old o
      cross join unnest(o.ids) x (id)
      join rowmill.requests r on r.id = x.id and r.state = 'waiting'
      where x.id not in (select id from planned)
      order by x.id, o.no desc)
    insert into rowmill.queue (pipeline_id, since, not_before, ids)
    select ${pipelineId}, min(since), not_before, array_agg(id order by no, id)
    from (
      select *, (row_number() over (partition by not_before order by no, id) - 1) / ${QUEUE_ROW} as slice
      from kept) sliced
    group by not_before, slice
    order by min(no)`);
}

/**
 * Gives the next requests to a batch, at most `max`; `newMax` bounds those that were never asked (null: all). Returns
 * how many. The caller holds the pipeline's lock.
 */
export async function giveToBatch(
  tx: Queryable,
  { pipelineId, batch }: { readonly pipelineId: number; readonly batch: number },
  bounds: { readonly max: number; readonly newMax: number | null },
): Promise<number> {
  if (bounds.newMax !== null) await isolate(tx, pipelineId, { max: bounds.max, newMax: bounds.newMax });
  return tx.number(sql`
    with turn as (
      select no, n, sum(n) over (order by not_before, no) as until
      from rowmill.queue q
      where pipeline_id = ${pipelineId}
        and ${IS_DUE} ${bounds.newMax === null ? sql`` : sql`and not_before = '-infinity'`}),
    whole as (
      update rowmill.queue q
      set batch = ${batch}
      from turn t
      where q.no = t.no and t.until <= ${bounds.max} and q.batch is null
      returning q.n),
    split as (
      update rowmill.queue q
      set ids = q.ids[${bounds.max}::int - t.until + t.n + 1:]
      from turn t
      where q.no = t.no and t.until > ${bounds.max} and t.until - t.n < ${bounds.max} and q.batch is null),
    part as (
      insert into rowmill.queue (pipeline_id, batch, since, not_before, ids)
      select q.pipeline_id, ${batch}, q.since, q.not_before, q.ids[1:${bounds.max}::int - t.until + t.n]
      from turn t
      join rowmill.queue q on q.no = t.no
      where t.until > ${bounds.max} and t.until - t.n < ${bounds.max}
      returning n)
    select coalesce(sum(n), 0)::int as given
    from (select n from whole union all select n from part) given`);
}

/** What did not enter the batch waits for another one. */
export async function takeBack(tx: Queryable, batch: number): Promise<void> {
  await tx.run(sql`update rowmill.queue set batch = null where batch = ${batch}`);
}

/** Moves those that `limit` lets out to the front, in rows of their own. Reads the whole queue: a `limit` is rare. */
async function isolate(
  tx: Queryable,
  pipelineId: number,
  { max, newMax }: { readonly max: number; readonly newMax: number },
): Promise<void> {
  const chosen = sql`
    select id, since
    from (
      select x.id, q.since, q.not_before, q.no, r.attempt,
        count(*) filter (where r.attempt = 0) over (order by q.not_before, q.no, x.place) as fresh, x.place
      from rowmill.queue q
      cross join unnest(q.ids) with ordinality as x (id, place)
      join rowmill.requests r on r.id = x.id and r.state = 'waiting'
      where q.pipeline_id = ${pipelineId} and ${IS_DUE}) turn
    where attempt > 0 or fresh <= ${newMax}
    order by not_before, no, place
    limit ${max}`;
  await tx.run(sql`
    with chosen as materialized (${chosen}),
    cut as (
      delete from rowmill.queue q
      where q.pipeline_id = ${pipelineId} and ${IS_DUE} and q.ids && (select array_agg(id) from chosen)
      returning q.since, q.not_before, q.no, q.ids),
    rest as (
      insert into rowmill.queue (pipeline_id, since, not_before, ids)
      select ${pipelineId}, since, not_before, ids
      from (
        select c.since, greatest(c.not_before, c.since) as not_before, c.no,
          array(
            select i.id
            from unnest(c.ids) with ordinality as i (id, place)
            where i.id not in (select id from chosen)
            order by i.place) as ids
        from cut c) left_over
      where cardinality(ids) > 0
      order by no)
    insert into rowmill.queue (pipeline_id, since, not_before, ids)
    select ${pipelineId}, min(since), '-infinity', array_agg(id)
    from (select id, since, (row_number() over () - 1) / ${QUEUE_ROW} as slice from chosen) sliced
    group by slice
    order by slice`);
}

/** The first row of the batch's queue, with its requests that wait. Null: there is none. */
export async function firstOfBatch(
  tx: Queryable,
  batch: number,
): Promise<{
  readonly no: string;
  readonly requests: readonly { readonly id: string; readonly key: string }[];
} | null> {
  const row = await tx.first<{ no: string; requests: { id: string; key: string }[] }>(sql`
    select q.no::text as no, (
      select coalesce(json_agg(json_build_object('id', r.id::text, 'key', r.key) order by r.id), '[]')
      from rowmill.requests r
      where r.id = any(q.ids)
        and r.state = 'waiting') as requests
    from rowmill.queue q
    where q.batch = ${batch}
    order by q.no
    limit 1`);
  return row;
}

/** Only these ids stay in the row. */
export function shortened(no: string, left: readonly string[]): Sql {
  return left.length === 0
    ? sql`delete from rowmill.queue where no = ${no}::bigint`
    : sql`update rowmill.queue set ids = ${int8Array(left)} where no = ${no}::bigint`;
}

/** Ids that did not enter the row's batch wait for another one, with their previous waiting time. */
export async function putBack(
  tx: Queryable,
  no: string,
  { ids, delayMs }: { readonly ids: readonly string[]; readonly delayMs: number },
): Promise<void> {
  if (ids.length === 0) return;
  await tx.run(sql`
    insert into rowmill.queue (pipeline_id, since, not_before, ids)
    select pipeline_id, since, greatest(not_before, now() + make_interval(secs => ${delayMs / 1000})),
      ${int8Array(ids)}
    from rowmill.queue
    where no = ${no}::bigint`);
}

/** Some ids, half from the front and half from the end: files are often sorted. */
export async function waitingSample(client: Reader, pipelineId: number, max: number): Promise<string[]> {
  const half = Math.ceil(max / 2);
  const ofRow = (place: Sql, order: Sql) => sql`
    select r.key
    from (
      select ids
      from rowmill.queue
      where pipeline_id = ${pipelineId} and batch is null
      order by ${order}
      limit ${half}) q
    cross join unnest(${place}) x (id)
    join rowmill.requests r on r.id = x.id and r.state = 'waiting'`;
  const front = ofRow(sql`q.ids[1:${half}]`, sql`not_before, no`);
  const end = ofRow(sql`q.ids[greatest(1, cardinality(q.ids) - ${half} + 1):]`, sql`not_before desc, no desc`);
  return client.column(sql`(${front} limit ${half}) union (${end} limit ${half})`);
}
