/**
 * One request per row and pipeline. Every move has the state that it starts from in its WHERE and returns the
 * requests that it won. Queue and counts follow in the same transaction, always after the request. Hashes are
 * hexadecimal here, bytes in SQL.
 */
import type { KnownRequest, RequestState } from "../../model/request/request-transitions.js";
import { DROPPED } from "../../model/words/failure-fixes.js";
import { int8Array } from "../../postgres/arrays.js";
import { changesOf, countChanges } from "./counts.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { enqueue } from "./queue.js";

/**
 * As a sub-select, which hides the value from the planner: by its statistics hardly any request may be in that state
 * or batch, and then it reads all of them for each row of a chunk.
 */
export function hiddenState(state: RequestState): Sql {
  return sql`(select ${state}::rowmill.request_state)`;
}

export function hiddenNumber(batch: number): Sql {
  return sql`(select ${batch}::pg_catalog.int4)`;
}

/** Of a column, for `select`. */
export function hex(column: Sql): Sql {
  return sql`encode(${column}, 'hex')`;
}

export interface LedgerRow extends KnownRequest {
  readonly id: string;
  readonly key: string;
  readonly answeredFingerprint: string | null;
}

/** Locks, in id order, the requests that exist for these keys. */
export async function lockByKeys(tx: Queryable, pipelineId: number, keys: readonly string[]): Promise<LedgerRow[]> {
  return tx.rows<LedgerRow>(sql`
    select id::text as id, key, state, gone_from as "goneFrom", ${hex(sql`content_hash`)} as "contentHash",
      ${hex(sql`answered_hash`)} as "answeredHash", ${hex(sql`answered_fingerprint`)} as "answeredFingerprint",
      row_gone as "rowGone"
    from rowmill.requests
    where pipeline_id = ${pipelineId} and key = any(${keys}::text[])
    -- Not by the text that is selected as id.
    order by requests.id
    for update`);
}

/** The last attempt of a row of this key that was erased; 0: there was none. Usually one look, whatever the rows. */
export function attemptBefore(pipelineId: number, key: Sql): Sql {
  const of = sql`from rowmill.forgotten_rows f where f.pipeline_id operator(pg_catalog.=) ${pipelineId}`;
  return sql`case when (select pg_catalog.count(*) operator(pg_catalog.>) 0 from (select 1 ${of} limit 1) any_row)
    then coalesce((
      select f.attempt
      ${of}
        and f.key_sha256 operator(pg_catalog.=) pg_catalog.sha256(pg_catalog.convert_to(${key}, 'UTF8'))), 0)
    else 0 end`;
}

export interface NewRequest {
  readonly key: string;
  /** Null: the row was not read. */
  readonly hash: string | null;
  readonly state: "waiting" | "cancelled";
}

/** For new rows. An existing request is left alone. */
export async function insertMany(tx: Queryable, pipelineId: number, rows: readonly NewRequest[]): Promise<number> {
  if (rows.length === 0) return 0;
  const added = await tx.rows<{ id: string; state: "waiting" | "cancelled" }>(sql`
    insert into rowmill.requests (pipeline_id, key, attempt, state, content_hash, error_code, error)
    select ${pipelineId}, x.key, ${attemptBefore(pipelineId, sql`x.key`)}, x.state, decode(x.hash, 'hex'),
      case when x.state = 'cancelled' then 'existing' end,
      case
        when x.state = 'cancelled' then 'The row was there before the pipeline, and source.existing is "skip".' end
    from json_to_recordset(${JSON.stringify(rows)}::json) as x (key text, state rowmill.request_state, hash text)
    on conflict (pipeline_id, key) do nothing
    returning id::text as id, state`);
  const moves = added.map(({ id, state }) => ({ id, from: null, to: state }));
  return settleMoves(tx, pipelineId, moves);
}

export interface RowMove {
  readonly id: string;
  readonly from: RequestState;
  readonly to: RequestState;
  /** The row's present content; null when the row is gone. */
  readonly hash: string | null;
  /** The content changed: tries and errors start again. */
  readonly fresh: boolean;
  /** The previous answer no longer holds. */
  readonly forget: boolean;
}

