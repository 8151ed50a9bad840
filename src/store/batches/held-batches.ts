/** Batches that were sent with another account than the present one, and wait for it. Only reads. */
import type { HeldBatch } from "../../model/provider/account.js";
import { sql, type Reader } from "../../postgres/database.js";

/** At most `max`, the oldest first, as their workers saw it last. `of`: as a worker of this account sees it. */
export async function readAll(
  client: Reader,
  {
    max,
    of,
  }: { readonly max: number; readonly of?: { readonly pipelineId: number; readonly account: string } },
): Promise<HeldBatch[]> {
  const present = sql`coalesce(${of?.account ?? null}, b.held_for)`;
  return client.rows<HeldBatch>(sql`
    select b.id, p.name as pipeline, b.provider, b.account, ${present} as "presentAccount"
    from rowmill.batches b join rowmill.pipelines p on p.id = b.pipeline_id
    where b.settled_at is null and (b.provider_batch_id is not null or b.create_intent_at is not null) and b.account <> ${present}
      and b.pipeline_id = coalesce(${of?.pipelineId ?? null}::int, b.pipeline_id)
    order by b.planned_at, b.id limit ${max}`);
}
