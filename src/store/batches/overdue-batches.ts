/** Batches that the provider has had for longer than their window. Only reads, and by the database's clock alone. */
import { ALLOWANCE_HOURS, type OverdueBatch } from "../../model/batch/overdue.js";
import { sql, type Reader } from "../../postgres/database.js";

/** At most `max`, the oldest first. `of`: only this batch. */
export async function readAll(
  client: Reader,
  { max, of = null }: { readonly max: number; readonly of?: string | null },
): Promise<OverdueBatch[]> {
  return client.rows<OverdueBatch>(sql`
    select p.name as pipeline, b.provider_batch_id as "providerBatchId", b.provider_status as "providerStatus",
      (extract(epoch from clock_timestamp() - b.submitted_at) * 1000)::float8 as "sentAgoMs", b.window_hours as "windowHours"
    from rowmill.batches b join rowmill.pipelines p on p.id = b.pipeline_id
    where b.state = 'running' and b.settled_at is null and b.id = coalesce(${of}::uuid, b.id)
      and b.submitted_at < clock_timestamp() - make_interval(hours => b.window_hours + ${ALLOWANCE_HOURS})
    order by b.submitted_at limit ${max}`);
}