/** Writes what a look at the rows decided. Returns how many moved. */
export async function moveMany(tx: Queryable, pipelineId: number, moves: readonly RowMove[]): Promise<number> {
  if (moves.length === 0) return 0;
  const moved = await tx.rows<Pick<RowMove, "id" | "from" | "to">>(sql`
    update rowmill.requests r
    set state = x.to, changed_at = now(), row_gone = false, not_before = null,
      gone_from = case when x.to = 'gone' then r.state end,
      content_hash = coalesce(decode(x.hash, 'hex'), r.content_hash),
      answered_hash = case when x.forget then null else r.answered_hash end,
      answered_fingerprint = case when x.forget then null else r.answered_fingerprint end,
      answered_batch = case when x.forget then null else r.answered_batch end,
      tries = case when x.fresh then 0 else r.tries end, returns = case when x.fresh then 0 else r.returns end,
      room = case when x.fresh then null else r.room end, alone = r.alone and not x.fresh,
      error_code = case when x.to in ('gone', 'failed', 'cancelled') then r.error_code end,
      error = case when x.to in ('gone', 'failed', 'cancelled') then r.error end
    from json_to_recordset(${JSON.stringify(moves)}::json) as x (id bigint, "from" rowmill.request_state,
      "to" rowmill.request_state, hash text, fresh boolean, forget boolean)
    where r.id = x.id and r.state = x.from
    returning r.id::text as id, x.from, x.to`);
  return settleMoves(tx, pipelineId, moved);
}

/** Counts what moved, and queues what newly waits. */
async function settleMoves(
  tx: Queryable,
  pipelineId: number,
  moved: readonly (Pick<RowMove, "id" | "to"> & { readonly from: RequestState | null })[],
): Promise<number> {
  await countChanges(tx, pipelineId, changesOf(moved));
  const waiting = moved.filter(({ from, to }) => to === "waiting" && from !== "waiting").map(({ id }) => id);
  await enqueue(tx, pipelineId, waiting);
  return moved.length;
}

/** Our own write changed the rows: their answers belong to the content that they have now. */
export async function followContent(
  tx: Queryable,
  pipelineId: number,
  rows: readonly { key: string; hash: string; fingerprint: string | null }[],
): Promise<void> {
  await tx.run(sql`
    update rowmill.requests r
    set content_hash = decode(x.hash, 'hex'), answered_hash = decode(x.hash, 'hex'),
      fingerprint = coalesce(decode(x.fingerprint, 'hex'), r.fingerprint),
      answered_fingerprint = coalesce(decode(x.fingerprint, 'hex'), r.answered_fingerprint)
    from json_to_recordset(${JSON.stringify(rows)}::json) as x (key text, hash text, fingerprint text)
    where r.pipeline_id = ${pipelineId}
      and r.key = x.key
      and r.state = 'succeeded'
      and (r.answered_hash is distinct from decode(x.hash, 'hex')
        or r.answered_fingerprint is distinct from coalesce(decode(x.fingerprint, 'hex'), r.answered_fingerprint))`);
}

/** Rows that were gone, as that of a kept answer or of one that expired, are there again as they were. */
export async function noteReturned(tx: Queryable, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.run(sql`
    update rowmill.requests
    set row_gone = false
    where id = any(${int8Array(ids)}) and row_gone`);
}

/** Requests in flight whose rows got another key. */
export async function renameMany(tx: Queryable, renames: readonly { id: string; key: string }[]): Promise<void> {
  if (renames.length === 0) return;
  await tx.run(sql`
    update rowmill.requests r
    set key = x.key, changed_at = now()
    from json_to_recordset(${JSON.stringify(renames)}::json) as x (id bigint, key text)
    where r.id = x.id and r.state = 'batched'`);
}

export const DROPPED_TEXT = "Dropped with its batch by rowmill cancel --drop.";

/** Those that still wait, with the content that their rows have now. Returns their ids. */
export async function dropWaiting(
  tx: Queryable,
  pipelineId: number,
  rows: readonly { readonly id: string; readonly hash: string }[],
): Promise<ReadonlySet<string>> {
  if (rows.length === 0) return new Set();
  const moved = await tx.rows<{ id: string }>(sql`
    with waiting as (
      select r.id, x.hash
      from json_to_recordset(${JSON.stringify(rows)}::json) as x (id bigint, hash text)
      join rowmill.requests r on r.id = x.id
      where r.state = ${hiddenState("waiting")}
      order by r.id
      for update of r)
    update rowmill.requests r
    set state = 'cancelled', changed_at = now(), not_before = null, content_hash = decode(w.hash, 'hex'),
      error_code = ${DROPPED}, error = ${DROPPED_TEXT}
    from waiting w
    where r.id = w.id
    returning r.id::text as id`);
  await countChanges(tx, pipelineId, { waiting: -moved.length, cancelled: moved.length });
  return new Set(moved.map(({ id }) => id));
}

