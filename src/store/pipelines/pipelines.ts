/** Pipelines as registered in the database: definition, approval, pauses, flushes. Each change leaves an event. */
import type { Json } from "../../model/pipeline.js";
import { recordDefinition } from "./definitions.js";
import { storableText } from "../../model/words/storable-text.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { SUSPICION_VALUE } from "../ledger/deployment.js";
import { sweepAgain } from "../requests/sweeps.js";

/**
 * `person`: you ran `rowmill pause`. The others are Rowmill's, with what to do in their reason. `deployment`: the
 * ledger may be a copy, which overrides each pipeline's own pause.
 */
export type PauseKind =
  "person" | "budget" | "account" | "provider" | "source" | "target" | "deployment" | "answers" | "deletions";

export interface Pause {
  readonly kind: PauseKind;
  /** For display: what happened and what to do. */
  readonly reason: string;
}

export interface PipelineRow {
  readonly id: number;
  readonly name: string;
  readonly definitionHash: string;
  readonly approvedHash: string | null;
  readonly estimate: Json;
  readonly sourceSignature: string | null;
  readonly installedSnapshot: string | null;
  readonly pauseKind: PauseKind | null;
  readonly pauseReason: string | null;
  readonly flushAt: Date | null;
  readonly uninstalledAt: Date | null;
}

/** Of a row of rowmill.pipelines, as it holds now. */
export const PAUSE_KIND_VALUE = sql`case when ${SUSPICION_VALUE} is null then pause_kind else 'deployment' end`;
export const PAUSE_REASON_VALUE = sql`coalesce(${SUSPICION_VALUE}, pause_reason)`;

const COLUMNS = sql`id, name, definition_hash as "definitionHash", approved_hash as "approvedHash", estimate,
  source_signature as "sourceSignature", installed_snapshot::text as "installedSnapshot",
  ${PAUSE_KIND_VALUE} as "pauseKind", ${PAUSE_REASON_VALUE} as "pauseReason", flush_at as "flushAt",
  uninstalled_at as "uninstalledAt"`;

export interface Registration {
  readonly name: string;
  readonly definition: Json;
  /** The same without functions, with all that is needed to judge its answers later. */
  readonly version: Json;
  readonly answer: Json;
  readonly definitionHash: string;
  readonly sourceTable: string;
  readonly sourceOid: number;
  readonly targetTable: string;
  /** What the config says about rows that were answered under the previous definition. */
  readonly onChange: "undecided" | "reask" | "newOnly" | "keep";
}

/** Creates or changes the pipeline. A changed definition needs approval and a sweep, a changed price approval. */
export async function register(tx: Queryable, wanted: Registration): Promise<PipelineRow> {
  const definition = JSON.stringify(wanted.definition);
  const before = await tx.first<Registered>(sql`
    select id, definition_hash as hash, approved_hash is not null as approved, change_decision as decision,
      (definition ->> 'price') is distinct from (${definition}::jsonb ->> 'price') as repriced
    from rowmill.pipelines
    where name = ${wanted.name}
    for update`);
  if (before?.repriced && before.approved)
    await withdrawApproval(tx, before.id, "request.price changed, and with it what the rows cost");
  // Answers to the previous definition say nothing about this one.
  if (before && before.hash !== wanted.definitionHash) await resume(tx, before.id, "answers", { forget: false });
  const row = await tx.first<PipelineRow>(sql`
    insert into rowmill.pipelines as p (name, definition, definition_hash, source_table, source_oid, target_table)
    values (${wanted.name}, ${definition}::jsonb, ${wanted.definitionHash}, ${wanted.sourceTable},
      ${wanted.sourceOid}::oid, ${wanted.targetTable})
    on conflict (name) do update
    set definition = excluded.definition, definition_hash = excluded.definition_hash,
      -- Learned at the previous price.
      line_nano_usd_max = case
        when p.definition_hash = excluded.definition_hash
          and ${!before?.repriced}::boolean then p.line_nano_usd_max
        else 0 end,
      source_table = excluded.source_table, source_oid = excluded.source_oid,
      target_table = excluded.target_table, uninstalled_at = null,
      change_decision = case
        when p.definition_hash <> excluded.definition_hash then ${wanted.onChange}
        when p.change_decision = 'undecided' then ${wanted.onChange}
        else p.change_decision end,
      change_previous_hash = case
        when p.definition_hash = excluded.definition_hash then p.change_previous_hash
        else p.definition_hash end,
      change_rows = case when p.definition_hash = excluded.definition_hash then p.change_rows end
    returning ${COLUMNS}`);
  if (!row) throw new Error(`The pipeline ${wanted.name} was not registered.`);
  const { version: says, answer, definitionHash: hash } = wanted;
  await recordDefinition(tx, row.id, { hash, says, answer, previousHash: before?.hash ?? null });
  if (before?.hash !== wanted.definitionHash) await addEvent(tx, row.id, { event: before ? "changed" : "created" });
  if (before?.decision === "undecided" && wanted.onChange !== "undecided" && before.hash === wanted.definitionHash)
    await sweepAgain(tx, row.id);
  return row;
}

