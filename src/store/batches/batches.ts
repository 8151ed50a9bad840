/**
 * Batches: rows, moves and leases. Every move is guarded by the state it starts from and by the lease of its holder,
 * writes an event, and returns whether it won.
 */
import type { CancelWish } from "../../model/batch/cancelling.js";
import { moveBatch, type BatchEvent, type BatchState } from "../../model/batch/batch-transitions.js";
import type { Json } from "../../model/pipeline.js";
import type { Price, Rates } from "../../model/provider/pricing.js";
import type { BatchInputError } from "../../model/batch/refusal.js";
import { storableText } from "../../model/words/storable-text.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { assignments, NO_DATA, troubleAfter, type BatchFields, type ProviderData } from "./batch-fields.js";
import { endedOf, USAGE_COLUMNS, usageOf } from "../requests/counts.js";
import { VERSION_OF_BATCH } from "../pipelines/definitions.js";
import { forgetLines } from "./in-flight.js";
import { takeBack } from "../requests/queue.js";
import { IS_UNDERSTOOD } from "../ledger/understood.js";

export type { BatchFields, CancelWish };

export interface ResultsRead {
  readonly lines: number;
  /** Lines about no request of the batch. */
  readonly unknown: number;
  /** Requests that they did not name. */
  readonly missing: number;
}

interface BatchBase {
  readonly id: string;
  /** Its short name, in tables with a row per request. */
  readonly no: number;
  readonly pipelineId: number;
  readonly pipeline: string;
  readonly definitionHash: string;
  /** The version of the pipeline's config with that hash. Null: it is not known. */
  readonly version: number | null;
  readonly provider: string;
  readonly account: string;
  readonly model: string;
  readonly endpoint: string;
  /** As planned: every cost of the batch is computed from them. */
  readonly rates: Rates;
  /** The most tokens of each of its answers; null: not rendered yet, or each line has its own. */
  readonly room: number | null;
  /** While planned, how many are queued for it; then how many entered it. */
  readonly requests: number;
  /** Of them: those that share the line of an equal one. */
  readonly sharing: number;
  readonly reservedNanoUsd: number;
  readonly reservedTokens: number;
  readonly data: ProviderData;
  /** Age of a create that may be on its way; null: certainly none is. */
  readonly createIntentAgoMs: number | null;
  readonly creates: number;
  readonly providerStatus: string | null;
  readonly providerCounts: { total: number; completed: number; failed: number } | null;
  /** Its provider batch is not proved to be ours. */
  readonly presumed: boolean;
  /** What is missing was reported: after `rowmill resume` it counts as gone. */
  readonly told: boolean;
  /** Why the provider refused the input: its requests are being ended. */
  readonly refusal: readonly BatchInputError[] | null;
  readonly downloads: number;
  /** Set once the results are not needed any more: the remaining answers are kept in the ledger. */
  readonly resultsRead: ResultsRead | null;
  /** Some of its answers are kept in the ledger until their rows can be written. */
  readonly keepsAnswers: boolean;
  readonly polls: number;
  readonly failures: number;
  /** Of an adopted batch, how other code named its requests; null: the batch is our own. */
  readonly adoptedPattern: string | null;
  /** A lost state of this ledger created it, under our own names. */
  readonly recovered: boolean;
  /** Its files and its provider batch belong to another database too: never deleted, never cancelled. */
  readonly shared: boolean;
  /** The account of its last worker, if that is not the batch's. */
  readonly heldFor: string | null;
  /** You want it cancelled; null: you do not. */
  readonly cancel: CancelWish | null;
}

/** What was rendered for it. */
interface Sent {
  readonly lines: number;
  readonly spoolBytes: number;
}

interface Spool extends Sent {
  readonly spoolSha256: string;
}

export type Batch =
  | (BatchBase & { readonly state: "planned" })
  | (BatchBase & Spool & { readonly state: "uploading" })
  | (BatchBase & Spool & { readonly state: "submitting" })
  | (BatchBase & Sent & { readonly state: "running"; readonly providerBatchId: string })
  | (BatchBase & Sent & { readonly state: "collecting"; readonly providerBatchId: string })
  | (BatchBase & { readonly state: "settled" | "rejected" | "cancelled" });

