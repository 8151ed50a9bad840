/**
 * The ledger: one request per row and pipeline. Every move names the state that it starts from in its WHERE, and says by
 * RETURNING which ones it won. Queue and in-flight rows move in the same transaction, always after the request.
 */
import type { RequestState } from "../model/request-transitions.js";
import { sql, type Queryable, type Reader } from "./database.js";

export interface LedgerRow {
  readonly id: string;
  readonly key: string;
  readonly state: RequestState;
  readonly goneFrom: RequestState | null;
  readonly contentHash: string | null;
  readonly answeredHash: string | null;
  readonly answeredFingerprint: string | null;
  readonly rowGone: boolean;
}

/** Locks, in id order, the requests that exist for these keys. */
export async function lockByKeys(
  tx: Queryable,
  pipelineId: number,
  keys: readonly string[],
): Promise<LedgerRow[]> {
  return tx.rows<LedgerRow>(sql`
    select id::text as id, key, state, gone_from as "goneFrom", content_hash as "contentHash", answered_hash as "answeredHash",
      answered_fingerprint as "answeredFingerprint", row_gone as "rowGone"
    from rowmill.requests where pipeline_id = ${pipelineId} and key = any(${keys}::text[]) order by id for update`);
}

export interface NewRequest {
  readonly key: string;
  readonly hash: string;
  readonly state: "waiting" | "cancelled";
}

/** Requests for rows never seen. One that somebody else made meanwhile is left alone. */
export async function insertMany(
  tx: Queryable,
  pipelineId: number,
  rows: readonly NewRequest[],
): Promise<number> {
  if (rows.length === 0) return 0;
  return tx.run(sql`
    with added as (
      insert into rowmill.requests (pipeline_id, key, state, content_hash, error_code, error)
      select ${pipelineId}, x.key, x.state, x.hash,
        case when x.state = 'cancelled' then 'existing' end,
        case when x.state = 'cancelled' then 'The row was there before the pipeline, and source.existing is "skip".' end
      from json_to_recordset(${JSON.stringify(rows)}::json) as x (key text, state text, hash text)
      on conflict (pipeline_id, key) do nothing returning id, state)
    insert into rowmill.waiting (request_id, pipeline_id) select id, ${pipelineId} from added where state = 'waiting'`);
}

export interface RowMove {
  readonly id: string;
  readonly from: RequestState;
  readonly to: RequestState;
  /** The row's present content; null when the row is gone. */
  readonly hash: string | null;
  /** Another content: tries and errors start anew. */
  readonly fresh: boolean;
  /** The answer of before does not stand any more. */
  readonly forget: boolean;
}

/** What a look at the rows decided. Returns how many moved. */
export async function moveMany(
  tx: Queryable,
  pipelineId: number,
  moves: readonly RowMove[],
): Promise<number> {
  if (moves.length === 0) return 0;
  const moved = await tx.rows<{ id: string; state: RequestState }>(sql`
    update rowmill.requests r set
      state = x.to, changed_at = now(), row_gone = false,
      gone_from = case when x.to = 'gone' then r.state end,
      content_hash = coalesce(x.hash, r.content_hash),
      answered_hash = case when x.forget then null else r.answered_hash end,
      answered_fingerprint = case when x.forget then null else r.answered_fingerprint end,
      answered_batch = case when x.forget then null else r.answered_batch end,
      tries = case when x.fresh then 0 else r.tries end,
      returns = case when x.fresh then 0 else r.returns end,
      error_code = case when x.to in ('gone', 'failed', 'cancelled') then r.error_code end,
      error = case when x.to in ('gone', 'failed', 'cancelled') then r.error end
    from json_to_recordset(${JSON.stringify(moves)}::json) as x (id bigint, "from" text, "to" text, hash text, fresh boolean, forget boolean)
    where r.id = x.id and r.state = x.from
    returning r.id::text as id, r.state`);
  await enqueue(
    tx,
    pipelineId,
    moved.filter((row) => row.state === "waiting").map((row) => row.id),
  );
  await dequeue(
    tx,
    moved.filter((row) => row.state !== "waiting").map((row) => row.id),
  );
  return moved.length;
}