interface Registered {
  readonly id: number;
  readonly hash: string;
  readonly repriced: boolean;
  readonly approved: boolean;
  readonly decision: Registration["onChange"] | null;
}

export async function all(client: Queryable): Promise<PipelineRow[]> {
  return client.rows<PipelineRow>(sql`select ${COLUMNS} from rowmill.pipelines order by name`);
}

export async function byId(client: Reader, id: number): Promise<PipelineRow | null> {
  return client.first<PipelineRow>(sql`select ${COLUMNS} from rowmill.pipelines where id = ${id}`);
}

export async function byName(client: Reader, name: string): Promise<PipelineRow | null> {
  return client.first<PipelineRow>(sql`select ${COLUMNS} from rowmill.pipelines where name = ${name}`);
}

/** First in the lock order: pipeline, batch, requests, target. */
export async function lock(tx: Queryable, id: number): Promise<PipelineRow | null> {
  return tx.first<PipelineRow>(sql`
    select ${COLUMNS}
    from rowmill.pipelines
    where id = ${id}
    for no key update`);
}

/** Keeps the definition until this transaction ends: only `register` waits. Null: no such pipeline. */
export async function keepDefinition(tx: Queryable, id: number): Promise<string | null> {
  return tx.value<string>(sql`
    select definition_hash as hash
    from rowmill.pipelines
    where id = ${id}
    for key share`);
}

/** One intake or sweeper chunk of a pipeline at a time. A separate statement, so that the next one sees newer data. */
export async function lockIntake(tx: Queryable, id: number): Promise<void> {
  await tx.run(sql`select pg_advisory_xact_lock(${INTAKE_LOCK}::int, ${id}::int)`);
}

/** Without waiting; false: another worker holds it. */
export async function tryLockIntake(tx: Queryable, id: number): Promise<boolean> {
  const locked = await tx.value<boolean>(sql`select pg_try_advisory_xact_lock(${INTAKE_LOCK}::int, ${id}::int)`);
  return locked === true;
}

/** Arbitrary: the class of the intake's advisory locks. */
const INTAKE_LOCK = 726_973;

export async function recordInstallation(
  tx: Queryable,
  id: number,
  installed: { signature: string; snapshot: string | null },
): Promise<void> {
  await tx.run(sql`
    update rowmill.pipelines
    set source_signature = ${installed.signature},
      installed_snapshot = coalesce(installed_snapshot, ${installed.snapshot}::pg_snapshot)
    where id = ${id}`);
}

/** An existing pause stays: its reason is the one to fix first. True: this call paused it. */
export async function pause(client: Queryable, id: number, why: Pause): Promise<boolean> {
  const reason = storableText(why.reason);
  const changed = await client.run(sql`
    update rowmill.pipelines
    set pause_kind = ${why.kind}, pause_reason = ${reason}, paused_at = now()
    where id = ${id} and pause_kind is null`);
  if (changed > 0) await addEvent(client, id, { event: "paused", reason });
  return changed > 0;
}

/** True: it was paused. `onlyKind`: other pauses stay. `forget`: earlier answers no longer count. */
export async function resume(
  client: Queryable,
  id: number,
  onlyKind?: PauseKind,
  { forget }: { forget: boolean } = { forget: true },
): Promise<boolean> {
  const changed = await client.run(sql`
    update rowmill.pipelines
    set pause_kind = null, pause_reason = null, paused_at = null,
      answers_since = case
        when pause_kind = 'answers' and ${forget}::boolean then clock_timestamp()
        else answers_since end
    where id = ${id}
      and pause_kind is not null
      and (${onlyKind ?? null}::text is null or pause_kind = ${onlyKind ?? null}::text)`);
  if (changed > 0) await addEvent(client, id, { event: "resumed" });
  return changed > 0;
}