interface BatchRecord extends Omit<BatchBase, "rates" | "data"> {
  data: Partial<ProviderData>;
  price: Price | null;
  batchFactor: number;
  state: BatchState;
  lines: number | null;
  spoolBytes: string | null;
  spoolSha256: string | null;
  providerBatchId: string | null;
}

const CANCEL = sql`case
  when b.cancel_wanted_at is not null
    then json_build_object('drops', b.cancel_drops, 'asked', b.cancel_asked_at is not null) end`;

const COLUMNS = sql`b.id, b.no, b.pipeline_id as "pipelineId", p.name as pipeline, b.state,
  b.definition_hash as "definitionHash", ${VERSION_OF_BATCH} as version, b.provider, b.account, b.model, b.endpoint,
  b.price, b.batch_factor::float8 as "batchFactor", b.room, b.requests, b.sharing, b.lines,
  b.spool_bytes as "spoolBytes", b.spool_sha256 as "spoolSha256", b.reserved_nano_usd::float8 as "reservedNanoUsd",
  b.reserved_tokens::float8 as "reservedTokens", b.provider_data as data, b.presumed,
  b.told_at is not null as told,
  (extract(epoch from clock_timestamp() - b.create_intent_at) * 1000)::float8 as "createIntentAgoMs",
  b.creates, b.provider_batch_id as "providerBatchId", b.provider_status as "providerStatus",
  b.provider_counts as "providerCounts", b.provider_errors as refusal, b.downloads,
  b.results_read as "resultsRead",
  exists (select 1 from rowmill.kept_answers k where k.batch = b.no) as "keepsAnswers", b.polls, b.failures,
  b.adopted_pattern as "adoptedPattern", b.recovered, b.shared, b.held_for as "heldFor", ${CANCEL} as cancel`;
const FROM = sql`rowmill.batches b join rowmill.pipelines p on p.id = b.pipeline_id`;

/** The table's CHECK constraints guarantee what this requires. */
function toBatch(row: BatchRecord): Batch {
  const { state, lines, spoolBytes, spoolSha256, providerBatchId, price, batchFactor, data, ...rest } = row;
  const base = { ...rest, data: { ...NO_DATA, ...data }, rates: { price, batchFactor } };
  if (state === "planned" || state === "settled" || state === "rejected" || state === "cancelled")
    return { ...base, state };
  if (lines === null || spoolBytes === null) throw new Error(`Batch ${row.id} is ${state} without a file.`);
  const sent = { lines, spoolBytes: Number(spoolBytes) };
  if (state === "running" || state === "collecting") {
    if (providerBatchId === null) throw new Error(`Batch ${row.id} is ${state} without a provider batch.`);
    return { ...base, ...sent, state, providerBatchId };
  }
  if (spoolSha256 === null) throw new Error(`Batch ${row.id} is ${state} without a spool file.`);
  return { ...base, ...sent, spoolSha256, state };
}

export interface PlannedBatch {
  readonly id: string;
  readonly no: number;
  readonly pipelineId: number;
  readonly definitionHash: string;
  readonly provider: string;
  readonly account: string;
  readonly model: string;
  readonly endpoint: string;
  readonly windowHours: number;
  readonly rates: Rates;
  readonly requests: number;
  readonly reservedNanoUsd: number;
  readonly reservedTokens: number;
  readonly runId: string | null;
  readonly because: string;
}

export async function nextNumber(tx: Queryable): Promise<number> {
  const no = await tx.value<number>(sql`select nextval(pg_get_serial_sequence('rowmill.batches', 'no'))::int`);
  if (no === null) throw new Error("The sequence of batches gave no number.");
  return no;
}

export async function insertPlanned(tx: Queryable, batch: PlannedBatch): Promise<void> {
  await tx.run(sql`
    insert into rowmill.batches (id, no, pipeline_id, state, definition_hash, provider, account, model, endpoint,
      price, batch_factor, requests, reserved_nano_usd, reserved_tokens, window_hours, run_id)
    overriding system value
    values (${batch.id}, ${batch.no}, ${batch.pipelineId}, 'planned', ${batch.definitionHash}, ${batch.provider},
      ${batch.account}, ${batch.model}, ${batch.endpoint}, ${ratesValues(batch.rates)}, ${batch.requests},
      ${batch.reservedNanoUsd}, ${batch.reservedTokens}, ${batch.windowHours}, ${batch.runId})`);
  await addBatchEvent(tx, batch.id, { from: null, to: "planned", reason: batch.because });
}