/** What we ourselves wrote changed the rows: their answers belong to the content that they have now. */
export async function followContent(
  tx: Queryable,
  pipelineId: number,
  rows: readonly { key: string; hash: string; fingerprint: string | null }[],
): Promise<void> {
  await tx.run(sql`update rowmill.requests r set content_hash = x.hash, answered_hash = x.hash,
      fingerprint = coalesce(x.fingerprint, r.fingerprint), answered_fingerprint = coalesce(x.fingerprint, r.answered_fingerprint)
    from json_to_recordset(${JSON.stringify(rows)}::json) as x (key text, hash text, fingerprint text)
    where r.pipeline_id = ${pipelineId} and r.key = x.key and r.state = 'succeeded' and r.answered_hash is distinct from x.hash`);
}

/** Requests in flight whose rows got another key. */
export async function renameMany(
  tx: Queryable,
  renames: readonly { id: string; key: string }[],
): Promise<void> {
  if (renames.length === 0) return;
  await tx.run(sql`update rowmill.requests r set key = x.key, changed_at = now()
    from json_to_recordset(${JSON.stringify(renames)}::json) as x (id bigint, key text) where r.id = x.id and r.state = 'batched'`);
}

/** Asks again: the definition changed for these rows, or a person wants it. In flight ones are left to the collector. */
export async function reopenMany(tx: Queryable, pipelineId: number, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const moved = await tx.rows<{ id: string }>(sql`
    update rowmill.requests set state = 'waiting', tries = 0, returns = 0, error_code = null, error = null, changed_at = now()
    where id = any(${ids}::bigint[]) and state in ('succeeded', 'failed') returning id::text as id`);
  await enqueue(
    tx,
    pipelineId,
    moved.map((row) => row.id),
  );
  return moved.length;
}

export async function hasDemoAnswers(client: Reader, pipelineId: number): Promise<boolean> {
  const row = await client.first(
    sql`select 1 as one from rowmill.requests where pipeline_id = ${pipelineId} and demo limit 1`,
  );
  return row !== null;
}

/** Of one statement. */
const DEMO_CHUNK = 5_000;

/** What the demo model answered or failed is asked again, and its answers and tries no longer count. Returns how many such rows wait now. */
export async function reopenDemo(tx: Queryable, pipelineId: number): Promise<number> {
  for (let reopened = 0; ;) {
    const rows = await tx.rows<{ id: string; ended: boolean; waits: boolean }>(sql`
      with demo as (
        select id, state in ('succeeded', 'failed') as ended from rowmill.requests
        where pipeline_id = ${pipelineId} and demo order by id limit ${DEMO_CHUNK} for update)
      update rowmill.requests r set demo = false, answered_hash = null, answered_fingerprint = null, answered_batch = null, changed_at = now(),
        state = case when d.ended then 'waiting' else r.state end,
        gone_from = case when r.gone_from in ('succeeded', 'failed') then 'waiting' else r.gone_from end,
        tries = 0, returns = 0,
        error_code = case when not d.ended then r.error_code end, error = case when not d.ended then r.error end
      from demo d where r.id = d.id returning r.id::text as id, d.ended, r.state = 'waiting' as waits`);
    const ended = rows.filter((row) => row.ended).map((row) => row.id);
    await enqueue(tx, pipelineId, ended);
    reopened += rows.filter((row) => row.waits).length;
    if (rows.length < DEMO_CHUNK) return reopened;
  }
}

/** Of these failed requests, those whose answer was cut off in less room than this. */
export async function cutShort(tx: Queryable, ids: readonly string[], room: number): Promise<string[]> {
  if (ids.length === 0) return [];
  const rows = await tx.rows<{ id: string }>(sql`
    select r.id::text as id from rowmill.requests r left join rowmill.attempts a on a.request_id = r.id and a.attempt = r.attempt
    where r.id = any(${ids}::bigint[]) and r.error_code = 'truncated' and coalesce(a.room, 0) < ${room}::int`);
  return rows.map((row) => row.id);
}

