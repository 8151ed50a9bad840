/** Batches for display: a list with filters, and one batch's whole story. Only reads; each list has a bound. */
import type { BatchState } from "../../model/batch/batch-transitions.js";
import type { Json } from "../../model/pipeline.js";
import { sql, type Reader, type Sql } from "../../postgres/database.js";
import { VERSION_OF_BATCH } from "../pipelines/definitions.js";
import { OPEN_OF } from "./in-flight.js";

const NAMED_MAX = 5;

/**
 * Batches whose id begins so, or whose provider batch is this. At most NAMED_MAX: enough to see that a name is
 * ambiguous.
 */
export async function idsByName(client: Reader, name: string): Promise<string[]> {
  const rows = await client.rows<{ id: string }>(sql`
    select id
    from rowmill.batches
    where starts_with(id::text, ${name.toLowerCase()})
      or provider_batch_id = ${name}
    order by planned_at desc
    limit ${NAMED_MAX}`);
  return name === "" ? [] : rows.map((row) => row.id);
}

const STATE_FILTERS = ["open", "ended", "cancelled", "failed"] as const;
export type StateFilter = (typeof STATE_FILTERS)[number];

/** `cancelled`: because you wanted it, or gave it up. `failed`: the provider refused it, or requests of it failed. */
const FILTERS: Readonly<Record<StateFilter, Sql>> = {
  open: sql`b.settled_at is null`,
  ended: sql`b.settled_at is not null`,
  cancelled: sql`(b.cancel_wanted_at is not null or b.state = 'cancelled')`,
  failed: sql`(b.failed > 0 or (b.state = 'rejected' and b.cancel_wanted_at is null))`,
};

export interface BatchWanted {
  /** Null: of all pipelines. */
  readonly pipelineIds: readonly number[] | null;
  /** Null: in any state. */
  readonly state: StateFilter | null;
  /** Planned within this time; null: ever. */
  readonly sinceMs: number | null;
  readonly max: number;
}

export interface ListedBatch {
  readonly id: string;
  readonly no: number;
  readonly pipeline: string;
  /** Of the pipeline's config, which asked it; null: not known. */
  readonly version: number | null;
  readonly state: BatchState;
  readonly cancelWanted: boolean;
  readonly provider: string;
  readonly providerBatchId: string | null;
  readonly providerStatus: string | null;
  readonly presumed: boolean;
  readonly model: string;
  /** Those that entered it; while it is planned, those queued for it. */
  readonly requests: number;
  readonly succeeded: number;
  readonly failed: number;
  readonly returned: number;
  /** What the provider says is done, while it runs. */
  readonly done: number | null;
  readonly plannedAt: Date;
  readonly submittedAt: Date | null;
  readonly providerDoneAt: Date | null;
  readonly settledAt: Date | null;
  /** From its submission, or its plan, to its end or now. */
  readonly elapsedMs: number;
  readonly costNanoUsd: number;
  /** What it may have cost, given up by you. */
  readonly lostNanoUsd: number;
  readonly reservedNanoUsd: number;
  readonly likelyNanoUsd: number | null;
  /** Requests that share the line of an equal one, */
  readonly sharing: number;
  /** and what lines of their own would have cost. */
  readonly sharingSavedNanoUsd: number;
  /** Paid attempts without a known price, which the cost lacks. */
  readonly unpriced: number;
}

const LISTED = sql`b.id, b.no, p.name as pipeline, ${VERSION_OF_BATCH} as version, b.state,
  b.cancel_wanted_at is not null as "cancelWanted", b.provider, b.provider_batch_id as "providerBatchId",
  b.provider_status as "providerStatus", b.presumed, b.model,
  b.requests, b.succeeded + u.succeeded as succeeded, b.failed + u.failed as failed,
  b.returned + u.returned as returned,
  case
    when b.settled_at is null
      then coalesce((b.provider_counts ->> 'completed')::int, 0) + coalesce((b.provider_counts ->> 'failed')::int, 0)
    end as done,
  b.planned_at as "plannedAt", b.submitted_at as "submittedAt", b.provider_done_at as "providerDoneAt",
  b.settled_at as "settledAt",
  (extract(epoch from coalesce(b.settled_at, clock_timestamp())
    - coalesce(b.submitted_at, b.planned_at)) * 1000)::float8 as "elapsedMs",
  (b.cost_nano_usd + u.cost)::float8 as "costNanoUsd", b.lost_nano_usd::float8 as "lostNanoUsd",
  b.reserved_nano_usd::float8 as "reservedNanoUsd", b.likely_nano_usd::float8 as "likelyNanoUsd",
  b.sharing, (b.sharing_saved_nano_usd + u.sharing_saved)::float8 as "sharingSavedNanoUsd",
  (b.unpriced + u.unpriced)::int as unpriced`;

/** Of the unfinished batch `b`; zeros for an ended one. */
const USED = sql`lateral (
  select coalesce(sum(succeeded), 0)::int as succeeded, coalesce(sum(failed), 0)::int as failed,
    coalesce(sum(returned), 0)::int as returned, coalesce(sum(cost_nano_usd), 0) as cost,
    coalesce(sum(unpriced), 0) as unpriced, coalesce(sum(sharing_saved_nano_usd), 0) as sharing_saved
  from rowmill.usage u
  where u.batch = b.no
    and b.settled_at is null) u`;