/** The columns `price` and `batch_factor`. */
export function ratesValues({ price, batchFactor }: Rates): Sql {
  return sql`${price === null ? null : JSON.stringify(price)}::jsonb, ${batchFactor}::numeric`;
}

/** Null: it does not exist, or this Rowmill is too old for the ledger. */
export async function get(client: Reader, id: string): Promise<Batch | null> {
  const row = await client.first<BatchRecord>(sql`
    select ${COLUMNS}
    from ${FROM}
    where b.id = ${id} and ${IS_UNDERSTOOD}`);
  return row && toBatch(row);
}

/** The right to act on one batch for LEASE_MS; every write of its holder requires the token. */
export interface Lease {
  readonly batchId: string;
  readonly token: string;
}

export const LEASE_MS = 20_000;

/** Null: it is done, another worker holds it, or this Rowmill is too old for the ledger. */
export async function claim(
  client: Queryable,
  id: string,
  holder: { token: string; worker: string },
): Promise<Batch | null> {
  const won = await client.run(sql`
    update rowmill.batches
    set lease_token = ${holder.token}, lease_worker = ${holder.worker}, lease_until = ${leaseEnd()}
    where id = ${id}
      and settled_at is null
      and (lease_until is null or lease_until < clock_timestamp())
      and ${IS_UNDERSTOOD}`);
  // The statement may have waited for a migration, and judged by what it saw before: `get` checks again.
  return won === 0 ? null : get(client, id);
}

function leaseEnd(): Sql {
  return sql`clock_timestamp() + make_interval(secs => ${LEASE_MS / 1000})`;
}

/** Those of the tokens that still hold. */
export async function renew(client: Queryable, tokens: readonly string[]): Promise<string[]> {
  return client.column<string>(sql`
    update rowmill.batches
    set lease_until = ${leaseEnd()}
    where id in (
      -- A row that a running chunk has locked is skipped: waiting could cost the others their leases.
      select id
      from rowmill.batches
      where lease_token = any(${tokens}::uuid[]) and lease_until > clock_timestamp()
      for update skip locked)
    returning lease_token as token`);
}

/** 0: it is free; null: the batch is done. */
export async function leaseLeftMs(client: Reader, id: string): Promise<number | null> {
  return client.value<number>(sql`
    select greatest(0, extract(epoch from lease_until - clock_timestamp()) * 1000)::float8 as left
    from rowmill.batches
    where id = ${id} and settled_at is null`);
}

/**
 * Locks the batch for this transaction if the lease still holds, and renews it, because the keeper's renewals skip a
 * locked batch. Every write of a stage begins with it. `under`: only while the pipeline has this definition, which is
 * then locked, before the batch, until the transaction ends.
 */
export async function holds(
  tx: Queryable,
  lease: Lease,
  under: { readonly id: number; readonly definitionHash: string } | null = null,
): Promise<boolean> {
  const [kept, isKept] =
    under === null
      ? [sql``, sql`where`]
      : [
          sql`
            with kept as materialized (
              select definition_hash as hash
              from rowmill.pipelines
              where id = ${under.id}
              for key share)`,
          sql`from kept where kept.hash = ${under.definitionHash} and`,
        ];
  const held = await tx.run(sql`${kept} update rowmill.batches b set lease_until = ${leaseEnd()} ${isKept}
    b.id = ${lease.batchId} and b.lease_token = ${lease.token} and b.lease_until > clock_timestamp()`);
  return held > 0;
}

export interface Release {
  readonly delayMs: number;
  readonly failures: number;
  readonly heldFor?: string;
  /** What failed. */
  readonly trouble?: string;
  /** What the holder knew last: a newer wish makes the next step due at once. Absent: the holder does not cancel. */
  readonly cancel?: CancelWish | null;
}