/** Undoes a reopening: the answer in the target is again the one that would be given. */
export async function reaffirmMany(tx: Queryable, ids: readonly string[]): Promise<number> {
  if (ids.length === 0) return 0;
  const moved = await tx.rows<{ id: string }>(sql`
    update rowmill.requests set state = 'succeeded', fingerprint = answered_fingerprint, error_code = null, error = null, changed_at = now()
    where id = any(${ids}::bigint[]) and state = 'waiting' and answered_hash = content_hash returning id::text as id`);
  await dequeue(
    tx,
    moved.map((row) => row.id),
  );
  return moved.length;
}

async function enqueue(tx: Queryable, pipelineId: number, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.run(sql`insert into rowmill.waiting (request_id, pipeline_id)
    select unnest(${ids}::bigint[]), ${pipelineId} on conflict (request_id) do nothing`);
}

async function dequeue(tx: Queryable, ids: readonly string[]): Promise<void> {
  if (ids.length === 0) return;
  await tx.run(sql`delete from rowmill.waiting where request_id = any(${ids}::bigint[])`);
}

export interface ReadyFacts {
  readonly ready: number;
  readonly oldestWaitMs: number | null;
}

/** How many may go out now, counted up to `countMax` only, and how long the oldest has waited. */
export async function readyFacts(tx: Reader, pipelineId: number, countMax: number): Promise<ReadyFacts> {
  const row = await tx.first<{ ready: number; oldest: number | null }>(sql`
    select count(*)::int as ready, (extract(epoch from clock_timestamp() - min(since)) * 1000)::float8 as oldest from (
      select since from rowmill.waiting where pipeline_id = ${pipelineId} and not_before <= now()
      order by not_before, request_id limit ${countMax}) ready`);
  return { ready: row?.ready ?? 0, oldestWaitMs: row?.oldest ?? null };
}

/** Requests that were ever taken into a batch: what `limit` counts. By its attempts, which are as few as the limit is small. */
export async function countAsked(tx: Queryable, pipelineId: number): Promise<number> {
  const row = await tx.first<{ count: number }>(sql`
    select count(*)::int as count from (
      select a.request_id from rowmill.attempts a join rowmill.batches b on b.id = a.batch_id where b.pipeline_id = ${pipelineId}
      union select f.request_id from rowmill.in_flight f join rowmill.batches b on b.id = f.batch_id where b.pipeline_id = ${pipelineId}) asked`);
  return row?.count ?? 0;
}

/** Candidates in turn; `newMax` bounds those that were never asked (null: all). Locked, in id order. */
export async function lockReady(
  tx: Queryable,
  pipelineId: number,
  bounds: { max: number; newMax: number | null },
): Promise<string[]> {
  const rows = await tx.rows<{ id: string }>(sql`
    select r.id::text as id from rowmill.requests r
    where r.state = 'waiting' and r.id = any (array(
      select id from (
        select w.request_id as id, q.attempt, count(*) filter (where q.attempt = 0) over (order by w.not_before, w.request_id) as fresh
        from (select * from rowmill.waiting where pipeline_id = ${pipelineId} and not_before <= now()
              order by not_before, request_id limit ${bounds.newMax === null ? bounds.max : null}) w
        join rowmill.requests q on q.id = w.request_id
        order by w.not_before, w.request_id) turn
      where ${bounds.newMax}::bigint is null or attempt > 0 or fresh <= ${bounds.newMax}::bigint
      limit ${bounds.max}))
    order by r.id for update of r skip locked`);
  return rows.map((row) => row.id);
}

/** From the queue into a batch that exists: state, attempt, and the one in-flight row that a request can have. */
export async function takeIntoBatch(tx: Queryable, batchId: string, ids: readonly string[]): Promise<number> {
  const taken = await tx.run(sql`
    with moved as (
      update rowmill.requests set state = 'batched', attempt = attempt + 1, changed_at = now()
      where id = any(${ids}::bigint[]) and state = 'waiting' returning id, attempt)
    insert into rowmill.in_flight (request_id, batch_id, attempt) select id, ${batchId}, attempt from moved order by id`);
  await dequeue(tx, ids);
  return taken;
}

export interface StateCounts {
  readonly pipelineId: number;
  readonly state: RequestState;
  readonly count: number;
}

export async function countStates(client: Queryable): Promise<StateCounts[]> {
  return client.rows<StateCounts>(sql`
    select pipeline_id as "pipelineId", state, count(*)::int as count from rowmill.requests group by 1, 2`);
}
