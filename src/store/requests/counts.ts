/**
 * Counts of requests by state and totals of attempts. Every transaction appends what it changed, so no one waits for
 * a counter or counts requests; the janitor folds the rows. The audit counts independently.
 */
import { REQUEST_STATES, type RequestState } from "../../model/request/request-transitions.js";
import { join, raw, sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";

export type StateChanges = Partial<Record<RequestState, number>>;

/** In the transaction that moved the requests. */
export async function countChanges(tx: Queryable, pipelineId: number, changes: StateChanges): Promise<void> {
  const names = REQUEST_STATES.filter((state) => (changes[state] ?? 0) !== 0);
  if (names.length === 0) return;
  await tx.run(sql`
    insert into rowmill.counts (pipeline_id, ${join(names.map((name) => raw(name)))})
    values (${pipelineId}, ${join(names.map((name) => sql`${changes[name] ?? 0}`))})`);
}

/** One less in the old state, one more in the new one. */
export function changesOf(
  moves: Iterable<{ readonly from: RequestState | null; readonly to: RequestState }>,
): StateChanges {
  const changes: StateChanges = {};
  for (const { from, to } of moves) {
    if (from === to) continue;
    if (from !== null) changes[from] = (changes[from] ?? 0) - 1;
    changes[to] = (changes[to] ?? 0) + 1;
  }
  return changes;
}

export interface Counted {
  readonly pipelineId: number;
  readonly counts: Readonly<Record<RequestState, number>>;
}

/** A row for each pipeline that has requests. */
export const COUNTS_BY_PIPELINE: Sql = sql`
  select pipeline_id, ${join(REQUEST_STATES.map((state) => sql`sum(${raw(state)})::int as ${raw(state)}`))}
  from rowmill.counts
  group by pipeline_id`;

export async function countStates(client: Reader): Promise<Counted[]> {
  const rows = await client.rows<Record<RequestState, number> & { pipeline_id: number }>(COUNTS_BY_PIPELINE);
  return rows.map(({ pipeline_id: pipelineId, ...counts }) => ({ pipelineId, counts }));
}

export async function countState(client: Reader, pipelineId: number, state: RequestState): Promise<number> {
  return client.number(sql`
    select coalesce(sum(${raw(state)}), 0)::int as count
    from rowmill.counts
    where pipeline_id = ${pipelineId}`);
}

/** Columns of both `usage` and `batches`. */
const SUMS = [
  "succeeded",
  "failed",
  "returned",
  "input_tokens",
  "cached_input_tokens",
  "output_tokens",
  "cost_nano_usd",
  "unpriced",
  "sharing_saved_nano_usd",
] as const;

export const USAGE_COLUMNS: Sql = join(SUMS.map((name) => raw(name)));

/** Of an unfinished batch, as one row of `USAGE_COLUMNS`. */
export function usageOf(batch: Sql): Sql {
  return sql`(
    select ${join(SUMS.map((name) => sql`coalesce(sum(u.${raw(name)}), 0)::bigint`))}
    from rowmill.usage u
    where u.batch = ${batch})`;
}

/** Ended requests of an unfinished batch. */
export function endedOf(batch: Sql): Sql {
  return sql`(
    select coalesce(sum(u.succeeded + u.failed + u.returned), 0)::int
    from rowmill.usage u
    where u.batch = ${batch})`;
}

/** Rows that one fold takes; the next one takes the rest. */
const FOLD_MAX = 10_000;

/** Merges the rows of a pipeline, or of one hour of it. Readers see the same sum before and after. */
export async function foldCounts(client: Queryable): Promise<void> {
  const states = REQUEST_STATES.map((state) => raw(state));
  await client.run(sql`
    with taken as (
      delete from rowmill.counts
      where ctid = any (array(
        select ctid
        from rowmill.counts
        where pipeline_id in (select pipeline_id from rowmill.counts group by pipeline_id having count(*) > 1)
        limit ${FOLD_MAX}
        for update skip locked))
      returning *)
    insert into rowmill.counts (pipeline_id, ${join(states)})
    select pipeline_id, ${join(states.map((state) => sql`sum(${state})`))}
    from taken
    group by pipeline_id`);
  const columns = SUMS.map((name) => raw(name));
  await client.run(sql`
    with taken as (
      delete from rowmill.usage
      where ctid = any (array(
        select u.ctid
        from rowmill.usage u
        join (
          select pipeline_id, hour
          from rowmill.usage
          where batch is null and hour > now() - interval '1 day'
          group by 1, 2
          having count(*) > 1) o on o.pipeline_id = u.pipeline_id
          and o.hour = u.hour
        where u.batch is null
        limit ${FOLD_MAX}
        for update of u skip locked))
      returning *)
    insert into rowmill.usage (pipeline_id, hour, ${join(columns)})
    select pipeline_id, hour, ${join(columns.map((name) => sql`sum(${name})`))}
    from taken
    group by pipeline_id, hour`);
}