/** Gives the batch back. Returns after how many milliseconds its next step is due. */
export async function release(client: Queryable, lease: Lease, next: Release): Promise<number> {
  const { cancel } = next;
  const isNewer =
    cancel === undefined
      ? sql`false`
      : sql`(cancel_wanted_at is not null, cancel_drops) is distinct from (${cancel !== null}::boolean,
          ${cancel?.drops ?? false}::boolean)`;
  const row = await client.first<{ newer: boolean }>(sql`
    update rowmill.batches
    set lease_token = null, lease_until = null, lease_worker = null, failures = ${next.failures},
      held_for = ${next.heldFor ?? null}, ${troubleAfter(next)},
      next_at = clock_timestamp() + make_interval(secs => case
        when ${isNewer} then 0
        else ${next.delayMs / 1000}::float8 end)
    where id = ${lease.batchId}
      and lease_token = ${lease.token}
    returning ${isNewer} as newer`);
  return row?.newer === true ? 0 : next.delayMs;
}

/** Writes fields under the lease, without a move. False: the lease is lost. */
export async function update(client: Queryable, lease: Lease, fields: BatchFields): Promise<boolean> {
  const written = await client.run(sql`
    update rowmill.batches
    set ${assignments(fields)}
    where id = ${lease.batchId} and lease_token = ${lease.token} and lease_until > clock_timestamp()`);
  return written > 0;
}

export interface BatchMoveRequest {
  readonly batch: Pick<Batch, "id" | "no" | "state">;
  readonly event: BatchEvent;
  readonly reason: string;
  readonly fields?: BatchFields;
  readonly detail?: Json;
}

/** False: the lease is lost, or another worker moved the batch. A move that ends it frees what was reserved. */
export async function move(tx: Queryable, lease: Lease, wanted: BatchMoveRequest): Promise<boolean> {
  const { batch, event, reason, fields = {}, detail } = wanted;
  const to = moveBatch(batch.state, event);
  const written = await tx.run(sql`
    update rowmill.batches
    set state = ${to}, polls = 0, ${stamps(to)} ${assignments(fields)}
    where id = ${batch.id}
      and state = ${batch.state}
      and lease_token = ${lease.token}
      and lease_until > clock_timestamp()`);
  if (written === 0) return false;
  if (batch.state === "planned") await takeBack(tx, batch.no);
  if (isEnd(to)) await forgetLines(tx, batch.no);
  await addBatchEvent(tx, batch.id, { from: batch.state, to, reason, ...(detail === undefined ? {} : { detail }) });
  return true;
}

function isEnd(to: BatchState): boolean {
  return to === "settled" || to === "rejected" || to === "cancelled";
}

function stamps(to: BatchState): Sql {
  // Tokens are free when the provider is done, money when the answers are counted.
  if (to === "collecting") return sql`provider_done_at = now(), reserved_tokens = 0,`;
  const untold = sql`told_at = null,`;
  if (to === "running") return sql`${untold} submitted_at = coalesce(submitted_at, now()), create_intent_at = null,`;
  if (isEnd(to))
    return sql`${untold} settled_at = now(), reserved_nano_usd = 0, reserved_tokens = 0, create_intent_at = null,
      (${USAGE_COLUMNS}) = ${usageOf(sql`no`)},
      requests = case when state = 'planned' then ${endedOf(sql`no`)} else requests end,
      sharing = case
        when state = 'planned' then (
          select count(*) from rowmill.named_lines l where l.batch = batches.no and l.sharing)
        else sharing end, `;
  return untold;
}

export async function addBatchEvent(
  client: Queryable,
  id: string,
  event: { from: BatchState | null; to: BatchState; reason: string; detail?: Json },
): Promise<void> {
  await client.run(sql`
    insert into rowmill.batch_events (batch_id, from_state, to_state, reason, detail)
    values (${id}, ${event.from}, ${event.to}, ${storableText(event.reason)},
      ${event.detail === undefined ? null : JSON.stringify(event.detail)}::jsonb)`);
}

/** Ids of unfinished batches that are due and free. */
export async function due(client: Queryable, limit: number): Promise<string[]> {
  return client.column<string>(sql`
    select id
    from rowmill.batches
    where settled_at is null
      and next_at <= clock_timestamp()
      and (lease_until is null or lease_until < clock_timestamp())
    order by next_at
    limit ${limit}`);
}

export async function countUnfinished(client: Queryable, pipelineIds: readonly number[]): Promise<number> {
  return client.number(sql`
    select count(*)::int as count
    from rowmill.batches
    where settled_at is null and pipeline_id = any(${pipelineIds}::int[])`);
}
