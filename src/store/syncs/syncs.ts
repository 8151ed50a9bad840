/**
 * How far the reading of a source elsewhere is. One worker at a time reads, under a lease; a page is committed with its
 * place, so that a crash repeats at most one. A write of a lost lease changes nothing.
 */
import { randomUUID } from "node:crypto";
import type { Json } from "../../model/pipeline.js";
import { goneWith, needsPerson, nextPass, type ByHour } from "../../model/sync-pass.js";
import { storableText } from "../../model/words/storable-text.js";
import { sql, type Database, type Queryable, type Reader } from "../../postgres/database.js";
import * as writeBacks from "../deliveries/write-backs.js";
import * as pipelines from "../pipelines/pipelines.js";
import * as pushes from "../replicas/pushes.js";
import { lockShared, replicaOf } from "../replicas/replicas.js";
import * as seenRows from "./seen-rows.js";

/** Longer than the longest page takes. */
const LEASE_MS = 180_000;
const HOUR_MS = 3_600_000;

export interface SyncLease {
  readonly pipeline: string;
  readonly token: string;
}

export interface Turn extends SyncLease {
  readonly phase: "reading" | "deleting";
  readonly isFull: boolean;
  readonly place: Json;
  readonly mark: Json;
  /** Of the columns that its rows have. */
  readonly generation: number;
  /** How long it may read before a pass over all rows is due. */
  readonly readMsMax: number;
}

interface SyncRow {
  readonly phase: "idle" | "reading" | "deleting";
  readonly isFull: boolean;
  readonly place: Json;
  readonly mark: Json;
  readonly fullMs: number | null;
  readonly goneMs: number | null;
  readonly definition: string | null;
  readonly fullWanted: boolean;
  readonly failures: number;
  readonly waitMs: number;
  readonly leaseMs: number;
}

/** Milliseconds until there may be something to do: its next pass, or the end of another worker's lease. */
export interface NotYet {
  readonly waitMs: number;
}

/**
 * Takes the lease, and begins a pass if none is under way. `reads`: what is read; a pass over something else is given
 * up. A worker that does not know that it has the lease, because the
 * reply was lost, takes it again: it makes one pass of a pipeline at a time.
 */
export async function begin(
  database: Database,
  pipeline: string,
  { reads, fullEveryMs, workerId }: { readonly reads: string; readonly fullEveryMs: number; readonly workerId: string },
): Promise<Turn | NotYet> {
  return database.transaction(async (tx) => {
    const replica = await replicaOf(tx, pipeline);
    if (replica === null || !replica.synced) return { waitMs: LEASE_MS };
    await tx.run(sql`insert into rowmill.syncs (pipeline) values (${pipeline}) on conflict do nothing`);
    const row = await lockRow(tx, pipeline, workerId);
    if (row === null) return { waitMs: 1_000 };
    if (row.leaseMs > 0 || row.waitMs > 0) return { waitMs: Math.max(row.leaseMs, row.waitMs) };
    const { phase, mark } = row;
    const { generation } = replica;
    const definition = `${generation} ${reads}`;
    const isSame = row.definition === definition;
    const next = nextPass({ ...row, hasMark: mark !== null, isFailing: row.failures > 0, isSame }, fullEveryMs);
    const token = randomUUID();
    await take(tx, { pipeline, token }, workerId);
    const isFull = next === "goOn" ? row.isFull : next === "full";
    const readMsMax = isFull ? Infinity : fullEveryMs - (row.fullMs ?? 0);
    const turn = { pipeline, token, isFull, mark, generation, readMsMax };
    if (next === "goOn" && phase !== "idle") return { ...turn, phase, place: row.place };
    if (!isSame) await redefine(tx, pipeline, { definition, isFirst: row.definition === null });
    await beginPass(tx, pipeline, isFull);
    if (isFull) await seenRows.makeSeen(tx, replica);
    return { ...turn, phase: "reading", place: null };
  });
}

function lockRow(tx: Queryable, pipeline: string, workerId: string): Promise<SyncRow | null> {
  return tx.first<SyncRow>(sql`
    select phase, is_full as "isFull", place, mark, full_wanted as "fullWanted", failures,
      definition,
      (extract(epoch from clock_timestamp() - full_began_at) * 1000)::float8 as "fullMs",
      (extract(epoch from clock_timestamp() - full_ended_at) * 1000)::float8 as "goneMs",
      greatest(0, extract(epoch from next_at - clock_timestamp()) * 1000)::float8 as "waitMs",
      case when lease_worker is distinct from ${workerId}::uuid
        then greatest(0, coalesce(extract(epoch from lease_until - clock_timestamp()) * 1000, 0))
        else 0 end::float8 as "leaseMs"
    from rowmill.syncs
    where pipeline = ${pipeline}
    for update skip locked`);
}

