/**
 * What there is to do, for all pipelines of a worker, in one statement. It decides nothing: each step reads its own
 * rows again, under its own locks. An idle worker asks each second only whether the last answer still holds. Settled
 * work costs nothing: it reads arrivals, the queue, unfinished batches, and one row a pipeline of everything else.
 */
import { asItStands, inOneMessage, sql, type Reader, type Sql } from "../../postgres/database.js";
import type { PauseKind } from "../pipelines/pipelines.js";
import { SWEEP_FACTS, type SweepFacts } from "../requests/sweeps.js";
import { refuseNewer, requireUnderstood } from "./understood.js";
import { WORKER_SILENCE_MS } from "./workers.js";

export interface DueQuestion {
  readonly pipelines: readonly { readonly id: number; readonly definitionHash: string }[];
  /** Also `orphan` and `demo`, which cost more. */
  readonly thorough: boolean;
}

export interface PipelineDue {
  readonly id: number;
  /** It has this worker's definition and is not uninstalled. */
  readonly current: boolean;
  readonly pauseKind: PauseKind | null;
  readonly approved: boolean;
  readonly arrived: boolean;
  /** Requests that may go out now; an upper bound. */
  readonly ready: number;
  /** Null: none is ready. */
  readonly oldestWaitMs: number | null;
  /** Until the next of the others may go out. Null: there are none. */
  readonly nextReadyMs: number | null;
  readonly flush: boolean;
  /** Null: it was never swept. */
  readonly sweep: SweepFacts | null;
  /** The demo model answered rows of it. False unless `thorough`. */
  readonly demo: boolean;
  /** Until an answer may be delivered to its target elsewhere; not above 0: now. Null: none waits. */
  readonly deliverMs: number | null;
  /** Of the target elsewhere that gets the answers. Null: it is a table. */
  readonly targetHash: string | null;
}

export interface Due {
  /** By id; only registered ones. */
  readonly pipelines: ReadonlyMap<number, PipelineDue>;
  /** Unfinished batches that are due and free. */
  readonly batches: number;
  /** Until a batch is due, a provider's wait is over, or a silent worker counts as dead. Null: never. */
  readonly nextMs: number | null;
  /** A worker has been silent for too long. */
  readonly dead: boolean;
  /** An unfinished batch has no wake-up. False unless `thorough`. */
  readonly orphan: boolean;
  /** Changes when any worker did something that may unblock others or should be shown. */
  readonly revision: string;
  /** What had been committed when it was asked. */
  readonly snapshot: string;
}

/** Whether nothing was committed since: the same snapshot sees the same rows. Costs next to nothing. */
export async function holds(client: Reader, { snapshot }: Pick<Due, "snapshot">): Promise<boolean> {
  const statement = asItStands(sql`select pg_catalog.pg_current_snapshot() as snapshot`);
  return (await client.value<string>(statement)) === snapshot;
}

/** @throws RowmillError `version_too_old` */
export async function askDue(client: Reader, question: DueQuestion): Promise<Due> {
  const row = await client.first<DueRecord>(statement(question)).catch(async (error: unknown) => {
    // A newer version may have changed the ledger so that the statement fails.
    await requireUnderstood(client);
    throw error;
  });
  if (row === null) throw new Error("The database did not return what is due.");
  const { oldest, batches, nextMs, dead, orphan, snapshot } = row;
  refuseNewer(oldest);
  const asked = new Map(question.pipelines.map(({ id, definitionHash }) => [id, definitionHash]));
  const pipelines = new Map(row.pipelines.map((one) => [one.id, toPipeline(one, row, asked.get(one.id) ?? "")]));
  return { pipelines, batches, nextMs, dead, orphan, revision: revisionOf(row), snapshot };
}

interface PipelineRecord extends Pick<
  PipelineDue,
  "id" | "pauseKind" | "ready" | "oldestWaitMs" | "nextReadyMs" | "deliverMs" | "targetHash"
> {
  readonly definitionHash: string;
  readonly approvedHash: string | null;
  readonly flushAt: string | null;
  readonly uninstalledAt: string | null;
  /** Only part of the revision: when it changes, other work may continue. */
  readonly answersSince: string | null;
  readonly sweep: SweepFacts | null;
}

interface DueRecord extends Pick<Due, "batches" | "nextMs" | "dead" | "orphan" | "snapshot"> {
  readonly oldest: number;
  readonly suspected: boolean;
  /** Ids of pipelines, as are the next ones. */
  readonly arrived: readonly number[] | null;
  readonly demo: readonly number[] | null;
  readonly pipelines: readonly PipelineRecord[];
  /** What changes without the pipelines' own rows. */
  readonly news: string;
}

function toPipeline(one: PipelineRecord, row: DueRecord, definitionHash: string): PipelineDue {
  const { id, ready, oldestWaitMs, nextReadyMs, deliverMs, targetHash, sweep } = one;
  return {
    id,
    current: one.definitionHash === definitionHash && one.uninstalledAt === null,
    pauseKind: row.suspected ? "deployment" : one.pauseKind,
    approved: one.approvedHash === one.definitionHash,
    arrived: row.arrived?.includes(id) === true,
    ready,
    oldestWaitMs,
    nextReadyMs,
    deliverMs,
    targetHash,
    flush: one.flushAt !== null,
    sweep,
    demo: row.demo?.includes(id) === true,
  };
}

