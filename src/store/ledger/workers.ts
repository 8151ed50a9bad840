/** Processes that work, by heartbeat; and the jobs of those that died, freed for others. */
import { inOneMessage, sql, type Queryable, type Reader } from "../../postgres/database.js";
import { freeLeases } from "../deliveries/deliverers.js";
import { IS_UNDERSTOOD } from "./understood.js";

/** After four missed heartbeats a worker counts as dead. */
export const WORKER_SILENCE_MS = 20_000;

/** Not in a ledger for newer versions only. */
export async function beat(
  client: Queryable,
  worker: {
    id: string;
    poolId: string | null;
    host: string;
    pid: number;
    version: string;
    configChangedAt: Date | null;
  },
): Promise<void> {
  await client.run(
    inOneMessage(sql`
    insert into rowmill.workers (id, pool_id, host, pid, version, config_changed_at)
    select ${worker.id}, ${worker.poolId}, ${worker.host}, ${worker.pid}, ${worker.version},
      ${worker.configChangedAt?.toISOString() ?? null}::timestamptz
    where ${IS_UNDERSTOOD}
    on conflict (id) do update
    set seen_at = clock_timestamp(), pool_id = excluded.pool_id,
      config_changed_at = excluded.config_changed_at`),
  );
}

export async function signOff(client: Queryable, workerId: string): Promise<void> {
  await client.run(sql`delete from rowmill.workers where id = ${workerId}`);
}

export interface Buried {
  readonly workers: number;
  /** Batches that they held. */
  readonly batchIds: readonly string[];
}

/**
 * Frees the leases and jobs of dead workers; jobs would stay locked for four hours (`locked_by` is the *pool's* id).
 * A worker that was only frozen finds its leases lost, and writes nothing. `silenceMs`: after which one counts as dead.
 */
export async function buryDead(tx: Queryable, silenceMs = WORKER_SILENCE_MS): Promise<Buried> {
  const dead = await tx.rows<{ id: string; poolId: string | null }>(sql`
    delete from rowmill.workers
    where id in (
      select id
      from rowmill.workers
      where seen_at < clock_timestamp() - make_interval(secs => ${silenceMs / 1000})
      for update skip locked)
    returning id, pool_id as "poolId"`);
  if (dead.length === 0) return { workers: 0, batchIds: [] };
  const pools = dead.flatMap((worker) => worker.poolId ?? []);
  if (pools.length > 0) await tx.run(sql`select rowmill_worker.force_unlock_workers(${pools}::text[])`);
  await freeLeases(
    tx,
    dead.map(({ id }) => id),
  );
  // A worker that froze in a transaction may still lock a batch's row: that lease expires.
  const batchIds = await tx.column<string>(sql`
    update rowmill.batches
    set lease_token = null, lease_until = null, lease_worker = null
    where id in (
      select id
      from rowmill.batches
      where settled_at is null and lease_worker = any(${dead.map((worker) => worker.id)}::text[])
      for update skip locked)
    returning id`);
  return { workers: dead.length, batchIds };
}

/** Unfinished batches without a job that could wake them. */
export async function batchesWithoutJob(client: Reader, limit: number): Promise<string[]> {
  return client.column<string>(sql`
    select b.id
    from rowmill.batches b
    where b.settled_at is null
      and not exists (
        select 1
        from rowmill_worker.jobs j
        where j.key = 'batch:' || b.id and j.attempts < j.max_attempts)
    limit ${limit}`);
}

/**
 * Removes jobs of ended batches, which `up --once` leaves. A job that a worker holds is left to it. Returns how many.
 */
export async function removeSpentJobs(client: Queryable, limit: number): Promise<number> {
  return client.number(sql`
    select count(*)::int as removed
    from (
      select j.key
      from rowmill_worker.jobs j
      join rowmill.batches b on j.key = 'batch:' || b.id
      where b.settled_at is not null and j.locked_at is null
      limit ${limit}) spent
    cross join lateral rowmill_worker.remove_job(spent.key) r`);
}

/**
 * A queue per batch keeps two workers from its job. graphile-worker never deletes these rows, and reads them all at
 * each poll. Its own cleanup may race with a job that is being added; an hour after a batch ended none is. Returns
 * how many.
 */
export async function removeSpentQueues(client: Queryable, limit: number): Promise<number> {
  return client.run(sql`
    delete from rowmill_worker._private_job_queues
    where id in (
      select q.id
      from rowmill_worker._private_job_queues q
      join rowmill.batches b on q.queue_name = 'batch:' || b.id
      where b.settled_at < now() - interval '1 hour'
        and q.locked_at is null
        and not exists (select 1 from rowmill_worker._private_jobs j where j.job_queue_id = q.id)
      limit ${limit})`);
}
