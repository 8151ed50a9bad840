/**
 * Puts batches that other code created at the provider into the ledger. The batch, its requests and the wake-up come
 * in one transaction of the caller, who holds the pipeline's intake lock.
 */
import { BATCH_BEGINNINGS } from "../../model/batch/batch-transitions.js";
import type { Json } from "../../model/pipeline.js";
import type { RequestState } from "../../model/request/request-transitions.js";
import { addBatchEvent, ratesValues, type PlannedBatch } from "./batches.js";
import { int8Array } from "../../postgres/arrays.js";
import { countChanges } from "../requests/counts.js";
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

export interface AdoptedBatch extends Omit<PlannedBatch, "runId" | "because"> {
  readonly providerBatchId: string;
  readonly providerStatus: string;
  /** As the adapter gave them. */
  readonly refs: Json;
  /** Seconds since the epoch, by the provider's clock. */
  readonly createdAt: number | null;
  /** Of the whole file that named the requests. */
  readonly lines: number;
  readonly bytes: number;
  /** Null: the lines have our own names; a lost state of this ledger created the batch. */
  readonly pattern: string | null;
  readonly detail: Json;
}

/** After `takeAdopted`, whose count it stores. */
export async function insertAdopted(tx: Queryable, batch: AdoptedBatch): Promise<void> {
  const state = BATCH_BEGINNINGS.adopted;
  await tx.run(sql`
    insert into rowmill.batches (id, no, pipeline_id, state, definition_hash, provider, account, model, endpoint,
      price, batch_factor, requests, lines, spool_bytes, reserved_nano_usd, reserved_tokens, window_hours,
      provider_data, provider_batch_id, provider_status, adopted_pattern, recovered, submitted_at)
    overriding system value
    values (${batch.id}, ${batch.no}, ${batch.pipelineId}, ${state}, ${batch.definitionHash}, ${batch.provider},
      ${batch.account}, ${batch.model}, ${batch.endpoint}, ${ratesValues(batch.rates)}, ${batch.requests},
      ${batch.lines}, ${batch.bytes}, ${batch.reservedNanoUsd}, ${batch.reservedTokens}, ${batch.windowHours},
      ${JSON.stringify({ refs: batch.refs })}::jsonb, ${batch.providerBatchId}, ${batch.providerStatus},
      ${batch.pattern}, ${batch.pattern === null}, coalesce(to_timestamp(${batch.createdAt}), now()))`);
  const creator = batch.pattern === null ? "a lost state of this ledger" : "other code";
  const reason = `adopted: ${creator} created it as ${batch.providerBatchId}`;
  await addBatchEvent(tx, batch.id, { from: null, to: state, reason, detail: batch.detail });
}

/** The batch of ours that this provider batch belongs to already. */
export async function findByProviderBatch(
  client: Queryable,
  account: string,
  providerBatchId: string,
): Promise<{ id: string; pipeline: string } | null> {
  return client.first(sql`
    select b.id, p.name as pipeline
    from rowmill.batches b
    join rowmill.pipelines p on p.id = b.pipeline_id
    where b.account = ${account} and b.provider_batch_id = ${providerBatchId}`);
}

/** How many requests of these keys each state has. */
export async function countStatesOf(
  client: Queryable,
  pipelineId: number,
  keys: readonly string[],
): Promise<ReadonlyMap<RequestState, number>> {
  const rows = await client.rows<{ state: RequestState; count: number }>(sql`
    select state, count(*)::int as count
    from rowmill.requests
    where pipeline_id = ${pipelineId} and key = any(${keys}::text[])
    group by state`);
  return new Map(rows.map((row) => [row.state, row.count]));
}

/** Of these keys or ids, the requests that wait; locked in id order. Those in flight belong to a collector. */
export async function lockWaiting(
  tx: Queryable,
  pipelineId: number,
  of: { readonly keys: readonly string[] } | { readonly ids: readonly string[] },
): Promise<{ id: string; key: string }[]> {
  const isMeant = "keys" in of ? sql`key = any(${of.keys}::text[])` : sql`id = any(${of.ids}::bigint[])`;
  return tx.rows(sql`
    select id::text as id, key
    from rowmill.requests
    where pipeline_id = ${pipelineId} and ${isMeant} and state = 'waiting'
    order by requests.id
    for update`);
}

export interface AdoptedRequest {
  readonly id: string;
  /** Of the row as it is now: you confirmed that the batch asked what the config asks. */
  readonly hash: string;
  readonly fingerprint: string | null;
  /** The most tokens that its answer may have; null: unknown. */
  readonly room: number | null;
  readonly customId: string;
  /** 1-based, in the file that named it. */
  readonly line: number;
}

/** From the queue into the batch. Returns how many moved. */
export async function takeAdopted(
  tx: Queryable,
  batch: { readonly no: number; readonly pipelineId: number },
  requests: readonly AdoptedRequest[],
): Promise<number> {
  if (requests.length === 0) return 0;
  const moved = await tx.column<string>(sql`
    with x as (
      select *
      from json_to_recordset(${JSON.stringify(requests)}::json) as x (id bigint, hash text, fingerprint text,
        room int, "customId" text)),
    moved as (
      update rowmill.requests r
      set state = 'batched', batch = ${batch.no}, attempt = r.attempt + 1, not_before = null, changed_at = now(),
        room = x.room, content_hash = decode(x.hash, 'hex'), fingerprint = decode(x.fingerprint, 'hex')
      from x
      where r.id = x.id and r.state = 'waiting'
      returning x.*),
    named as (
      insert into rowmill.named_lines (request_id, batch, custom_id)
      select id, ${batch.no}, "customId" from moved)
    select id::text from moved`);
  const taken = new Set(moved);
  const lines = requests.filter(({ id }) => taken.has(id));
  if (lines.length > 0)
    await tx.run(sql`
      insert into rowmill.lines (batch, part, first, ids)
      select ${batch.no}, coalesce(max(part), -1) + 1, ${lines[0]?.line ?? 1},
        ${int8Array(lines.map(({ id }) => id))}
      from rowmill.lines
      where batch = ${batch.no}`);
  await countChanges(tx, batch.pipelineId, { waiting: -lines.length, batched: lines.length });
  return lines.length;
}

/** Custom id → request, for those that are still in flight in this adopted batch. */
export async function requestsByCustomId(
  client: Reader,
  batch: number,
  customIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await client.rows<{ customId: string; id: string }>(sql`
    select l.custom_id as "customId", r.id::text as id
    from rowmill.named_lines l
    join rowmill.requests r on r.id = l.request_id and r.state = 'batched' and r.batch = l.batch
    where l.batch = ${batch} and l.custom_id = any(${customIds}::text[])`);
  return new Map(rows.map((row) => [row.customId, row.id]));
}
