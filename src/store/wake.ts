/** Makes unfinished batches due at once, for when a person has mended what they waited for. */
import { schedule } from "./batches.js";
import { sql, type Queryable } from "./database.js";

/** Returns how many. Both ways of finding work are told: the queue, and the time that `up --once` goes by. */
export async function wakeBatches(tx: Queryable, pipelineId: number): Promise<number> {
  const batches = await tx.rows<{ id: string }>(sql`
    update rowmill.batches set next_at = clock_timestamp() where pipeline_id = ${pipelineId} and settled_at is null returning id`);
  await tx.run(sql`update rowmill.learned_limits l set not_before = null from rowmill.batches b
    where b.pipeline_id = ${pipelineId} and b.settled_at is null and l.account = b.account and l.model = b.model`);
  for (const batch of batches) await schedule(tx, batch.id, 0);
  return batches.length;
}
