/**
 * Provider batches that are not recorded as ours. A **duplicate** is a second provider batch for one of ours:
 * recorded, counted as spent, and cancelled where it is certain. An **orphan** bears this ledger's name, but the
 * ledger never created it: then the ledger was restored from a backup, or copied.
 */
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { SUSPICION_VALUE } from "../ledger/deployment.js";

/** Each costs a comparison with every entry of the list. */
const UNRESOLVED_MAX = 100;

export interface Duplicate {
  readonly account: string;
  readonly providerBatchId: string;
  readonly batchId: string;
  readonly reason: string;
  readonly reservedNanoUsd: number;
  /** False: by circumstance alone; reported, never cancelled. */
  readonly certain: boolean;
}

/** Counts its possible cost as spent and adds an event, once. Not for a batch that is recorded as ours. */
export async function recordDuplicate(client: Queryable, duplicate: Duplicate): Promise<void> {
  await client.run(sql`
    with recorded as (
      insert into rowmill.duplicate_batches (account, provider_batch_id, batch_id, reason, reserved_nano_usd,
        certain)
      select ${duplicate.account}, ${duplicate.providerBatchId}, ${duplicate.batchId}, ${duplicate.reason},
        ${Math.ceil(duplicate.reservedNanoUsd)}, ${duplicate.certain}
      where not exists (${recordedAsOurs(duplicate.account, sql`${duplicate.providerBatchId}`)})
      on conflict do nothing
      returning batch_id, provider_batch_id, reason, certain)
    insert into rowmill.pipeline_events (pipeline_id, event, reason)
    select b.pipeline_id, 'duplicate batch',
      s.reason || ': ' || s.provider_batch_id || case
        when s.certain then ', to be cancelled, and counted as spent'
        else ', not cancelled, since nothing proves it' end
    from recorded s
    join rowmill.batches b on b.id = s.batch_id`);
}

function recordedAsOurs(account: string, providerBatchId: Sql): Sql {
  return sql`
    select 1
    from rowmill.batches ours
    where ours.account = ${account} and ours.provider_batch_id = ${providerBatchId}`;
}

export async function duplicateCancelled(client: Queryable, account: string, providerBatchId: string): Promise<void> {
  await client.run(sql`
    update rowmill.duplicate_batches
    set cancelled_at = now()
    where account = ${account} and provider_batch_id = ${providerBatchId}`);
}

/** Recorded and not cancelled yet, oldest first: of all batches, or of one. */
export async function duplicatesToCancel(
  client: Reader,
  of: { readonly account: string; readonly batchId: string | undefined },
  limit: number,
): Promise<string[]> {
  return client.column<string>(sql`
    select s.provider_batch_id as id
    from rowmill.duplicate_batches s ${ofOurOwn(sql`s.batch_id`)}
    where s.account = ${of.account}
      and s.batch_id = coalesce(${of.batchId ?? null}, s.batch_id)
      and s.certain
      and s.cancelled_at is null
    order by s.found_at
    limit ${limit}`);
}

/** In a copied ledger nothing is cancelled before you decided which one is live, and never what both share. */
function ofOurOwn(batchId: Sql): Sql {
  return sql`join rowmill.batches b on b.id = ${batchId} and not b.shared and ${SUSPICION_VALUE} is null
    join rowmill.pipelines p on p.id = b.pipeline_id`;
}

/**
 * Whether anything was created in these hours that the provider's list may show twice; not what is only moments old.
 */
export async function mayHaveDuplicates(
  client: Reader,
  account: string,
  since: { hours: number; restSeconds: number },
): Promise<boolean> {
  const row = await client.first(sql`
    select 1 as one
    from rowmill.batches
    where account = ${account}
      and creates > 0
      and planned_at > now() - make_interval(hours => ${since.hours})
      and coalesce(submitted_at, settled_at) < now() - make_interval(secs => ${since.restSeconds})
    limit 1`);
  return row !== null;
}

/**
 * Of these provider batches, each marked as made for a batch of ours, those that are not the recorded one and cannot
 * become it; each at the cost of the recorded one, which has the same requests.
 */
export async function duplicatesAmong(
  client: Reader,
  account: string,
  named: readonly { readonly providerBatchId: string; readonly batchId: string }[],
): Promise<(Omit<Duplicate, "account" | "reason" | "certain"> & { readonly pipeline: string })[]> {
  return client.rows(sql`
    select x."providerBatchId", b.id as "batchId", p.name as pipeline,
      coalesce(nullif(greatest(b.reserved_nano_usd, b.cost_nano_usd,
        (select sum(u.cost_nano_usd) from rowmill.usage u where u.batch = b.no)),
        0),

        -- What ended without being sent cost nothing itself, but the duplicate may have run.
        (select max((e.detail ->> 'reservedNanoUsd')::float8) from rowmill.batch_events e where e.batch_id = b.id),
        0)::float8 as "reservedNanoUsd"
    from json_to_recordset(${JSON.stringify(named)}::json) as x ("providerBatchId" text, "batchId" uuid)
      ${ofOurOwn(sql`x."batchId"`)}
    where b.account = ${account}
      and b.provider_batch_id is distinct from x."providerBatchId"
      and (b.provider_batch_id is not null or b.settled_at is not null)
      -- A lost batch that was adopted after a restore bears another name than we gave it.
      and not exists (${recordedAsOurs(account, sql`x."providerBatchId"`)})
      and not exists (
        select 1
        from rowmill.duplicate_batches s
        where s.account = ${account} and s.provider_batch_id = x."providerBatchId")`);
}