async function take(tx: Queryable, { pipeline, token }: SyncLease, workerId: string): Promise<void> {
  await tx.run(sql`
    update rowmill.syncs
    set lease_token = ${token}, lease_worker = ${workerId},
      lease_until = clock_timestamp() + make_interval(secs => ${LEASE_MS / 1_000})
    where pipeline = ${pipeline}`);
}

/** Forgets what earlier passes found, and the approval of its cost: neither holds for what is read now. */
async function redefine(
  tx: Queryable,
  pipeline: string,
  { definition, isFirst }: { readonly definition: string; readonly isFirst: boolean },
): Promise<void> {
  const row = isFirst ? null : await pipelines.byName(tx, pipeline);
  if (row !== null) await pipelines.withdrawApproval(tx, row.id, "its source reads something else now");
  await tx.run(sql`
    update rowmill.syncs
    set definition = ${definition}, mark = null, full_began_at = null, held = false, gone = 0, agreed = 0
    where pipeline = ${pipeline}`);
}

async function beginPass(tx: Queryable, pipeline: string, isFull: boolean): Promise<void> {
  await tx.run(sql`
    update rowmill.syncs
    set phase = 'reading', is_full = ${isFull}, place = null, next_mark = null, rows = 0, began_at = clock_timestamp(),
      full_wanted = full_wanted and not ${isFull}::boolean
    where pipeline = ${pipeline}`);
}

/** False: the lease is lost. Renews it. The row stays locked until the transaction ends. */
async function holds(tx: Queryable, { pipeline, token }: SyncLease): Promise<boolean> {
  const held = await tx.run(sql`
    update rowmill.syncs
    set lease_until = clock_timestamp() + make_interval(secs => ${LEASE_MS / 1_000})
    where pipeline = ${pipeline} and lease_token = ${token}`);
  return held > 0;
}

export interface PageWritten {
  readonly accepted: number;
  readonly refused: readonly pushes.RowProblem[];
  /** Rows that were not copied, because an answer was or is written into them; to be read again. */
  readonly heldBack: number;
}

/**
 * `rows`: the JSON text of each; `keys`: of rows that are there, and cannot be written; `readAt`: see `heldBack`. Null:
 * the lease is lost, or the table got a column of which this pass knows nothing: its rows would seem to have none.
 */
export async function writeRows(
  tx: Queryable,
  turn: Turn,
  {
    rows,
    keys,
    readAt,
  }: { readonly rows: readonly string[]; readonly keys: readonly string[]; readonly readAt: string | null },
): Promise<PageWritten | null> {
  const { pipeline } = turn;
  // Before the lease, as whatever changes or drops the table.
  await lockShared(tx, pipeline);
  if (!(await holds(tx, turn))) return null;
  const replica = await replicaOf(tx, pipeline);
  if (replica?.generation !== turn.generation) return null;
  const present = [...rows, ...keys];
  if (present.length === 0) return { accepted: 0, refused: [], heldBack: 0 };
  const held = readAt === null ? new Set() : await writeBacks.heldBack(tx, replica, { rows, readAt });
  const copied = rows.filter((_, place) => !held.has(place));
  const [pushed = pushes.NOTHING] = await pushes.pushTogether(tx, pipeline, [copied], { bySync: true });
  let back = 0;
  if (turn.isFull) await seenRows.note(tx, replica, present);
  else back = await seenRows.unmiss(tx, replica, present);
  await tx.run(sql`
    update rowmill.syncs
    set rows = rows + ${present.length}, gone = greatest(0, gone - ${back})
    where pipeline = ${pipeline}`);
  return { accepted: pushed.accepted, refused: pushed.problems, heldBack: held.size };
}

/** With the last rows of a page. `keep`: the mark of the pass before stays, because rows are to be read again. */
export async function setPlace(
  tx: Queryable,
  { pipeline }: SyncLease,
  { place, mark }: { readonly place: Json; readonly mark: "keep" | { readonly next: Json | undefined } },
): Promise<void> {
  const next = mark === "keep" ? null : (mark.next ?? null);
  await tx.run(sql`
    update rowmill.syncs
    set place = ${place === null ? null : JSON.stringify(place)}::json,
      next_mark = case
        when not ${mark === "keep"}::boolean
          then coalesce(${next === null ? null : JSON.stringify(next)}::json, next_mark) end
    where pipeline = ${pipeline}`);
}

