/** For display: where every pipeline and batch stands, and one row's whole story. Only reads; each list has a bound. */
import type { BatchState } from "../../model/batch/batch-transitions.js";
import type { RequestState } from "../../model/request/request-transitions.js";
import { COUNTS_BY_PIPELINE } from "../requests/counts.js";
import { sql, type Queryable, type Sql } from "../../postgres/database.js";
import { requireOwnLedger } from "./ledger-owners.js";
import { UNNAMED_BY_PIPELINE, type UnnamedRows } from "../requests/refused-keys.js";
import { hex } from "../requests/requests.js";
import { shownText } from "../../postgres/shown-text.js";
import { TRIED_NANO_USD } from "../tries/tried-cost.js";
import { VERSION_OF_BATCH } from "../pipelines/definitions.js";
import { PAUSE_KIND_VALUE, PAUSE_REASON_VALUE, type PauseKind } from "../pipelines/pipelines.js";
import { WORKER_SILENCE_MS } from "./workers.js";

export const BATCHES_SHOWN_MAX = 10_000;
const ATTEMPTS_SHOWN_MAX = 1_000;
const EVENTS_SHOWN_MAX = 1_000;

/** False until `up` created the schema. @throws RowmillError `database_refused` when another role owns it */
export async function ledgerExists(client: Queryable): Promise<boolean> {
  await requireOwnLedger(client);
  const exists = await client.value<boolean>(sql`
    select to_regclass('rowmill.pipelines') is not null and to_regclass('rowmill_worker.jobs') is not null`);
  return exists === true;
}

export interface PipelineOverview {
  readonly id: number;
  readonly name: string;
  readonly waiting: number;
  readonly batched: number;
  readonly succeeded: number;
  /** Requests that failed for good, and rows without a usable key. */
  readonly failed: number;
  /** Of the failed: rows without a usable key, */
  readonly refused: number;
  /** by the reason, the most frequent first; the first few. */
  readonly unnamed: readonly UnnamedRows[];
  readonly cancelled: number;
  readonly gone: number;
  readonly pauseKind: PauseKind | null;
  readonly pauseReason: string | null;
  readonly definitionHash: string;
  readonly approvedHash: string | null;
  /** As `approvalOf` recorded it. */
  readonly estimate: unknown;
  /** Answered rows that wait for your decision about the changed definition. */
  readonly undecided: number;
  readonly uninstalledAt: Date | null;
  readonly targetTable: string;
  /** Unfinished batches by state, such as `{ running: 2 }`. */
  readonly batches: Readonly<Partial<Record<BatchState, number>>>;
  /** How many of these failed at their last turn. */
  readonly failing: number;
  /** Until the oldest waiting row has waited long enough; negative: it has. Null: nothing waits. */
  readonly deadlineMs: number | null;
  /** `rowmill flush` wants them sent now. */
  readonly isFlushed: boolean;
  /** Until the next step of an unfinished batch. Null: there is none. */
  readonly nextLookMs: number | null;
  /** Keys that triggers reported and no worker has looked at yet. */
  readonly arrivals: number;
}

/** Every pipeline that was ever registered, by name. */
export async function pipelineOverviews(client: Queryable): Promise<PipelineOverview[]> {
  return client.rows<PipelineOverview>(sql`
    with counted as (${COUNTS_BY_PIPELINE}),
    queued as (select pipeline_id, min(since) as oldest from rowmill.queue where batch is null group by pipeline_id),
    unfinished as (
      select pipeline_id, json_object_agg(state, batches) as states, sum(failing)::int as failing,
        min(next_at) as next_at
      from (
        select pipeline_id, state, count(*)::int as batches, count(trouble)::int as failing, min(next_at) as next_at
        from rowmill.batches
        where settled_at is null
        group by pipeline_id, state) by_state
      group by pipeline_id),
    arrived as (
      select pipeline_id, sum(coalesce(cardinality(keys), 0))::int as keys
      from rowmill.arrivals
      group by pipeline_id),
    refused as (${UNNAMED_BY_PIPELINE})
    select p.id, p.name, coalesce(c.waiting, 0) as waiting, coalesce(c.batched, 0) as batched,
      coalesce(c.succeeded, 0) as succeeded, coalesce(c.failed, 0) + coalesce(k.rows, 0) as failed,
      coalesce(k.rows, 0) as refused, coalesce(k.unnamed, '[]') as unnamed, coalesce(c.cancelled, 0) as cancelled,
      coalesce(c.gone, 0) as gone, ${PAUSE_KIND_VALUE} as "pauseKind", ${PAUSE_REASON_VALUE} as "pauseReason",
      p.definition_hash as "definitionHash", p.approved_hash as "approvedHash", p.estimate,
      case when p.change_decision = 'undecided' then coalesce(p.change_rows, 0) else 0 end::float8 as undecided,
      p.uninstalled_at as "uninstalledAt", p.target_table as "targetTable", coalesce(u.states, '{}') as batches,
      coalesce(u.failing, 0) as failing,
      (extract(epoch from q.oldest - clock_timestamp()) * 1000 + coalesce(
        (p.definition -> 'when' ->> 'maxWaitMs')::float8, 0))::float8 as "deadlineMs",
      p.flush_at is not null as "isFlushed",
      (extract(epoch from u.next_at - clock_timestamp()) * 1000)::float8 as "nextLookMs",
      coalesce(a.keys, 0) as arrivals
    from rowmill.pipelines p
    left join counted c on c.pipeline_id = p.id
    left join queued q on q.pipeline_id = p.id
    left join unfinished u on u.pipeline_id = p.id
    left join arrived a on a.pipeline_id = p.id
    left join refused k on k.pipeline_id = p.id
    order by p.name`);
}

