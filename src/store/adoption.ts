/**
 * Batches that other code created at the provider: their place in the ledger. The batch, its requests and the wake-up come in one
 * transaction of the caller, who holds the intake lock of the pipeline.
 */
import { batchBeginnings } from "../model/batch-transitions.js";
import type { Json } from "../model/pipeline.js";
import type { RequestState } from "../model/request-transitions.js";
import { addBatchEvent, ratesValues, type PlannedBatch } from "./batches.js";
import { sql, type Queryable, type Reader } from "./database.js";

export interface AdoptedBatch extends Omit<PlannedBatch, "runId" | "because"> {
  readonly providerBatchId: string;
  readonly providerStatus: string;
  /** As the adapter gave them. */
  readonly refs: Json;
  /** Seconds since the epoch, by the provider's clock. */
  readonly createdAt: number | null;
  /** Lines and bytes of the file that named the requests, those of nobody included. */
  readonly lines: number;
  readonly bytes: number;
  /** Null: the lines have our own names; a state of this ledger created the batch that is lost. */
  readonly pattern: string | null;
  readonly detail: Json;
}

/** After its requests were taken: the number of them stands in it. */
export async function insertAdopted(tx: Queryable, batch: AdoptedBatch): Promise<void> {
  const state = batchBeginnings.adopted;
  await tx.run(sql`insert into rowmill.batches
      (id, pipeline_id, state, definition_hash, provider, account, model, endpoint, price, batch_factor, requests, lines, spool_bytes, reserved_nano_usd,
       reserved_tokens, window_hours, provider_data, provider_batch_id, provider_status, adopted_pattern, recovered, submitted_at)
    values (${batch.id}, ${batch.pipelineId}, ${state}, ${batch.definitionHash}, ${batch.provider}, ${batch.account}, ${batch.model},
      ${batch.endpoint}, ${ratesValues(batch.rates)}, ${batch.requests}, ${batch.lines}, ${batch.bytes}, ${batch.reservedNanoUsd}, ${batch.reservedTokens},
      ${batch.windowHours}, ${JSON.stringify({ refs: batch.refs })}::jsonb, ${batch.providerBatchId}, ${batch.providerStatus}, ${batch.pattern}, ${batch.pattern === null}, coalesce(to_timestamp(${batch.createdAt}), now()))`);
  const creator = batch.pattern === null ? "a former state of this ledger" : "other code";
  const reason = `adopted: ${creator} created it as ${batch.providerBatchId}`;
  await addBatchEvent(tx, batch.id, { from: null, to: state, reason, detail: batch.detail });
}

/** The batch of ours that this provider batch belongs to already. */
export async function findByProviderBatch(
  client: Queryable,
  account: string,
  providerBatchId: string,
): Promise<{ id: string; pipeline: string } | null> {
  return client.first(sql`select b.id, p.name as pipeline from rowmill.batches b join rowmill.pipelines p on p.id = b.pipeline_id
    where b.account = ${account} and b.provider_batch_id = ${providerBatchId}`);
}

/** How many requests of these keys are in which state; keys without a request are in none. */
export async function countStatesOf(
  client: Queryable,
  pipelineId: number,
  keys: readonly string[],
): Promise<ReadonlyMap<RequestState, number>> {
  const rows = await client.rows<{ state: RequestState; count: number }>(sql`
    select state, count(*)::int as count from rowmill.requests
    where pipeline_id = ${pipelineId} and key = any(${keys}::text[]) group by state`);
  return new Map(rows.map((row) => [row.state, row.count]));
}

/** Of these keys, the requests that wait; locked in id order. Those in flight are a collector's, and not touched. */
export async function lockWaiting(
  tx: Queryable,
  pipelineId: number,
  keys: readonly string[],
): Promise<{ id: string; key: string }[]> {
  return tx.rows(sql`select id::text as id, key from rowmill.requests
    where pipeline_id = ${pipelineId} and key = any(${keys}::text[]) and state = 'waiting' order by id for update`);
}

export interface AdoptedRequest {
  readonly id: string;
  /** Of the row as it is now: a person says that the batch asked what the config asks. */
  readonly hash: string;
  readonly fingerprint: string | null;
  /** The most tokens that its answer may have; null: not known. */
  readonly room: number | null;
  readonly customId: string;
  /** 1-based, in the file that named it. */
  readonly line: number;
}

/** From the queue into the batch. Returns how many moved. */
export async function takeAdopted(
  tx: Queryable,
  batchId: string,
  requests: readonly AdoptedRequest[],
): Promise<number> {
  if (requests.length === 0) return 0;
  return tx.run(sql`
    with x as (
      select * from json_to_recordset(${JSON.stringify(requests)}::json)
        as x (id bigint, hash text, fingerprint text, room int, "customId" text, line int)),
    moved as (
      update rowmill.requests r set state = 'batched', attempt = attempt + 1, changed_at = now()
      from x where r.id = x.id and r.state = 'waiting' returning r.id, r.attempt),
    dequeued as (
      delete from rowmill.waiting w using moved m where w.request_id = m.id)
    insert into rowmill.in_flight (request_id, batch_id, attempt, content_hash, fingerprint, room, line, custom_id)
    select m.id, ${batchId}, m.attempt, x.hash, x.fingerprint, x.room, x.line, x."customId" from moved m join x on x.id = m.id order by m.id`);
}

/** Custom id → request, for those that are still in flight in this adopted batch. */
export async function requestsByCustomId(
  client: Reader,
  batchId: string,
  customIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await client.rows<{ customId: string; id: string }>(sql`
    select custom_id as "customId", request_id::text as id from rowmill.in_flight
    where batch_id = ${batchId} and custom_id is not null and custom_id = any(${customIds}::text[])`);
  return new Map(rows.map((row) => [row.customId, row.id]));
}
