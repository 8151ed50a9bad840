/** Who delivers a pipeline's answers now, one worker at a time, and how its target fares. */
import { storableText } from "../../model/words/storable-text.js";
import type { Undelivered } from "../../model/words/undelivered-text.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";

/** Repeatable. `target`: for display. You may have fixed it: the next try comes at once. */
export async function register(
  tx: Queryable,
  pipelineId: number,
  { target, targetHash, settles }: { readonly target: string; readonly targetHash: string; readonly settles: boolean },
): Promise<void> {
  // What failed at another target says nothing of this one.
  await tx.run(sql`
    insert into rowmill.deliverers as d (pipeline_id, target, target_hash)
    values (${pipelineId}, ${target}, ${targetHash})
    on conflict (pipeline_id) do update
    set target = excluded.target, target_hash = excluded.target_hash, failures = 0, trouble = null,
      trouble_since = null, next_at = now()
    where d.target_hash <> excluded.target_hash`);
  await tx.run(sql`
    update rowmill.deliverers
    set settle_at = case when ${settles} then now() end, next_at = least(next_at, now())
    where pipeline_id = ${pipelineId}`);
}

/** Something was written to it: `settle` is due once nothing waits, but not within `restMs`. Needs no lease. */
export async function settleLater(tx: Queryable, pipelineId: number, restMs: number): Promise<void> {
  // Another value each time: a worker that settles it now does not know of this write.
  await tx.run(sql`
    update rowmill.deliverers
    set settle_at = coalesce(
      least(settle_at, clock_timestamp() + make_interval(secs => ${restMs / 1000})) + interval '1 microsecond',
      clock_timestamp() + make_interval(secs => ${restMs / 1000}))
    where pipeline_id = ${pipelineId}`);
}

/** Keeps the lease for longer. Null: there is nothing to settle, or its time has not come. */
export async function claimSettling(
  tx: Queryable,
  pipelineId: number,
  { token, leaseMs }: { readonly token: string; readonly leaseMs: number },
): Promise<{ readonly settleAt: string } | null> {
  return tx.first<{ settleAt: string }>(sql`
    update rowmill.deliverers
    set lease_until = clock_timestamp() + make_interval(secs => ${leaseMs / 1000})
    where pipeline_id = ${pipelineId} and lease_token = ${token}::uuid and settle_at <= clock_timestamp()
    returning settle_at::text as "settleAt"`);
}

/** The pipeline's target is a table: nothing goes elsewhere any more. */
export async function remove(tx: Queryable, pipelineId: number): Promise<void> {
  const removed = await tx.run(sql`delete from rowmill.deliverers where pipeline_id = ${pipelineId}`);
  if (removed > 0) await tx.run(sql`delete from rowmill.deliveries where pipeline_id = ${pipelineId}`);
}

export interface Lease {
  readonly token: string;
  /** Writes in a row that failed as a whole. */
  readonly failures: number;
}

/**
 * Null: another worker has it, its time has not come, the pipeline waits for you, or its target is another one. A
 * worker that did not give it back after an error takes its own again.
 */
export async function claim(
  tx: Queryable,
  pipelineId: number,
  { worker, targetHash, leaseMs }: { readonly worker: string; readonly targetHash: string; readonly leaseMs: number },
): Promise<Lease | null> {
  return tx.first<Lease>(sql`
    update rowmill.deliverers d
    set lease_token = gen_random_uuid(), lease_worker = ${worker},
      lease_until = clock_timestamp() + make_interval(secs => ${leaseMs / 1000})
    where d.pipeline_id = (
        select pipeline_id
        from rowmill.deliverers
        where pipeline_id = ${pipelineId}
        for update skip locked)
      and (d.lease_until is null or d.lease_until < clock_timestamp() or d.lease_worker = ${worker})
      and d.next_at <= clock_timestamp()
      and d.target_hash = ${targetHash}
      and exists (
        select 1
        from rowmill.pipelines p
        cross join rowmill.deployment e
        where p.id = d.pipeline_id
          and p.uninstalled_at is null
          and p.pause_kind is distinct from 'target'
          and e.suspicion is null)
    returning lease_token as token, failures`);
}

/** How the target fares: well, or not, and then for how long it is left alone. */
export type Condition =
  | { readonly kind: "well" }
  /** `settleAt`: as it was claimed. */
  | { readonly kind: "settled"; readonly settleAt: string }
  | { readonly kind: "trouble"; readonly text: string; readonly waitMs: number; readonly failures: number };

/** Gives the lease back. False: it was lost. */
export async function release(
  tx: Queryable,
  pipelineId: number,
  { token, condition }: { readonly token: string; readonly condition: Condition | null },
): Promise<boolean> {
  const released = await tx.run(sql`
    update rowmill.deliverers
    set lease_token = null, lease_until = null, lease_worker = null ${condition === null ? sql`` : faring(condition)}
    where pipeline_id = ${pipelineId} and lease_token = ${token}::uuid`);
  return released > 0;
}

function faring(condition: Condition): Sql {
  const well = sql`, failures = 0, trouble = null, trouble_since = null`;
  if (condition.kind === "well") return well;
  if (condition.kind === "settled")
    return sql`${well}, settle_at = nullif(settle_at, ${condition.settleAt}::timestamptz)`;
  return sql`, failures = ${condition.failures}, trouble = ${storableText(condition.text)},
    trouble_since = coalesce(trouble_since, now()),
    next_at = clock_timestamp() + make_interval(secs => ${condition.waitMs / 1000})`;
}