export interface MoneyOverview {
  readonly pipelineId: number;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  /** 1e-9 US dollars; batches that were lost count at what was reserved for them. With tries. */
  readonly spentNanoUsd: number;
  /** The same as live requests, by each batch's own share of the live price. */
  readonly liveNanoUsd: number;
  readonly reservedNanoUsd: number;
  /** Paid attempts without a known price, which the sum lacks. */
  readonly unpriced: number;
}

/** One per pipeline. */
export async function moneyOverviews(client: Queryable): Promise<MoneyOverview[]> {
  return client.rows<MoneyOverview>(sql`
    select p.id as "pipelineId", coalesce(r.input, 0) + coalesce(u.input, 0) + coalesce(t.input, 0) as "inputTokens",
      coalesce(r.cached, 0) + coalesce(u.cached, 0) + coalesce(t.cached, 0) as "cachedInputTokens",
      coalesce(r.output, 0) + coalesce(u.output, 0) + coalesce(t.output, 0) as "outputTokens",
      coalesce(r.cost, 0) + coalesce(u.cost, 0) + coalesce(s.cost, 0) + coalesce(t.cost, 0) as "spentNanoUsd",
      coalesce(r.live, 0) + coalesce(u.live, 0) + coalesce(s.live, 0) + coalesce(t.cost, 0) as "liveNanoUsd",
      coalesce(r.reserved, 0) as "reservedNanoUsd",
      coalesce(r.unpriced, 0) + coalesce(u.unpriced, 0) + coalesce(t.unpriced, 0) as unpriced
    from rowmill.pipelines p
    left join (
      select t.pipeline, sum(a.input_tokens)::float8 as input, sum(a.cached_input_tokens)::float8 as cached,
        sum(a.output_tokens)::float8 as output, ${TRIED_NANO_USD}::float8 as cost,
        count(*) filter (where a.cost_nano_usd is null and a.input_tokens > 0)::int as unpriced
      from rowmill.tries t
      join rowmill.try_answers a on a.try = t.no
      where a.accepted_at is null
      group by t.pipeline) t on t.pipeline = p.name
    left join (
      select b.pipeline_id, sum(u.input_tokens)::float8 as input, sum(u.cached_input_tokens)::float8 as cached,
        sum(u.output_tokens)::float8 as output, sum(u.cost_nano_usd)::float8 as cost,
        sum(${asLive(sql`u.cost_nano_usd`)})::float8 as live, sum(u.unpriced)::int as unpriced
      from rowmill.usage u
      join rowmill.batches b on b.no = u.batch
      group by b.pipeline_id) u on u.pipeline_id = p.id
    left join (
      select b.pipeline_id, sum(s.reserved_nano_usd)::float8 as cost,
        sum(${asLive(sql`s.reserved_nano_usd`)})::float8 as live
      from rowmill.duplicate_batches s
      join rowmill.batches b on b.id = s.batch_id
      group by b.pipeline_id) s on s.pipeline_id = p.id
    left join (
      select pipeline_id, sum(reserved_nano_usd)::float8 as reserved, sum(b.input_tokens)::float8 as input,
        sum(b.cached_input_tokens)::float8 as cached, sum(b.output_tokens)::float8 as output,
        sum(b.cost_nano_usd + b.lost_nano_usd)::float8 as cost,
        sum(${asLive(sql`(b.cost_nano_usd + b.lost_nano_usd)`)})::float8 as live, sum(b.unpriced)::int as unpriced
      from rowmill.batches b
      group by pipeline_id) r on r.pipeline_id = p.id
    order by p.name`);
}

