/**
 * Where each pipeline's sweep stands: one row a pipeline. The holder of the sweep's advisory lock does the next
 * chunk. The row is written only at the end of a transaction, after the intake lock: intake and sweeper take both in
 * one order, and neither waits for a whole chunk of the other.
 */
import { sql, type Queryable, type Reader } from "../../postgres/database.js";

export type SweepPhase = "idle" | "source" | "definition" | "ledger";

/** Decide when the next one is due. */
export interface SweepFacts {
  readonly wanted: boolean;
  /** Wanted only for a count, so not urgent. */
  readonly mayRest: boolean;
  readonly phase: SweepPhase;
  readonly sweptHash: string | null;
  /** Age of the last complete sweep; null: there was none. */
  readonly finishedAgoMs: number | null;
  readonly lastedMs: number | null;
}

export interface SweepRow extends SweepFacts {
  readonly pipelineId: number;
  readonly cursor: string[] | null;
  /** The newest request when it began. */
  readonly lastRequestId: string;
  /** `metHash` of the requests up to that one whose rows it met so far. */
  readonly met: string;
  readonly definitionHash: string | null;
  readonly rowsSeen: number;
  readonly keysFound: number;
}

/** Arbitrary: the class of the sweeps' advisory locks. */
const SWEEP_LOCK = 726_974;

const KEYLESS_REASON = "rows without a key";

/** Of a row of rowmill.sweeps: the fields of SweepFacts. */
export const SWEEP_FACTS = sql`wanted_at is not null as wanted,
  coalesce(wanted_reason = ${KEYLESS_REASON}, false) as "mayRest", phase, swept_hash as "sweptHash",
  (extract(epoch from now() - finished_at) * 1000)::float8 as "finishedAgoMs",
  (extract(epoch from finished_at - started_at) * 1000)::float8 as "lastedMs"`;

/** Null: another worker does this sweep. Created when missing. */
export async function lockSweep(tx: Queryable, pipelineId: number): Promise<SweepRow | null> {
  const locked = await tx.value<boolean>(sql`
    select pg_try_advisory_xact_lock(${SWEEP_LOCK}::int, ${pipelineId}::int)`);
  if (locked !== true) return null;
  // After the lock, so that it sees what the last holder wrote.
  const row = await readSweep(tx, pipelineId);
  if (row !== null) return row;
  await tx.run(sql`
    insert into rowmill.sweeps (pipeline_id, wanted_at, wanted_reason)
    values (${pipelineId}, now(), 'first')
    on conflict do nothing`);
  return readSweep(tx, pipelineId);
}

function readSweep(tx: Queryable, pipelineId: number): Promise<SweepRow | null> {
  return tx.first<SweepRow>(sql`
    select ${SWEEP_FACTS}, pipeline_id as "pipelineId", cursor, definition_hash as "definitionHash",
      last_request_id::text as "lastRequestId", met::text as met, rows_seen::int as "rowsSeen",
      keys_found::int as "keysFound"
    from rowmill.sweeps
    where pipeline_id = ${pipelineId}`);
}

/**
 * While a sweep runs, another one will follow. `agoMs`: a sweep that began since then is enough; by default none is.
 */
export async function wantSweep(client: Queryable, pipelineId: number, reason: string, agoMs = 0): Promise<void> {
  await client.run(sql`
    insert into rowmill.sweeps (pipeline_id, wanted_at, wanted_reason)
    values (${pipelineId}, clock_timestamp(), ${reason})
    on conflict (pipeline_id) do update
    set wanted_at = excluded.wanted_at, wanted_reason = excluded.wanted_reason
    where sweeps.started_at is null
      or sweeps.started_at <= clock_timestamp() - make_interval(secs => ${agoMs / 1000})`);
}

/** Rows that no key names were written or left: only a sweep counts them. What else wants one comes first. */
export async function wantKeylessCount(client: Queryable, pipelineId: number): Promise<void> {
  await client.run(sql`
    insert into rowmill.sweeps (pipeline_id, wanted_at, wanted_reason)
    values (${pipelineId}, clock_timestamp(), ${KEYLESS_REASON})
    on conflict (pipeline_id) do update
    set wanted_at = excluded.wanted_at, wanted_reason = coalesce(sweeps.wanted_reason, excluded.wanted_reason)`);
}

/** `definitionHash`: compare fingerprints for it too; null: presence and content only. */
export async function startSweep(tx: Queryable, pipelineId: number, definitionHash: string | null): Promise<void> {
  await tx.run(sql`
    update rowmill.sweeps
    set phase = case when ${definitionHash}::text is null then 'source' else 'definition' end, cursor = null,
      last_request_id = case
        when exists (select from rowmill.requests where pipeline_id = ${pipelineId}) then (
          select max(id) from rowmill.requests)
        else 0 end,
      met = 0, definition_hash = ${definitionHash}, wanted_at = null, wanted_reason = null, rows_seen = 0,
      keys_found = 0, started_at = now(), finished_at = null
    where pipeline_id = ${pipelineId}`);
}

export interface SweepStep {
  readonly phase: SweepPhase;
  readonly cursor: readonly string[] | null;
  readonly rows: number;
  readonly keys: number;
  readonly met: string;
}

export async function advanceSweep(tx: Queryable, pipelineId: number, step: SweepStep): Promise<void> {
  await tx.run(sql`
    update rowmill.sweeps
    set phase = ${step.phase}, cursor = ${step.cursor === null ? null : JSON.stringify(step.cursor)}::jsonb,
      rows_seen = rows_seen + ${step.rows}, met = ${step.met}::bigint, keys_found = keys_found + ${step.keys},
      swept_hash = case when ${step.phase} = 'idle' then coalesce(definition_hash, swept_hash) else swept_hash end,
      finished_at = case when ${step.phase} = 'idle' then clock_timestamp() end
    where pipeline_id = ${pipelineId}`);
}

/** Whether a complete sweep compared every row under this definition. */
export async function isSwept(client: Reader, pipelineId: number, definitionHash: string): Promise<boolean> {
  const row = await client.first<{ swept: boolean }>(sql`
    select coalesce(swept_hash = ${definitionHash}, false) as swept
    from rowmill.sweeps
    where pipeline_id = ${pipelineId}`);
  return row?.swept ?? false;
}

export async function isSweepPending(client: Queryable, pipelineId: number): Promise<boolean> {
  const row = await client.first<{ pending: boolean }>(sql`
    select phase <> 'idle' or wanted_at is not null as pending
    from rowmill.sweeps
    where pipeline_id = ${pipelineId}`);
  return row?.pending ?? true;
}

/** The next sweep compares every answered row with the definition; one that is under way begins again. */
export async function sweepAgain(tx: Queryable, pipelineId: number): Promise<void> {
  await tx.run(sql`
    update rowmill.sweeps
    set swept_hash = null, phase = 'idle', cursor = null, definition_hash = null, finished_at = clock_timestamp()
    where pipeline_id = ${pipelineId}`);
}
