/** Wakes unfinished batches: by a job of graphile-worker, and by `next_at`, which `up --once` reads. */
import { sql, type Queryable } from "../../postgres/database.js";

/** All of a pipeline, once you fixed what they waited for. Returns how many. */
export async function wakeBatches(tx: Queryable, pipelineId: number): Promise<number> {
  const ids = await tx.column<string>(sql`
    update rowmill.batches
    set next_at = clock_timestamp()
    where pipeline_id = ${pipelineId} and settled_at is null
    returning id`);
  await tx.run(sql`
    update rowmill.learned_limits l
    set not_before = null
    from rowmill.batches b
    where b.pipeline_id = ${pipelineId}
      and b.settled_at is null
      and l.account = b.account
      and l.model = b.model`);
  for (const id of ids) await schedule(tx, id, 0);
  return ids.length;
}

/** Repeatable: one waiting job a batch. */
export async function schedule(client: Queryable, id: string, delayMs: number): Promise<void> {
  await client.run(sql`
    select rowmill_worker.add_job('batch', json_build_object('batchId', ${id}::text),
      queue_name => ${`batch:${id}`}, job_key => ${`batch:${id}`},
      run_at => clock_timestamp() + make_interval(secs => ${delayMs / 1000}))`);
}

/** Frees the jobs that this pool still holds: otherwise they stay locked for four hours. Repeatable. */
export async function freeJobs(client: Queryable, poolId: string): Promise<void> {
  await client.run(sql`select rowmill_worker.force_unlock_workers(${[poolId]}::text[])`);
}
