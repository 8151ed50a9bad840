/** The locks of a queue that has ended. */
import { sql, type Queryable } from "../../postgres/database.js";

/** Frees the jobs that this pool of graphile-worker still holds: else they stay locked for four hours. Repeatable. */
export async function freeJobs(client: Queryable, poolId: string): Promise<void> {
  await client.run(sql`select rowmill_worker.force_unlock_workers(${[poolId]}::text[])`);
}