function asLive(nanoUsd: Sql): Sql {
  return sql`${nanoUsd} / b.batch_factor`;
}

export interface BatchOverview {
  readonly id: string;
  readonly pipeline: string;
  readonly state: BatchState;
  readonly provider: string;
  readonly providerBatchId: string | null;
  /** Not proved yet that it is our provider batch. */
  readonly presumed: boolean;
  /** You want it cancelled, or wanted it. */
  readonly cancelWanted: boolean;
  readonly providerStatus: string | null;
  readonly requests: number;
  /** Ended requests, as the next two. */
  readonly succeeded: number;
  readonly failed: number;
  readonly returned: number;
  readonly failures: number;
  readonly nextLookMs: number | null;
}

/** The newest `max` batches, oldest first. */
export async function batchOverviews(client: Queryable, max: number): Promise<BatchOverview[]> {
  return client.rows<BatchOverview>(sql`
    select b.id, p.name as pipeline, b.state, b.provider, b.provider_batch_id as "providerBatchId",
      b.cancel_wanted_at is not null as "cancelWanted", b.provider_status as "providerStatus", b.presumed, b.requests,
      b.succeeded + ended.succeeded as succeeded, b.failed + ended.failed as failed,
      b.returned + ended.returned as returned, b.failures,
      case when b.settled_at is null
        then (extract(epoch from b.next_at - clock_timestamp()) * 1000)::float8 end as "nextLookMs"
    from (select * from rowmill.batches order by planned_at desc, id desc limit ${max}) b
    join rowmill.pipelines p on p.id = b.pipeline_id
    cross join lateral (
      select coalesce(sum(succeeded), 0)::int as succeeded, coalesce(sum(failed), 0)::int as failed,
        coalesce(sum(returned), 0)::int as returned
      from rowmill.usage u
      where u.batch = b.no) ended
    order by b.planned_at, b.id`);
}

export interface EventOverview {
  readonly at: Date;
  readonly pipeline: string;
  /** Null: it happened to the pipeline. */
  readonly batchId: string | null;
  readonly event: string;
  readonly reason: string | null;
}

/** The last `max` things that happened, oldest first. */
export async function lastEvents(client: Queryable, max: number): Promise<EventOverview[]> {
  return client.rows<EventOverview>(sql`
    select *
    from (
      select *
      from (
        (
          select e.at, p.name as pipeline, b.id as "batchId",
            concat_ws(' → ', nullif(e.from_state, e.to_state), e.to_state) as event, e.reason, e.id
          from rowmill.batch_events e
          join rowmill.batches b on b.id = e.batch_id
          join rowmill.pipelines p on p.id = b.pipeline_id
          order by e.id desc
          limit ${max})
        union all (
          select e.at, p.name, null, e.event, e.reason, e.id
          from rowmill.pipeline_events e
          join rowmill.pipelines p on p.id = e.pipeline_id
          order by e.id desc
          limit ${max})) every_event
      order by at desc, id desc
      limit ${max}) newest
    order by at, id`);
}

export interface LivingWorker {
  readonly host: string;
  readonly pid: number;
  readonly startedAt: Date;
  /** When its config's file was changed, if it still works with an earlier one. */
  readonly configChangedAt: Date | null;
}

/** Workers that count as alive. */
export async function livingWorkers(client: Queryable): Promise<LivingWorker[]> {
  return client.rows<LivingWorker>(sql`
    select host, pid, started_at as "startedAt", config_changed_at as "configChangedAt"
    from rowmill.workers
    where seen_at >= clock_timestamp() - make_interval(secs => ${WORKER_SILENCE_MS / 1000})
    order by started_at`);
}

/** Some failed rows. */
export async function failedKeys(
  client: Queryable,
  pipelineId: number,
  max: number,
): Promise<{ key: string; error: string }[]> {
  return client.rows(sql`
    select key, concat_ws(': ', error_code, error) as error
    from rowmill.requests
    where pipeline_id = ${pipelineId} and state = 'failed'
    order by id
    limit ${max}`);
}

export interface RequestStory {
  readonly id: string;
  readonly key: string;
  readonly state: RequestState;
  readonly attempt: number;
  readonly tries: number;
  readonly returns: number;
  readonly errorCode: string | null;
  readonly error: string | null;
  readonly createdAt: Date;
  readonly changedAt: Date;
  readonly contentHash: string | null;
  readonly answeredHash: string | null;
  /** The account whose answer is in the target; null: none is. */
  readonly answeredBy: string | null;
  /** The version of the config that asked for it. */
  readonly answeredVersion: number | null;
  /** Answered or failed by the demo model. */
  readonly demo: boolean;
  /** When it may go out; null unless it waits. */
  readonly notBefore: Date | null;
  /** The batch that it is in; null unless it is in one. */
  readonly batchId: string | null;
}