/** What you had dropped and want asked after all. */
export async function recallMany(tx: Queryable, pipelineId: number, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const moved = await tx.rows<{ id: string; from: RequestState; to: RequestState }>(sql`
    with dropped as (
      select id
      from rowmill.requests
      where id = any(${int8Array(ids)})
        and state = 'cancelled'
        and error_code = ${DROPPED}
      order by id
      for update)
    update rowmill.requests r
    set state = 'waiting', not_before = null, tries = 0, returns = 0, error_code = null, error = null,
      alone = false, changed_at = now()
    from dropped d
    where r.id = d.id
    returning r.id::text as id, 'cancelled' as from, r.state as to`);
  return settleMoves(tx, pipelineId, moved);
}

/** To be sent again. Those in flight are left to the collector. */
export async function reopenMany(tx: Queryable, pipelineId: number, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const moved = await tx.rows<Pick<RowMove, "id" | "from" | "to">>(sql`
    with ended as (
      select id, state
      from rowmill.requests
      where id = any(${int8Array(ids)}) and state in ('succeeded', 'failed')
      order by id
      for update)
    update rowmill.requests r
    set state = 'waiting', not_before = null, tries = 0, returns = 0, error_code = null, error = null,
      -- With the same room the answer would be cut off again.
      room = case when r.error_code = 'truncated' then r.room end, alone = false, changed_at = now()
    from ended e
    where r.id = e.id
    returning r.id::text as id, e.state as from, r.state as to`);
  return settleMoves(tx, pipelineId, moved);
}

export async function hasDemoAnswers(client: Reader, pipelineId: number): Promise<boolean> {
  const row = await client.first(sql`
    select 1 as one
    from rowmill.requests
    where pipeline_id = ${pipelineId} and demo
    limit 1`);
  return row !== null;
}

/** Of one statement. */
const DEMO_CHUNK = 5_000;

/** What the demo model answered or failed is sent again, from the first try. Returns how many of them wait now. */
export async function reopenDemo(tx: Queryable, pipelineId: number): Promise<number> {
  for (let reopened = 0; ;) {
    const rows = await tx.rows<Pick<RowMove, "id" | "from" | "to">>(sql`
      with demo as (
        select id, state
        from rowmill.requests
        where pipeline_id = ${pipelineId} and demo
        order by id
        limit ${DEMO_CHUNK}
        for update)
      update rowmill.requests r
      set demo = false, answered_hash = null, answered_fingerprint = null, answered_batch = null,
        changed_at = now(), state = case when d.state in ('succeeded', 'failed') then 'waiting' else r.state end,
        gone_from = case when r.gone_from in ('succeeded', 'failed') then 'waiting' else r.gone_from end,
        tries = 0, returns = 0, room = null, alone = false,
        error_code = case when d.state not in ('succeeded', 'failed') then r.error_code end,
        error = case when d.state not in ('succeeded', 'failed') then r.error end
      from demo d
      where r.id = d.id
      returning r.id::text as id, d.state as from, r.state as to`);
    await settleMoves(tx, pipelineId, rows);
    reopened += rows.filter(({ to }) => to === "waiting").length;
    if (rows.length < DEMO_CHUNK) return reopened;
  }
}

/** Of these failed requests, those whose answer was truncated below this many tokens. */
export async function cutShort(tx: Queryable, ids: readonly string[], room: number): Promise<string[]> {
  if (ids.length === 0) return [];
  return tx.column<string>(sql`
    select r.id::text as id
    from rowmill.requests r
    left join rowmill.attempts a on a.request_id = r.id and a.attempt = r.attempt
    where r.id = any(${ids}::bigint[])
      and r.error_code = 'truncated'
      and coalesce(a.room, 0) < ${room}::int`);
}

/** Undoes a reopening: the answer in the target is again the right one. */
export async function reaffirmMany(tx: Queryable, pipelineId: number, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const moved = await tx.run(sql`
    update rowmill.requests
    set state = 'succeeded', not_before = null, fingerprint = answered_fingerprint, error_code = null,
      error = null, changed_at = now()
    where id = any(${ids}::bigint[]) and state = 'waiting' and answered_hash = content_hash`);
  await countChanges(tx, pipelineId, { waiting: -moved, succeeded: moved });
  return moved;
}

/** Requests that ever entered a batch: what `limit` counts. */
export async function countAsked(tx: Reader, pipelineId: number): Promise<number> {
  return tx.number(sql`
    select count(*)::int as count
    from (
      select a.request_id
      from rowmill.attempts a
      join rowmill.batches b on b.no = a.batch
      where b.pipeline_id = ${pipelineId}
      union
      select x.id
      from rowmill.batches b
      join rowmill.lines l on l.batch = b.no
      cross join unnest(l.ids) x (id)
      where b.pipeline_id = ${pipelineId}
      union
      select x.id
      from rowmill.queue q
      cross join unnest(q.ids) x (id)
      where q.pipeline_id = ${pipelineId} and q.batch is not null) asked`);
}