function revisionOf({ news, suspected, arrived, pipelines }: DueRecord): string {
  const states = pipelines.map(({ oldestWaitMs: _waits, nextReadyMs: _next, deliverMs, sweep, ...state }) => [
    state,
    deliverMs === null ? null : deliverMs <= 0,
    sweep?.phase,
    sweep?.sweptHash,
  ]);
  return JSON.stringify([news, suspected, arrived, states]);
}

function statement({ pipelines, thorough }: DueQuestion): Sql {
  return inOneMessage(sql`
    select pg_current_snapshot() as snapshot, coalesce((to_jsonb(d) ->> 'oldest_version')::int, 1) as oldest,
      to_jsonb(d) ->> 'suspicion' is not null as suspected,
      (select array_agg(distinct pipeline_id) from rowmill.arrivals) as arrived,
      (
        select coalesce(json_agg(p), '[]')
        from (
          select p.id, p.definition_hash as "definitionHash", p.approved_hash as "approvedHash",
            p.pause_kind as "pauseKind", p.flush_at as "flushAt", p.uninstalled_at as "uninstalledAt",
            p.answers_since as "answersSince", coalesce(w.ready, 0) as ready,
            (extract(epoch from clock_timestamp() - w.oldest) * 1000)::float8 as "oldestWaitMs",
            (extract(epoch from w.next - clock_timestamp()) * 1000)::float8 as "nextReadyMs", to_json(s) as sweep,
            (
              select (extract(epoch from greatest(least(l.next_at, d.settle_at), d.next_at, d.lease_until)
                - clock_timestamp()) * 1000)::float8
              from rowmill.deliverers d
              left join lateral (
                select next_at
                from rowmill.deliveries
                where pipeline_id = d.pipeline_id and state = 'waiting'
                order by next_at
                limit 1) l on true
              where d.pipeline_id = p.id and (l.next_at is not null or d.settle_at is not null)) as "deliverMs",
            (select target_hash from rowmill.deliverers d where d.pipeline_id = p.id) as "targetHash"
          from rowmill.pipelines p
          left join (select pipeline_id, ${SWEEP_FACTS} from rowmill.sweeps) s on s.pipeline_id = p.id
          left join (
            select pipeline_id, sum(n) filter (where not_before <= now())::int as ready,
              min(since) filter (where not_before <= now()) as oldest,
              min(not_before) filter (where not_before > now()) as next
            from rowmill.queue
            where batch is null
            group by pipeline_id) w on w.pipeline_id = p.id
          where p.id = any(${pipelines.map(({ id }) => id)}::int[])) p) as pipelines,
      u.due as batches,
      (extract(epoch from least(u.wakes, l.over, w.dies) - clock_timestamp()) * 1000)::float8 as "nextMs",
      coalesce(w.dead, false) as dead, ${thorough ? ORPHAN : sql`false`} as orphan,
      ${thorough ? DEMO : sql`null`} as demo,
      concat_ws(' ', u.unfinished, u.planned, u.lease, u.next, (select max(id) from rowmill.requests), l.limits) as news
    from (values (1)) one
    left join rowmill.deployment d on true
    cross join (
      select count(*) as unfinished, max(planned_at) as planned, max(lease_until) as lease, max(next_at) as next,
        count(*) filter (where ${WAKES_AT} <= clock_timestamp())::int as due,
        min(${WAKES_AT}) filter (where ${WAKES_AT} > clock_timestamp()) as wakes
      from rowmill.batches
      where settled_at is null) u
    cross join (
      -- A wait that is over is news too.
      select string_agg(concat_ws(',', account, model, learned_at, not_before, not_before > clock_timestamp()),
        ' ' order by account, model) as limits,
        min(not_before) filter (where not_before > clock_timestamp()) as over
      from rowmill.learned_limits) l
    cross join (
      select bool_or(${DIES_AT} < clock_timestamp()) as dead,
        min(${DIES_AT}) filter (where ${DIES_AT} > clock_timestamp()) as dies
      from rowmill.workers) w`);
}

/** `greatest` ignores a null lease. */
const WAKES_AT = sql`greatest(next_at, lease_until)`;
const DIES_AT = sql`seen_at + make_interval(secs => ${WORKER_SILENCE_MS / 1000})`;

const ORPHAN = sql`exists (select from rowmill.batches b where b.settled_at is null and not exists (
  select from rowmill_worker.jobs j where j.key = 'batch:' || b.id and j.attempts < j.max_attempts))`;

/** Skips from pipeline to pipeline by the index, reading one row of each. */
const DEMO = sql`(
  with recursive found (id) as (
    (select pipeline_id from rowmill.requests where demo order by pipeline_id limit 1)
    union all
    select (
      select r.pipeline_id
      from rowmill.requests r
      where r.demo and r.pipeline_id > found.id
      order by r.pipeline_id
      limit 1)
    from found
    where found.id is not null)
  select array_agg(id) from found)`;