interface BeforeEnd {
  readonly beganAt: string;
  readonly firstBeganAt: string | null;
  readonly byHour: ByHour;
  readonly agreed: number;
  readonly hour: number;
}

export interface PassEnd {
  readonly rows: number;
  /** Found gone by this pass. */
  readonly gone: number;
  readonly held: boolean;
}

/** The pass is complete. Null: the lease is lost. */
export async function endPass(
  tx: Queryable,
  turn: Turn,
  { everyMs, goneAtOnce }: { readonly everyMs: number; readonly goneAtOnce: boolean },
): Promise<PassEnd | null> {
  if (!(await holds(tx, turn))) return null;
  const { pipeline, isFull } = turn;
  const replica = await replicaOf(tx, pipeline);
  if (replica === null) return null;
  const rows = await tx.number(sql`select rows::float8 from rowmill.syncs where pipeline = ${pipeline}`);
  if (!isFull) {
    await tx.run(sql`
      update rowmill.syncs
      set phase = 'idle', mark = coalesce(next_mark, mark), ended_at = clock_timestamp(), ${rested(everyMs)}
      where pipeline = ${pipeline}`);
    return { rows, gone: 0, held: false };
  }
  const before = await tx.first<BeforeEnd>(sql`
    select began_at::text as "beganAt", full_began_at::text as "firstBeganAt", gone_by_hour as "byHour",
      agreed::float8 as agreed,
      floor(extract(epoch from clock_timestamp()) / ${HOUR_MS / 1_000})::float8 as hour
    from rowmill.syncs
    where pipeline = ${pipeline}`);
  if (before === null) return null;
  const { beganAt, hour } = before;
  const missedSince = goneAtOnce ? beganAt : before.firstBeganAt;
  const { gone, present } = await seenRows.compare(tx, replica, { beganAt, missedSince, goneAtOnce });
  const byHour = goneWith(before.byHour, { hour, rows: goneAtOnce ? 0 : gone });
  const held = !goneAtOnce && gone > before.agreed && needsPerson(byHour, present + gone);
  const deleting = gone > 0 && !held;
  await tx.run(sql`
    update rowmill.syncs
    set phase = ${deleting ? "deleting" : "idle"}, held = ${held}, gone = ${gone},
      agreed = case when ${deleting}::boolean then agreed else 0 end,
      gone_before = ${missedSince}::timestamptz,
      gone_by_hour = ${JSON.stringify(held ? before.byHour : byHour)}::jsonb,
      mark = coalesce(next_mark, mark), full_began_at = began_at, full_ended_at = clock_timestamp(),
      full_rows = ${rows}, ended_at = clock_timestamp(), ${rested(everyMs)}
    where pipeline = ${pipeline}`);
  return { rows, gone, held };
}

/** No trouble, and a pause until the next pass, unless you want one; rows that are gone are deleted at once. */
function rested(everyMs: number) {
  return sql`place = null, next_mark = null, trouble = null, trouble_since = null, failures = 0,
    next_at = clock_timestamp()
      + case when full_wanted then interval '0' else make_interval(secs => ${everyMs / 1_000}) end`;
}

/** Deletes some of the rows that are gone. False: none is left. Null: the lease is lost. */
export async function deleteGone(tx: Queryable, turn: Turn, rowsMax: number): Promise<boolean | null> {
  if (!(await holds(tx, turn))) return null;
  const { pipeline } = turn;
  const replica = await replicaOf(tx, pipeline);
  if (replica === null) return null;
  const before = await tx.value<string>(sql`select gone_before::text from rowmill.syncs where pipeline = ${pipeline}`);
  const taken = await seenRows.deleteGone(tx, replica, { before, rowsMax });
  if (taken > 0) return true;
  await tx.run(sql`update rowmill.syncs set phase = 'idle', gone = 0, agreed = 0 where pipeline = ${pipeline}`);
  return false;
}

export async function release(database: Database, { pipeline, token }: SyncLease): Promise<void> {
  await database.run(sql`
    update rowmill.syncs
    set lease_token = null, lease_until = null, lease_worker = null
    where pipeline = ${pipeline} and lease_token = ${token}`);
}