/** Provider batches that are recorded as duplicates of this one. */
export async function duplicateIdsOf(client: Reader, batchId: string): Promise<ReadonlySet<string>> {
  const ids = await client.column<string>(sql`
    select provider_batch_id
    from rowmill.duplicate_batches
    where batch_id = ${batchId}`);
  return new Set(ids);
}

/**
 * Of these provider batches, each marked as this ledger's, those that it cannot have created: it does not know the
 * name, or has not tried to create that batch yet. Read the provider's list first: a batch created in between is no
 * orphan. `orNotRecorded`: also those of a batch that it tried to create before, when nothing is on its way now.
 */
export async function orphansAmong(
  client: Reader,
  account: string,
  named: readonly { readonly providerBatchId: string; readonly batchId: string }[],
  { orNotRecorded = false }: { orNotRecorded?: boolean } = {},
): Promise<string[]> {
  return client.column<string>(sql`
    select x."providerBatchId" as id
    from json_to_recordset(${JSON.stringify(named)}::json) as x ("providerBatchId" text, "batchId" uuid)
    left join rowmill.batches b on b.id = x."batchId"
    where (b.id is null
      or (b.provider_batch_id is null
        and b.create_intent_at is null
        and (b.creates = 0 or ${orNotRecorded}::boolean)))
      and not exists (
        select 1
        from rowmill.batches k
        where k.account = ${account} and k.provider_batch_id = x."providerBatchId")
      and not exists (
        select 1
        from rowmill.duplicate_batches s
        where s.account = ${account} and s.provider_batch_id = x."providerBatchId")`);
}

/** A provider batch of ours that nothing needs: recorded, and left alone. */
export async function noteUnneeded(
  client: Queryable,
  batch: { account: string; providerBatchId: string; reason: string },
): Promise<void> {
  await client.run(sql`
    insert into rowmill.duplicate_batches (account, provider_batch_id, reason)
    values (${batch.account}, ${batch.providerBatchId}, ${batch.reason})
    on conflict do nothing`);
}

/** It turned out to be the recorded one: its entry as a possible duplicate was wrong. */
export async function forgetPossible(
  client: Queryable,
  { account, providerBatchId }: { readonly account: string; readonly providerBatchId: string },
): Promise<void> {
  await client.run(sql`
    delete from rowmill.duplicate_batches
    where account = ${account} and provider_batch_id = ${providerBatchId} and not certain`);
}

/** Of these ids, those of our batches and of duplicates; `certain`: without possible duplicates. */
export async function knownProviderBatches(
  client: Reader,
  account: string,
  { ids, certain = false }: { readonly ids: readonly string[]; readonly certain?: boolean },
): Promise<ReadonlySet<string>> {
  const these = sql`account = ${account} and provider_batch_id = any(${[...ids]}::text[])`;
  const known = await client.column<string>(sql`
    select provider_batch_id from rowmill.batches where ${these}
    union
    select provider_batch_id
    from rowmill.duplicate_batches
    where ${these} and (certain or not ${certain}::boolean)`);
  return new Set(known);
}

export interface UnresolvedCreate {
  readonly batchId: string;
  readonly lines: number;
  /** Seconds since the epoch by the database's clock, with a margin for other clocks. */
  readonly since: number;
  readonly until: number;
  readonly reservedNanoUsd: number;
  /** Ids of provider batches that proved not to be it. */
  readonly refuted: readonly string[];
}

/** Batches of these hours with a create that was given up without knowing its outcome. */
export async function unresolvedCreates(
  client: Reader,
  account: string,
  within: { readonly hours: number; readonly clocksApartSeconds: number },
): Promise<UnresolvedCreate[]> {
  return client.rows<UnresolvedCreate>(sql`
    select b.id as "batchId", b.lines,
      extract(epoch from b.planned_at)::float8 - ${within.clocksApartSeconds}::int as since,
      extract(epoch from e.at)::float8 + ${within.clocksApartSeconds}::int as until,
      coalesce((e.detail ->> 'reservedNanoUsd')::float8, b.reserved_nano_usd::float8) as "reservedNanoUsd",
      coalesce(b.provider_data -> 'refuted', '[]') as refuted
    from rowmill.batches a ${ofOurOwn(sql`a.id`)}
    join rowmill.batch_events e on e.batch_id = b.id and e.from_state = 'submitting' and e.to_state = 'uploading'
    where b.account = ${account}
      and b.planned_at > now() - make_interval(hours => ${within.hours})
      and b.lines is not null
      -- The list may show its next create, which may be on its way.
      and b.create_intent_at is null
      and b.state not in ('uploading', 'submitting')
      -- Or that of another batch, which nothing else tells from this one.
      and not exists (
      select 1
      from rowmill.batches o
      where o.account = b.account and o.one_create and o.create_intent_at is not null and o.lines = b.lines)
    order by e.at desc
    limit ${UNRESOLVED_MAX}`);
}
