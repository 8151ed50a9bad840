/**
 * Erases rows from the ledger, on your command. A request keeps its number, its attempts and their costs, so that all
 * accounting stays true; it loses its key, its content's hashes and every text. It is `gone` at once, or when its batch
 * ends: whatever that brings is counted and not kept. A hash of the key stays, with the last attempt: a row that comes
 * back is a new request, whose attempts begin after that one.
 */
import type { RequestState } from "../../model/request/request-transitions.js";
import type { BatchState } from "../../model/batch/batch-transitions.js";
import { int8Array } from "../../postgres/arrays.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { changesOf, countChanges } from "./counts.js";
import { forgetNotes } from "../deliveries/write-backs.js";

export interface NamedRows {
  readonly pipelineId: number;
  /** As the ledger spells them. */
  readonly keys: readonly string[];
}

const requestsOf = ({ pipelineId, keys }: NamedRows): Sql =>
  sql`r.pipeline_id = ${pipelineId} and r.key = any(${[...keys]}::text[])`;

/** Batches of these rows that were not sent yet: they can be prepared again without them. */
export async function unsentBatches(client: Reader, rows: NamedRows): Promise<string[]> {
  return client.column<string>(sql`
    select distinct b.id
    from rowmill.requests r
    join rowmill.batches b on b.no = r.batch
    where ${requestsOf(rows)}
      and r.state = 'batched'
      and b.state in ('planned', 'uploading', 'submitting')
      and b.create_intent_at is null
    order by b.id`);
}

export interface HeldBatch {
  readonly id: string;
  readonly state: BatchState;
  readonly providerBatchId: string | null;
  /** By when the provider has ended it. */
  readonly endsBy: Date | null;
  /** Other code's, another database's too, or perhaps another one: Rowmill never deletes its files. */
  readonly foreign: boolean;
  /** Its files were deleted at the provider, or kept as the config says. */
  readonly settled: boolean;
}

/** Batches whose files at the provider have, or had, one of these rows. */
export async function heldBatches(client: Reader, rows: NamedRows): Promise<HeldBatch[]> {
  return client.rows<HeldBatch>(sql`
    select b.id, b.state, b.provider_batch_id as "providerBatchId",
      case
        when b.settled_at is null then b.submitted_at + make_interval(hours => b.window_hours) end as "endsBy",
      b.adopted_pattern is not null or b.shared or b.presumed as "foreign",
      b.forgotten_at is not null as settled
    from rowmill.batches b
    where b.no in (
        select r.batch
        from rowmill.requests r
        where ${requestsOf(rows)} and r.state = 'batched'
        union
        select a.batch
        from rowmill.requests r
        join rowmill.attempts a on a.request_id = r.id
        where ${requestsOf(rows)})
      and (b.provider_batch_id is not null or b.settled_at is null)
    order by b.planned_at, b.id`);
}

/** Those that the ledger knows. */
export async function knownKeys(client: Reader, rows: NamedRows): Promise<string[]> {
  return client.column<string>(sql`select r.key from rowmill.requests r where ${requestsOf(rows)}`);
}

interface ErasedRequest {
  readonly id: string;
  readonly from: RequestState;
  readonly to: RequestState;
}

/** Returns how many requests were known. In one transaction, which holds the pipeline's intake. */
export async function eraseMany(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<number> {
  const rows = { pipelineId, keys };
  await tx.run(sql`
    select count(*)
    from (select 1 from rowmill.requests r where ${requestsOf(rows)} order by r.id for update) locked`);
  await tx.run(sql`
    insert into rowmill.forgotten_rows as f (pipeline_id, key_sha256, attempt)
    select r.pipeline_id, sha256(convert_to(r.key, 'UTF8')), r.attempt
    from rowmill.requests r
    where ${requestsOf(rows)}
    on conflict (pipeline_id, key_sha256) do update
    set attempt = greatest(f.attempt, excluded.attempt), forgotten_at = now()`);
  const erased = await tx.rows<ErasedRequest>(sql`
    with known as (
      select r.id, r.state
      from rowmill.requests r
      where ${requestsOf(rows)})
    update rowmill.requests r
    set key = 'forgotten ' || gen_random_uuid(), forgotten = true, changed_at = now(), not_before = null,
      state = case when k.state = 'batched' then k.state else 'gone' end,
      gone_from = case when k.state <> 'batched' then 'waiting'::rowmill.request_state end, row_gone = false,
      content_hash = null, fingerprint = null, answered_hash = null, answered_fingerprint = null, answered_batch = null,
      error_code = null, error = null
    from known k
    where r.id = k.id
    returning r.id::text as id, k.state as from, r.state as to`);
  await countChanges(tx, pipelineId, changesOf(erased));
  await eraseTexts(
    tx,
    erased.map(({ id }) => id),
  );
  await eraseRefusals(tx, pipelineId, keys);
  await forgetNotes(tx, pipelineId, keys);
  return erased.length;
}

/** What an answer that cannot be written yet is known by; its text goes. */
const COUNTED_FIELDS = ["kind", "customId", "model", "usage", "demo", "code"];

async function eraseTexts(tx: Queryable, ids: readonly string[]): Promise<void> {
  await tx.run(sql`
    update rowmill.attempts
    set answer = null, detail = null
    where request_id = any(${int8Array(ids)}) and (answer is not null or detail is not null)`);
  await tx.run(sql`
    update rowmill.kept_answers k
    set outcome = x.outcome, bytes = octet_length(x.outcome::text)
    from (
      select o.request_id, json_object_agg(f.key, f.value) as outcome
      from rowmill.kept_answers o
      cross join lateral (
        select e.key, e.value
        from json_each(o.outcome) e
        where e.key = any(${COUNTED_FIELDS}::text[])
        union all
        select t.key, '""'::json
        from unnest(array['text', 'message']) t (key)) f
      where o.request_id = any(${int8Array(ids)})
      group by o.request_id) x
    where k.request_id = x.request_id`);
}

/** Keys that were refused, in part or in whole. */
async function eraseRefusals(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<void> {
  await tx.run(sql`
    delete from rowmill.refused_keys
    where pipeline_id = ${pipelineId}
      and key_sha256 in (select encode(sha256(convert_to(k, 'UTF8')), 'hex') from unnest(${[...keys]}::text[]) k)`);
  await tx.run(sql`
    update rowmill.refused_pushes
    set example = null
    where pipeline = (select name from rowmill.pipelines where id = ${pipelineId})
      and example is not null
      and exists (select from unnest(${[...keys]}::text[]) k where strpos(example, k) > 0)`);
}