/** Null: no such key in this pipeline's ledger. */
export async function requestStory(client: Queryable, pipelineId: number, key: string): Promise<RequestStory | null> {
  return client.first<RequestStory>(sql`
    select r.id::text as id, r.key, r.state, r.attempt, r.tries, r.returns, r.error_code as "errorCode", r.error,
      r.created_at as "createdAt", r.changed_at as "changedAt", ${hex(sql`r.content_hash`)} as "contentHash",
      ${hex(sql`r.answered_hash`)} as "answeredHash",
      case
        when r.answered_hash is not null then (
          select b.account
          from rowmill.batches b
          where b.no = r.answered_batch) end as "answeredBy",
      case
        when r.answered_hash is not null then (
          select ${VERSION_OF_BATCH}
          from rowmill.batches b
          where b.no = r.answered_batch) end as "answeredVersion",
      r.demo, case when r.not_before > clock_timestamp() then r.not_before end as "notBefore", b.id as "batchId"
    from rowmill.requests r
    left join rowmill.batches b on b.no = r.batch and r.state = 'batched'
    where r.pipeline_id = ${pipelineId} and r.key = ${key}`);
}

export interface AttemptStory {
  readonly attempt: number;
  readonly batchId: string;
  /** Of the config, which asked; null: not known. */
  readonly version: number | null;
  readonly provider: string;
  readonly providerBatchId: string | null;
  readonly batchState: BatchState;
  /** Null while it is under way, as are the outcome and its time. */
  readonly ending: "succeeded" | "failed" | "returned" | null;
  readonly outcome: string | null;
  readonly detail: string | null;
  /** What was paid for and is not in the target. */
  readonly answer: string | null;
  readonly model: string | null;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  readonly costNanoUsd: number | null;
  /** The row with the equal question whose line it shared, which has its tokens and cost; null: it had its own. */
  readonly sharedWith: string | null;
  readonly at: Date | null;
  /** When an answer that the target had refused was written after all. */
  readonly writtenAt: Date | null;
}

/** All attempts of a request in order, the one under way last. */
export async function attemptStories(client: Queryable, requestId: string): Promise<AttemptStory[]> {
  return client.rows<AttemptStory>(sql`
    select x.attempt, b.id as "batchId", ${VERSION_OF_BATCH} as version, b.provider,
      b.provider_batch_id as "providerBatchId", b.state as "batchState", x.ending, x.outcome, x.detail,
      ${shownText({ whole: sql`x.answer`, bytes: sql`pg_catalog.octet_length(x.answer)` })} as answer, x.model,
      coalesce(x.input_tokens, 0) as "inputTokens", coalesce(x.cached_input_tokens, 0) as "cachedInputTokens",
      coalesce(x.output_tokens, 0) as "outputTokens", x.cost_nano_usd::float8 as "costNanoUsd",
      (select key from rowmill.requests where id = x.shared_from) as "sharedWith", x.at, x.written_at as "writtenAt"
    from (
      select attempt, batch, ending::text, outcome, detail, answer, model, input_tokens, cached_input_tokens,
        output_tokens, cost_nano_usd, shared_from, at, written_at
      from rowmill.attempts
      where request_id = ${requestId}::bigint
      union all
      select attempt, batch, null, null, null, null, null, null, null, null, null, null, null, null
      from rowmill.requests
      where id = ${requestId}::bigint and state = 'batched') x
    join rowmill.batches b on b.no = x.batch
    order by x.attempt
    limit ${ATTEMPTS_SHOWN_MAX}`);
}

export interface BatchEventStory {
  readonly batchId: string;
  readonly from: BatchState | null;
  readonly to: BatchState;
  readonly reason: string;
  readonly at: Date;
}

export async function batchEventStories(client: Queryable, batchIds: readonly string[]): Promise<BatchEventStory[]> {
  return client.rows<BatchEventStory>(sql`
    select batch_id as "batchId", from_state as "from", to_state as "to", reason, at
    from rowmill.batch_events
    where batch_id = any(${batchIds}::uuid[])
    order by id
    limit ${EVENTS_SHOWN_MAX}`);
}

/** Why this key has no request although a row may have it; null: it was not refused. */
export async function refusedKeyReason(client: Queryable, pipelineId: number, key: string): Promise<string | null> {
  return client.value<string>(sql`
    select reason
    from rowmill.refused_keys
    where pipeline_id = ${pipelineId} and key_sha256 = encode(sha256(convert_to(${key}, 'UTF8')), 'hex')`);
}