export async function recordEstimate(client: Queryable, id: number, estimate: Json): Promise<void> {
  await client.run(sql`
    update rowmill.pipelines
    set estimate = ${JSON.stringify(estimate)}::jsonb
    where id = ${id}`);
}

/** Approves the definition that was estimated, not the current one. */
export async function approve(
  client: Queryable,
  id: number,
  approved: { definitionHash: string; by: string; account: string },
): Promise<boolean> {
  const changed = await client.run(sql`
    update rowmill.pipelines
    set approved_hash = ${approved.definitionHash}, approved_account = ${approved.account}
    where id = ${id}
      and definition_hash = ${approved.definitionHash}
      and approved_hash is distinct from ${approved.definitionHash}`);
  if (changed > 0) await addEvent(client, id, { event: "approved", reason: approved.by });
  return changed > 0;
}

/** The cost has changed since the approval. */
export async function withdrawApproval(client: Queryable, id: number, reason: string): Promise<void> {
  await client.run(sql`update rowmill.pipelines set approved_hash = null, estimate = null where id = ${id}`);
  await addEvent(client, id, { event: "approval needed", reason });
}

/** Earlier answers no longer count, and a pause for them ends. */
export async function forgetAnswers(client: Queryable, id: number): Promise<void> {
  await resume(client, id, "answers");
  await client.run(sql`update rowmill.pipelines set answers_since = clock_timestamp() where id = ${id}`);
}

/** An approval for a server over HTTP, as the demo's, does not hold over HTTPS: there the same rows cost money. */
export async function withdrawLocalApproval(client: Queryable, id: number, account: string): Promise<void> {
  if (!account.startsWith("https:")) return;
  const row = await client.first(sql`
    select 1 as one
    from rowmill.pipelines
    where id = ${id} and approved_hash is not null and starts_with(approved_account, 'http:')
    for update`);
  if (row !== null) await withdrawApproval(client, id, "it was approved for a server by plain HTTP");
}

/** All that waits now goes out next, whatever threshold and deadline say. */
export async function requestFlush(client: Queryable, id: number): Promise<void> {
  await client.run(sql`update rowmill.pipelines set flush_at = clock_timestamp() where id = ${id}`);
}

/** After this, later arrivals no longer prolong a flush: a steady stream never ends. */
const FLUSH_SECONDS_MAX = 10;

/** A flush is over when everything that had arrived by then is on its way. */
export async function clearSpentFlush(client: Queryable, id: number): Promise<void> {
  await client.run(sql`
    update rowmill.pipelines p
    set flush_at = null
    where id = ${id}
      and flush_at is not null
      and not exists (
        select 1
        from rowmill.arrivals a
        where a.pipeline_id = p.id and (a.arrived_at <= p.flush_at or p.flush_at > ${tooOld()}))
      and not exists (
        select 1
        from rowmill.queue w
        where w.pipeline_id = p.id
          and w.batch is null
          and w.not_before <= now()
          and (w.since <= p.flush_at or p.flush_at > ${tooOld()}))`);
}

function tooOld(): Sql {
  return sql`clock_timestamp() - make_interval(secs => ${FLUSH_SECONDS_MAX})`;
}

export async function addEvent(
  client: Queryable,
  id: number,
  event: { event: string; reason?: string; detail?: Json },
): Promise<void> {
  await client.run(sql`
    insert into rowmill.pipeline_events (pipeline_id, event, reason, detail)
    values (${id}, ${event.event}, ${event.reason ?? null},
      ${event.detail === undefined ? null : JSON.stringify(event.detail)}::jsonb)`);
}

/** Waiting retries, which no `limit` holds back. */
export async function countWaitingAgain(client: Queryable, id: number): Promise<number> {
  return client.number(sql`
    select count(distinct r.id)::int as count
    from rowmill.queue q
    cross join unnest(q.ids) x (id)
    join rowmill.requests r on r.id = x.id and r.state = 'waiting' and r.attempt > 0
    where q.pipeline_id = ${id} and q.batch is null`);
}
