/** Unfinished batches that wait for their own account, or have waited too long for the provider. Only reads. */
import { ALLOWANCE_HOURS, type OverdueBatch } from "../../model/batch/overdue.js";
import type { HeldBatch } from "../../model/provider/account.js";
import { sql, type Reader } from "../../postgres/database.js";

/** Sent with another account than the present one, or than that of the worker `of`; the oldest first. */
export async function held(
  client: Reader,
  { max, of }: { readonly max: number; readonly of?: { readonly pipelineId: number; readonly account: string } },
): Promise<HeldBatch[]> {
  const present = sql`coalesce(${of?.account ?? null}, b.held_for)`;
  return client.rows<HeldBatch>(sql`
    select b.id, p.name as pipeline, b.provider, b.account, ${present} as "presentAccount"
    from rowmill.batches b
    join rowmill.pipelines p on p.id = b.pipeline_id
    where b.settled_at is null
      and (b.provider_batch_id is not null or b.create_intent_at is not null)
      and b.account <> ${present}
      and b.pipeline_id = coalesce(${of?.pipelineId ?? null}::int, b.pipeline_id)
    order by b.planned_at, b.id
    limit ${max}`);
}

/** Longer at the provider than their window, by the database's clock; the oldest first. `of`: only this batch. */
export async function overdue(
  client: Reader,
  { max, of = null }: { readonly max: number; readonly of?: string | null },
): Promise<OverdueBatch[]> {
  return client.rows<OverdueBatch>(sql`
    select p.name as pipeline, b.provider_batch_id as "providerBatchId", b.provider_status as "providerStatus",
      (extract(epoch from clock_timestamp() - b.submitted_at) * 1000)::float8 as "sentAgoMs",
      b.window_hours as "windowHours"
    from rowmill.batches b
    join rowmill.pipelines p on p.id = b.pipeline_id
    where b.state = 'running'
      and b.settled_at is null
      and b.id = coalesce(${of}::uuid, b.id)
      and b.submitted_at < clock_timestamp() - make_interval(hours => b.window_hours + ${ALLOWANCE_HOURS})
    order by b.submitted_at
    limit ${max}`);
}