/** The newest first. `more`: how many the bound leaves out. */
export async function list(client: Reader, wanted: BatchWanted): Promise<{ batches: ListedBatch[]; more: number }> {
  const { pipelineIds, state, sinceMs, max } = wanted;
  const rows = await client.rows<ListedBatch & { all: number }>(sql`
    with meant as (
      select b.*, count(*) over ()::int as all
      from rowmill.batches b
      where ${state === null ? sql`true` : FILTERS[state]}
        and (${pipelineIds}::int[] is null or b.pipeline_id = any(${pipelineIds}::int[]))
        and (${sinceMs}::float8 is null
          or b.planned_at >= clock_timestamp() - make_interval(secs => ${sinceMs}::float8 / 1000))
      order by b.planned_at desc, b.no desc
      limit ${max})
    select ${LISTED}, b.all
    from meant b
    join rowmill.pipelines p on p.id = b.pipeline_id
    cross join ${USED}
    order by b.planned_at desc, b.no desc`);
  const batches = rows.map(({ all: _all, ...batch }) => batch);
  return { batches, more: (rows[0]?.all ?? 0) - batches.length };
}

export interface BatchStory extends ListedBatch {
  readonly account: string;
  readonly definitionHash: string;
  readonly lines: number | null;
  readonly spoolBytes: number | null;
  /** Without an ending; null: it has ended. */
  readonly inFlight: number | null;
  readonly inputTokens: number;
  readonly cachedInputTokens: number;
  readonly outputTokens: number;
  /** The same as live requests, by the batch's own share of the live price. */
  readonly liveNanoUsd: number;
  readonly providerCounts: Json;
  readonly providerErrors: Json;
  /** What the adapter knows of it: files at the provider. */
  readonly providerData: Json;
  readonly forgottenAt: Date | null;
  readonly creates: number;
  readonly adopted: boolean;
  readonly shared: boolean;
  readonly cancelWantedAt: Date | null;
  readonly cancelWantedBy: string | null;
  readonly drops: boolean;
  /** What the last turn failed with; null: it did not fail. Since when turns fail, and how many in a row. */
  readonly trouble: string | null;
  readonly troubleSince: Date | null;
  readonly failures: number;
}

/** Null: there is no such batch. */
export async function story(client: Reader, id: string): Promise<BatchStory | null> {
  return client.first<BatchStory>(sql`
    select ${LISTED}, b.account, b.definition_hash as "definitionHash", b.lines,
      b.spool_bytes::float8 as "spoolBytes", case when b.settled_at is null then ${OPEN_OF} end as "inFlight",
      (b.input_tokens + t.input)::float8 as "inputTokens", (b.cached_input_tokens + t.cached)::float8
        as "cachedInputTokens", (b.output_tokens + t.output)::float8 as "outputTokens",
      round((b.cost_nano_usd + u.cost) / b.batch_factor)::float8 as "liveNanoUsd",
      b.provider_counts as "providerCounts", b.provider_errors as "providerErrors", b.provider_data as "providerData",
      b.forgotten_at as "forgottenAt", b.creates, b.adopted_pattern is not null as adopted, b.shared,
      b.cancel_wanted_at as "cancelWantedAt", b.cancel_wanted_by as "cancelWantedBy", b.cancel_drops as drops,
      b.trouble, b.trouble_since as "troubleSince", b.failures
    from rowmill.batches b
    join rowmill.pipelines p on p.id = b.pipeline_id
    cross join ${USED}
    cross join lateral (
      select coalesce(sum(input_tokens), 0) as input, coalesce(sum(cached_input_tokens), 0) as cached,
        coalesce(sum(output_tokens), 0) as output
      from rowmill.usage u
      where u.batch = b.no
        and b.settled_at is null) t
    where b.id = ${id}`);
}

export interface LoggedEvent {
  readonly from: BatchState | null;
  readonly to: BatchState;
  readonly reason: string;
  readonly at: Date;
}

/** The last ones, oldest first. */
export async function events(client: Reader, id: string, max: number): Promise<LoggedEvent[]> {
  return client.rows<LoggedEvent>(sql`
    select e.from_state as from, e.to_state as to, e.reason, e.at
    from (
      select *
      from rowmill.batch_events
      where batch_id = ${id}
      order by id desc
      limit ${max}) e
    order by e.id`);
}

export interface OutcomeCount {
  readonly ending: "succeeded" | "failed" | "returned";
  readonly outcome: string;
  readonly rows: number;
}

/** How the attempts of a batch ended, the most frequent first. */
export async function outcomes(client: Reader, batch: number): Promise<OutcomeCount[]> {
  return client.rows<OutcomeCount>(sql`
    select a.ending::text as ending, a.outcome, count(*)::int as rows
    from rowmill.attempts a
    where a.batch = ${batch}
    group by 1, 2
    order by 3 desc, 1, 2`);
}