/** You fixed it: the next try comes at once. */
export async function tryNow(tx: Queryable, pipelineId: number): Promise<void> {
  await tx.run(
    sql`update rowmill.deliverers set next_at = now() where pipeline_id = ${pipelineId} and next_at > now()`,
  );
}

/** Of dead workers. */
export async function freeLeases(tx: Queryable, workers: readonly string[]): Promise<void> {
  await tx.run(sql`
    update rowmill.deliverers
    set lease_token = null, lease_until = null, lease_worker = null
    where pipeline_id in (
      select pipeline_id
      from rowmill.deliverers
      where lease_worker = any(${[...workers]}::text[])
      for update skip locked)`);
}

/** A delivery that is due so soon counts as work that continues; of a target in trouble, or a refused one, none is. */
const SOON_SECONDS = 3;

/** Whether answers are delivered to this target now or very soon, by this worker or another one. */
export async function isBusy(client: Reader, pipelineId: number, targetHash: string): Promise<boolean> {
  const busy = await client.value<boolean>(sql`
    select exists (
      select 1
      from rowmill.deliverers d
      join rowmill.pipelines p on p.id = d.pipeline_id
      cross join rowmill.deployment e
      where d.pipeline_id = ${pipelineId}
        and d.target_hash = ${targetHash}
        and d.next_at <= now() + make_interval(secs => ${SOON_SECONDS})
        and p.pause_kind is distinct from 'target'
        and e.suspicion is null
        and (
          d.settle_at is not null
          or exists (
            select 1
            from rowmill.deliveries l
            where l.pipeline_id = d.pipeline_id
              and l.state = 'waiting'
              and l.next_at <= now() + make_interval(secs => ${SOON_SECONDS}))))`);
  return busy === true;
}

export interface Standing extends Undelivered {
  readonly pipelineId: number;
  readonly delivered: number;
  readonly troubleSince: Date | null;
  readonly nextAt: Date | null;
}

/** Null: its target is a table. */
export async function standing(client: Reader, pipelineId: number): Promise<Standing | null> {
  return client.first<Standing>(statement(sql`d.pipeline_id = ${pipelineId}`));
}

export interface RowDelivery {
  /** Where to. */
  readonly target: string;
  readonly state: "waiting" | "delivered" | "stale" | "failed" | "dropped";
  /** It learns that the row no longer has an answer. */
  readonly deleted: boolean;
  readonly fence: string;
  /** Refusals, and why the last one was. */
  readonly failures: number;
  readonly reason: string | null;
  readonly changedAt: Date;
  /** Null: nothing is to be delivered. */
  readonly nextAt: Date | null;
}

/** Null: the row has no answer yet, or its target is a table. */
export async function rowDelivery(client: Reader, pipelineId: number, key: string): Promise<RowDelivery | null> {
  return client.first<RowDelivery>(sql`
    select d.target, l.state, l.deleted, l.fence::text as fence, l.failures, l.reason, l.changed_at as "changedAt",
      case when l.state = 'waiting' then greatest(l.next_at, d.next_at) end as "nextAt"
    from rowmill.deliveries l
    join rowmill.deliverers d on d.pipeline_id = l.pipeline_id
    where l.pipeline_id = ${pipelineId} and l.key = ${key}`);
}

/** Of every pipeline whose target is elsewhere. */
export async function standings(client: Reader): Promise<Standing[]> {
  return client.rows<Standing>(statement(sql`true`));
}

function statement(wanted: Sql): Sql {
  return sql`
    select d.pipeline_id as "pipelineId", p.name as pipeline, d.target, coalesce(l.waiting, 0)::float8 as waiting,
      coalesce(l.delivered, 0)::float8 as delivered, coalesce(l.stale, 0)::float8 as stale,
      coalesce(l.failed, 0)::float8 as failed,
      (
        select r.reason
        from rowmill.deliveries r
        where r.pipeline_id = d.pipeline_id
          and (r.state in ('stale', 'failed') or (r.state = 'waiting' and r.failures > 0))
        order by r.changed_at desc
        limit 1) as reason,
      d.trouble, d.trouble_since as "troubleSince",
      d.trouble is not null and d.settle_at is not null and coalesce(l.waiting, 0) = 0 as unfinished,
      case when l.waiting > 0 then greatest(l.next_at, d.next_at) end as "nextAt",
      case
        when l.waiting > 0 or d.settle_at is not null
          then (extract(epoch from greatest(l.next_at, d.next_at) - clock_timestamp()) * 1000)::float8 end as "nextMs"
    from rowmill.deliverers d
    join rowmill.pipelines p on p.id = d.pipeline_id
    left join lateral (
      select count(*) filter (where state = 'waiting') as waiting,
        count(*) filter (where state = 'delivered') as delivered, count(*) filter (where state = 'stale') as stale,
        count(*) filter (where state = 'failed') as failed, min(next_at) filter (where state = 'waiting') as next_at
      from rowmill.deliveries
      where pipeline_id = d.pipeline_id) l on true
    where ${wanted}
    order by p.name`;
}
