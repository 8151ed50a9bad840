/** How unfinished batches stand, at the provider too, what holds them up, and what ended ones came to. Only reads. */
import type { BatchState } from "../../model/batch/batch-transitions.js";
import { sql, type Reader } from "../../postgres/database.js";
import { endedOf } from "../requests/counts.js";

/** The usual duration is the median of the last settled batches of an account and model, */
const USUAL_OF_BATCHES = 20;
/** among the newest batches of all. */
const USUAL_AMONG_BATCHES = 1_000;

export interface BatchProgress {
  readonly id: string;
  readonly pipeline: string;
  readonly state: BatchState;
  readonly provider: string;
  readonly requests: number;
  /** Of these, how many have their ending. */
  readonly ended: number;
  /** Since when it is in this state, and for how long. */
  readonly since: Date;
  readonly sinceMs: number;
  /** When the provider got it; null: it has not. */
  readonly sentAt: Date | null;
  readonly sentMs: number | null;
  /** In the provider's word; null: it was not asked yet, as for its counts. */
  readonly providerStatus: string | null;
  readonly providerCounts: { readonly total: number; readonly completed: number; readonly failed: number } | null;
  /** The median time of the last settled batches of this account and model at the provider; null: there is none. */
  readonly usualMs: number | null;
  /** What the last turn failed with; null: it did not fail. */
  readonly trouble: { readonly message: string; readonly since: Date; readonly sinceMs: number } | null;
  /** Failed turns in a row. */
  readonly failures: number;
  /** For how long someone has wanted it cancelled; null: no one does. */
  readonly cancelMs: number | null;
  readonly nextLookMs: number;
}

type Row = Omit<BatchProgress, "trouble"> & {
  trouble: string | null;
  troubleSince: Date | null;
  troubleMs: number | null;
};

/** At most `max` unfinished batches: those at the provider first, then by age. */
export async function unfinished(client: Reader, max: number): Promise<BatchProgress[]> {
  const rows = await client.rows<Row>(sql`
    with recent as (
      select b.account, b.model, extract(epoch from b.provider_done_at - b.submitted_at) as took,
        row_number() over (partition by b.account, b.model order by b.settled_at desc) as place
      from (select * from rowmill.batches order by no desc limit ${USUAL_AMONG_BATCHES}) b
      where b.state = 'settled'
        and b.provider_done_at > b.submitted_at
        and b.adopted_pattern is null
        and not b.recovered
        and b.cancel_wanted_at is null),
    usual as (
      select account, model, percentile_cont(0.5) within group (order by took) * 1000 as ms
      from recent
      where place <= ${USUAL_OF_BATCHES}
      group by account, model)
    select b.id, p.name as pipeline, b.state, b.provider, b.requests, ${endedOf(sql`b.no`)} as ended,
      coalesce(e.at, b.planned_at) as since, b.submitted_at as "sentAt",
      (extract(epoch from clock_timestamp() - coalesce(e.at, b.planned_at)) * 1000)::float8 as "sinceMs",
      (extract(epoch from clock_timestamp() - b.submitted_at) * 1000)::float8 as "sentMs",
      b.provider_status as "providerStatus", b.provider_counts as "providerCounts", u.ms::float8 as "usualMs",
      b.trouble, b.trouble_since as "troubleSince",
      (extract(epoch from clock_timestamp() - b.trouble_since) * 1000)::float8 as "troubleMs", b.failures,
      (extract(epoch from clock_timestamp() - b.cancel_wanted_at) * 1000)::float8 as "cancelMs",
      (extract(epoch from b.next_at - clock_timestamp()) * 1000)::float8 as "nextLookMs"
    from (
      select *
      from rowmill.batches
      where settled_at is null
      order by array_position(array['running', 'collecting', 'submitting', 'uploading', 'planned'], state),
        planned_at, id
      limit ${max}) b
    join rowmill.pipelines p on p.id = b.pipeline_id
    left join usual u on u.account = b.account and u.model = b.model
    left join lateral (
      select at
      from rowmill.batch_events
      where batch_id = b.id
      order by id desc
      limit 1) e on true
    order by array_position(array['running', 'collecting', 'submitting', 'uploading', 'planned'], b.state),
      b.planned_at, b.id`);
  return rows.map(({ trouble: message, troubleSince: since, troubleMs: sinceMs, ...row }) => ({
    ...row,
    trouble: message === null || since === null || sinceMs === null ? null : { message, since, sinceMs },
  }));
}

export interface EndedBatches {
  readonly unfinished: number;
  readonly settled: number;
  readonly rejected: number;
  readonly cancelled: number;
  /** Requests of the ended ones. */
  readonly succeeded: number;
  readonly failed: number;
  readonly returned: number;
}

/** All batches of the ledger in one line. */
export async function summedUp(client: Reader): Promise<EndedBatches> {
  const row = await client.first<EndedBatches>(sql`
    select count(*) filter (where settled_at is null)::int as unfinished,
      count(*) filter (where state = 'settled')::int as settled,
      count(*) filter (where state = 'rejected')::int as rejected,
      count(*) filter (where state = 'cancelled')::int as cancelled,
      coalesce(sum(succeeded), 0)::float8 as succeeded, coalesce(sum(failed), 0)::float8 as failed,
      coalesce(sum(returned), 0)::float8 as returned
    from rowmill.batches`);
  return row ?? { unfinished: 0, settled: 0, rejected: 0, cancelled: 0, succeeded: 0, failed: 0, returned: 0 };
}

export interface BatchEnding {
  readonly id: string;
  readonly pipeline: string;
  readonly state: BatchState;
  readonly succeeded: number;
  readonly failed: number;
  readonly returned: number;
  /** You wanted it cancelled. */
  readonly cancelWanted: boolean;
  /** What had no answer then was dropped. */
  readonly drops: boolean;
  /** Null: the price of its model is not known. */
  readonly costNanoUsd: number | null;
  /** Requests that shared the line of an equal one, and what lines of their own would have cost. */
  readonly sharing: number;
  readonly sharingSavedNanoUsd: number;
  /** From its plan to its end. */
  readonly tookMs: number;
  /** Why it ended. */
  readonly reason: string;
}

/** What these batches came to, those of them that have ended, in the order in which they did. */
export async function endings(client: Reader, ids: readonly string[]): Promise<BatchEnding[]> {
  return client.rows<BatchEnding>(sql`
    select b.id, p.name as pipeline, b.state, b.succeeded, b.failed, b.returned,
      b.cancel_wanted_at is not null as "cancelWanted", b.cancel_drops as drops,
      case when b.unpriced = 0 then (b.cost_nano_usd + b.lost_nano_usd)::float8 end as "costNanoUsd",
      b.sharing, b.sharing_saved_nano_usd::float8 as "sharingSavedNanoUsd",
      (extract(epoch from b.settled_at - b.planned_at) * 1000)::float8 as "tookMs", coalesce(e.reason, '') as reason
    from rowmill.batches b
    join rowmill.pipelines p on p.id = b.pipeline_id
    left join lateral (
      select reason
      from rowmill.batch_events
      where batch_id = b.id
      order by id desc
      limit 1) e on true
    where b.id = any(${ids}::uuid[])
      and b.settled_at is not null
    order by b.settled_at, b.id`);
}
