/**
 * What targets elsewhere have still to be told: one line for each answered row, of which only the newest change counts.
 * A line is written in the transaction that writes its answer, and confirmed only where its fence is unchanged. Lines
 * are locked last; what confirms or replays them never waits for one.
 */
import type { ChangeOutcome } from "../../model/delivery-outcomes.js";
import { storableText } from "../../model/words/storable-text.js";
import { int8Array, sideBySide, textArray } from "../../postgres/arrays.js";
import { sentAhead, sql, type Queryable } from "../../postgres/database.js";

/** Each second has room for as many fences; more of them only run ahead of the clock. */
const FENCES_OF_A_SECOND = 2 ** 31;

/** The planner asks for the epoch once, and for a number at each row. */
const NEXT_FENCE = sql`(
  (select fence_epoch from rowmill.deployment) * ${FENCES_OF_A_SECOND}::int8 + nextval('rowmill.delivery_fences'))`;

/** The answers of these keys were written. In the order of the keys, as every transaction does. */
export async function noteWritten(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<void> {
  await tx.run(sql`
    insert into rowmill.deliveries as d (pipeline_id, key, fence)
    select ${pipelineId}::int, k.key, ${NEXT_FENCE}
    from (select key from unnest(${textArray(keys)}) as k (key) order by key) k
    on conflict (pipeline_id, key) do update
    -- A replay may have taken a fence after ours.
    set fence = greatest(excluded.fence, d.fence + 1), deleted = false, state = 'waiting', failures = 0, reason = null,
      next_at = excluded.next_at, changed_at = excluded.changed_at`);
}

/** The answers of these keys were deleted. A row that was never noted has nothing elsewhere. */
export async function noteDeleted(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<void> {
  await tx.run(sql`
    with locked as (
      select d.key
      from rowmill.deliveries d
      where d.pipeline_id = ${pipelineId} and d.key = any(${[...keys]}::text[])
      order by d.key
      for update)
    update rowmill.deliveries d
    set fence = greatest(d.fence + 1, ${NEXT_FENCE}),
      deleted = true, state = 'waiting', failures = 0, reason = null, next_at = now(), changed_at = now(),
      read_back = null
    from locked
    where d.pipeline_id = ${pipelineId} and d.key = locked.key`);
}

export interface Line {
  readonly key: string;
  readonly fence: string;
  readonly deleted: boolean;
  /** How many times the target refused it, and why it did the last time. */
  readonly failures: number;
  readonly reason: string | null;
  /** An earlier write of it, which may have taken effect, changed its row. */
  readonly isReadBack: boolean;
}

const LINE = sql`
  d.key, d.fence::text as fence, d.deleted, d.failures, d.reason, d.read_back is not null as "isReadBack"`;

/**
 * Those that are due, the longest first, read in the order of the index. Statistics of a time when none waited make
 * the planner read and sort all of them instead, which took 70 ms for each write of 200,000 lines.
 */
export async function due(tx: Queryable, pipelineId: number, max: number): Promise<Line[]> {
  await tx.run(sentAhead(sql`select pg_catalog.set_config('enable_bitmapscan', 'off', true)`));
  return tx.rows<Line>(sql`
    select ${LINE}
    from rowmill.deliveries d
    where d.pipeline_id = ${pipelineId} and d.state = 'waiting' and d.next_at <= clock_timestamp()
    order by d.pipeline_id, d.next_at, d.fence
    limit ${max}`);
}

/** Those of these keys that are due. */
export async function dueAmong(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<Line[]> {
  return tx.rows<Line>(sql`
    select ${LINE}
    from rowmill.deliveries d
    where d.pipeline_id = ${pipelineId}
      and d.key = any(${[...keys]}::text[])
      and (d.state = 'waiting') is true
      and d.next_at <= clock_timestamp()
    order by d.fence`);
}

/** What happened to a line, by its fence. */
export interface Confirmation extends ChangeOutcome {
  readonly key: string;
  readonly fence: string;
}

/**
 * Only where the fence is unchanged, and the line still waits. One that another transaction holds is about to get a
 * new fence, or is delivered again with the same one.
 */
export async function confirm(
  tx: Queryable,
  pipelineId: number,
  confirmations: readonly Confirmation[],
): Promise<void> {
  const of = <Value>(value: (one: Confirmation) => Value): Value[] => confirmations.map(value);
  const given = sideBySide([
    textArray(of(({ key }) => key)),
    int8Array(of(({ fence }) => fence)),
    textArray(of(({ state }) => state)),
    int8Array(of(({ failures }) => failures)),
    textArray(of(({ reason }) => (reason === null ? null : storableText(reason)))),
    int8Array(of(({ waitMs }) => Math.round(waitMs))),
  ]);
  await tx.run(sql`
    with locked as (
      select d.key, g.state, g.failures, g.reason, g.wait_ms
      from ${given} as g (key, fence, state, failures, reason, wait_ms)
      join rowmill.deliveries d on d.pipeline_id = ${pipelineId} and d.key = g.key and d.fence = g.fence
      -- Not as the index of waiting lines says it: each is looked up by its key.
      where (d.state = 'waiting') is true
      for update of d skip locked),
    told as (
      delete from rowmill.deliveries d
      using locked l
      where d.pipeline_id = ${pipelineId} and d.key = l.key and d.deleted and l.state = 'delivered')
    update rowmill.deliveries d
    set state = l.state, failures = l.failures, reason = l.reason, changed_at = now(),
      next_at = clock_timestamp() + make_interval(secs => l.wait_ms / 1000.0),
      read_back = case when l.state = 'waiting' then d.read_back end
    from locked l
    where d.pipeline_id = ${pipelineId} and d.key = l.key and not (d.deleted and l.state = 'delivered')`);
}

/** Of these keys, the newest fence that this ledger gave. */
export async function newestFences(
  tx: Queryable,
  pipelineId: number,
  keys: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await tx.rows<{ key: string; fence: string }>(sql`
    select key, fence::text as fence
    from rowmill.deliveries
    where pipeline_id = ${pipelineId} and key = any(${[...keys]}::text[])`);
  return new Map(rows.map(({ key, fence }) => [key, fence]));
}

/** After a restore or copy: what waits gets fences of the new epoch, by which it wins over the other ledger's. */
export async function renewFences(tx: Queryable): Promise<void> {
  await tx.run(sql`
    update rowmill.deliveries d
    set fence = greatest(d.fence + 1, ${NEXT_FENCE})
    where d.state = 'waiting'`);
}

/** Lines of one transaction. */
const REPLAYED_MAX = 5_000;

/** All fences after this are newer than those of any other ledger. Returns the present moment. */
export async function beginReplay(client: Queryable): Promise<string> {
  const now = await client.value<string>(sql`
    update rowmill.deployment
    set fence_epoch = greatest(fence_epoch, extract(epoch from clock_timestamp())::bigint)
    returning clock_timestamp()::text as now`);
  if (now === null) throw new Error("The table rowmill.deployment is empty.");
  return now;
}

/**
 * The next lines that were refused wait again, each with a new fence, so that they also win over what the target has
 * now. `all`: also those that were delivered. `before`: only what changed before then. Returns how many they were.
 */
export async function replay(
  tx: Queryable,
  pipelineId: number,
  { all, before }: { readonly all: boolean; readonly before: string },
): Promise<number> {
  const states = all ? ["delivered", "stale", "failed"] : ["stale", "failed"];
  return tx.run(sql`
    with locked as (
      select d.key
      from rowmill.deliveries d
      where d.pipeline_id = ${pipelineId}
        and (d.state = any(${states}::text[]) or (d.state = 'waiting' and d.failures > 0))
        and d.changed_at <= ${before}::timestamptz
      limit ${REPLAYED_MAX}
      for update skip locked)
    update rowmill.deliveries d
    set fence = greatest(d.fence + 1, ${NEXT_FENCE}),
      state = 'waiting', failures = 0, reason = null, next_at = now(), changed_at = now()
    from locked
    where d.pipeline_id = ${pipelineId} and d.key = locked.key`);
}