/** False: the lease is lost. */
export async function fail(
  database: Database,
  { pipeline, token }: SyncLease,
  { trouble, waitMs }: { readonly trouble: string; readonly waitMs: number },
): Promise<boolean> {
  const failed = await database.run(sql`
    update rowmill.syncs
    set trouble = ${storableText(trouble)}, trouble_since = coalesce(trouble_since, clock_timestamp()),
      failures = failures + 1, next_at = clock_timestamp() + make_interval(secs => ${waitMs / 1_000}),
      lease_token = null, lease_until = null, lease_worker = null
    where pipeline = ${pipeline} and lease_token = ${token}`);
  return failed > 0;
}

/** Its last attempt failed. */
export async function isFailing(client: Reader, pipeline: string): Promise<boolean> {
  return (await failuresOf(client, pipeline)) > 0;
}

/** You fixed it: the next attempt comes at once. */
export async function tryNow(tx: Queryable, pipeline: string): Promise<void> {
  await tx.run(sql`update rowmill.syncs set next_at = clock_timestamp() where pipeline = ${pipeline} and failures > 0`);
}

export async function failuresOf(client: Reader, pipeline: string): Promise<number> {
  return (await client.value<number>(sql`select failures from rowmill.syncs where pipeline = ${pipeline}`)) ?? 0;
}

/**
 * You want a pass now. False: rows are not read from elsewhere, or never were. `sinceMs`: a pass that began in the last
 * milliseconds is enough.
 */
export async function want(
  database: Database,
  pipeline: string,
  { full, sinceMs = 0 }: { readonly full: boolean; readonly sinceMs?: number },
): Promise<boolean> {
  const changed = await database.run(sql`
    update rowmill.syncs
    set full_wanted = full_wanted or ${full}::boolean, next_at = clock_timestamp()
    where pipeline = ${pipeline}
      and (began_at < clock_timestamp() - make_interval(secs => ${sinceMs / 1_000})) is not false`);
  return changed > 0;
}

/**
 * You agree that what is gone is deleted, now or, where it was found a while ago, if the next pass over all rows
 * does not meet it. Returns how many rows that were; `reading`: a pass is under way, which may find some of them again.
 */
export async function acceptDeletions(tx: Queryable, pipeline: string): Promise<number | "reading"> {
  const gone = await tx.value<number>(sql`
    update rowmill.syncs
    set held = false, phase = 'deleting', agreed = gone, gone_by_hour = '{}', next_at = clock_timestamp()
    where pipeline = ${pipeline} and held and phase = 'idle'
    returning gone::float8`);
  if (gone !== null) return gone;
  const isHeld = await tx.value<boolean>(sql`select held from rowmill.syncs where pipeline = ${pipeline}`);
  return isHeld === true ? "reading" : 0;
}

/** Whether a pass over all rows of what is read now has ended: before, no one knows how many there are. */
export async function isRead(client: Reader, pipeline: string): Promise<boolean> {
  const read = sql`select full_began_at is not null from rowmill.syncs where pipeline = ${pipeline}`;
  return (await client.value<boolean>(read)) ?? false;
}

/** For the only worker that there is: the one that had the lease is dead. */
export async function breakLease(database: Database, pipeline: string): Promise<void> {
  await database.run(sql`
    update rowmill.syncs
    set lease_token = null, lease_until = null, lease_worker = null
    where pipeline = ${pipeline}`);
}

/** Of attempts in a row; then a source counts as one that cannot be read now. About half a minute. */
const FAILURES_TO_WAIT = 3;

/** `trouble`: why it cannot be read now. */
export type Unread = { readonly unread: boolean; readonly trouble: string | null };

/**
 * Rows may be there that were not read yet: no pass has ended since this worker began, and one is due or under way.
 * Otherwise a source that is read each second would never be done, nor one that cannot be read.
 */
export async function unread(client: Reader, pipeline: string, workerId: string): Promise<Unread> {
  const seen = await client.first<{ isRead: boolean | null; failures: number; trouble: string | null }>(sql`
    select phase <> 'deleting' and (
        (phase = 'idle' and next_at > clock_timestamp())
        or ended_at > (select w.started_at from rowmill.workers w where w.id = ${workerId})) as "isRead",
      failures, trouble
    from rowmill.syncs
    where pipeline = ${pipeline}`);
  const trouble = (seen?.failures ?? 0) >= FAILURES_TO_WAIT ? (seen?.trouble ?? null) : null;
  return { unread: seen?.isRead !== true && trouble === null, trouble };
}
