/** Requests of an unfinished batch: how they enter it, part by part, and how they are found. */
import { byteaArray, int4Array, int8Array, sideBySide, textArray } from "../../postgres/arrays.js";
import { countChanges, endedOf } from "../requests/counts.js";
import { sentAhead, sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { shortened } from "../requests/queue.js";
import { hex, hiddenState } from "../requests/requests.js";

export interface BatchName {
  readonly id: string;
  readonly no: number;
  readonly pipelineId: number;
}

export interface Request {
  readonly requestId: string;
  readonly attempt: number;
  readonly key: string;
  readonly tries: number;
  readonly returns: number;
  readonly answeredHash: string | null;
  readonly answeredFingerprint: string | null;
  /** Waiting: the least that its next answer may have; in flight: the most that this one may. Null: as its batch. */
  readonly room: number | null;
  /** The answer that it shared with equal requests did not fit its row. */
  readonly isAlone: boolean;
}

export interface InFlight extends Request {
  /** As rendered. */
  readonly contentHash: string | null;
  readonly fingerprint: string | null;
  /** The name of its line, if that is not ours for it: of other code, or of the request that it shares a line with. */
  readonly customId: string | null;
  /** It shares the line of an equal request. */
  readonly isSharing: boolean;
  /** Its row was erased: nothing of its answer is kept. */
  readonly isForgotten: boolean;
}

const REQUEST_COLUMNS = sql`r.id::text as "requestId", r.attempt, r.key, r.tries, r.returns,
  r.alone as "isAlone",
  ${hex(sql`r.answered_hash`)} as "answeredHash", ${hex(sql`r.answered_fingerprint`)} as "answeredFingerprint"`;
const COLUMNS = sql`${REQUEST_COLUMNS}, ${hex(sql`r.content_hash`)} as "contentHash",
  ${hex(sql`r.fingerprint`)} as fingerprint, coalesce(r.room, b.room) as room, l.custom_id as "customId",
  coalesce(l.sharing, false) as "isSharing", r.forgotten as "isForgotten"`;

/** Of these requests, those that are in flight in this batch; locked in id order. */
export async function lockMany(tx: Queryable, batch: number, requestIds: readonly string[]): Promise<InFlight[]> {
  return tx.rows<InFlight>(sql`
    select ${COLUMNS}
    from rowmill.requests r
    join rowmill.batches b on b.no = r.batch
    left join rowmill.named_lines l on l.request_id = r.id and l.batch = r.batch
    where r.id = any(${int8Array(requestIds)}) and r.state = 'batched' and r.batch = ${batch}
    order by r.id
    for update of r`);
}

/** In id order. The next statement over them then waits for no one and sees what others wrote before. */
export async function lockQuietly(tx: Queryable, batch: number, requestIds: readonly string[]): Promise<void> {
  await tx.run(
    sentAhead(sql`
    select count(*)
    from (
      select 1
      from rowmill.requests r
      where r.id = any(${int8Array(requestIds)}) and r.state = 'batched' and r.batch = ${batch}
      order by r.id
      for update) locked`),
  );
}

/** Of these requests, those in flight in this batch: what was sent, by request id. No content: the row was erased. */
export async function inFlightOf(
  client: Reader,
  batch: number,
  requestIds: readonly string[],
): Promise<ReadonlyMap<string, { readonly attempt: number; readonly contentHash: string | null }>> {
  const rows = await client.rows<{ id: string; attempt: number; contentHash: string | null }>(sql`
    select id::text as id, attempt, ${hex(sql`content_hash`)} as "contentHash"
    from rowmill.requests
    where id = any(${int8Array(requestIds)}) and state = 'batched' and batch = ${batch}`);
  return new Map(rows.map(({ id, ...sent }) => [id, sent]));
}

export interface Part {
  readonly requests: readonly (InFlight & {
    /** 1-based, in the file that was sent; perhaps shared with others. Null: not known. */
    readonly line: number | null;
  })[];
  readonly isLast: boolean;
}

/** The part's requests that are still in flight; locked in id order. `part`: from 0 on. */
export function lockPart(tx: Queryable, batch: number, part: number): Promise<Part> {
  return partOf(tx, { batch, part, which: sql`true` });
}

/** Those without a kept answer. */
export function lockUnanswered(tx: Queryable, batch: number, part: number): Promise<Part> {
  return partOf(tx, {
    batch,
    part,
    which: sql`not exists (select 1 from rowmill.kept_answers k where k.request_id = r.id)`,
  });
}

async function partOf(
  tx: Queryable,
  { batch, part, which }: { readonly batch: number; readonly part: number; readonly which: Sql },
): Promise<Part> {
  const requests = await tx.rows<Part["requests"][number]>(sql`
    select ${COLUMNS}, coalesce(shared.line, case when p.first > 0 then (p.first + x.place - 1)::int end) as line
    from rowmill.lines p
    cross join unnest(p.ids) with ordinality as x (id, place)
    join rowmill.requests r on r.id = x.id
    join rowmill.batches b on b.no = r.batch
    left join rowmill.named_lines l on l.request_id = r.id and l.batch = r.batch
    left join (
      select y.id, (q.first + y.place - 1)::int as line
      from rowmill.lines q
      cross join unnest(q.ids) with ordinality as y (id, place)
      where q.batch = ${batch} and q.first > 0) shared
      on shared.id = case when l.sharing then split_part(l.custom_id, '-', 1)::bigint end
    where p.batch = ${batch}
      and p.part = ${part}
      and r.state = 'batched'
      and r.batch = ${batch}
      and ${which}
    order by r.id
    for update of r`);
  const last = await tx.number(sql`select coalesce(max(part), -1) from rowmill.lines where batch = ${batch}`);
  return { requests, isLast: last <= part };
}

export interface OpenRequests {
  /** While it is planned: those that entered it so far. */
  readonly inFlight: number;
  /** Of these: with a kept answer. */
  readonly kept: number;
  /** Not in it yet. */
  readonly queued: number;
}

/** Requests in the unfinished batch `b`; while it is planned, those that entered it so far. */
export const OPEN_OF = sql`(case when b.state = 'planned' then (
    select count(*) from rowmill.lines l cross join unnest(l.ids) x (id) join rowmill.requests r on r.id = x.id
    where l.batch = b.no and r.state = 'batched' and r.batch = b.no)
  else b.requests - ${endedOf(sql`b.no`)} end)::int`;

/** Of a batch that has not ended. */
export async function countOpen(client: Reader, batch: number): Promise<OpenRequests> {
  const row = await client.first<OpenRequests>(sql`
    select ${OPEN_OF} as "inFlight",
      (select count(*) from rowmill.kept_answers k where k.batch = b.no)::int as kept,
      (select coalesce(sum(n), 0) from rowmill.queue q where q.batch = b.no)::int as queued
    from rowmill.batches b
    where b.no = ${batch} and b.settled_at is null`);
  return row ?? { inFlight: 0, kept: 0, queued: 0 };
}

/** Requests that entered it and ended. */
export async function countEnded(client: Reader, batch: number): Promise<number> {
  return client.number(sql`select ${endedOf(sql`${batch}::int`)} as count`);
}

export async function countUnanswered(client: Reader, batch: number): Promise<number> {
  const { inFlight, kept } = await countOpen(client, batch);
  return inFlight - kept;
}

/** A row of a batch's queue. */
export interface QueueRow {
  readonly no: string;
  /** Its requests that may go out, in id order. */
  readonly requests: readonly Request[];
}

/** After this one (null: the first). Null: there is none. */
export async function nextOfBatch(client: Reader, batch: number, after: string | null): Promise<QueueRow | null> {
  // Not by the text `no`, where 10 comes before 2.
  const rows = await client.rows<{ no: string } & (Request | { requestId: null })>(sql`
    select q.no::text as no, ${REQUEST_COLUMNS}, r.room
    from (
      select q.no, q.ids
      from rowmill.queue q
      where q.batch = ${batch} and q.no > ${after ?? "0"}::bigint
      order by q.no
      limit 1) q
    left join rowmill.requests r on r.id = any(q.ids)
      and r.state = ${hiddenState("waiting")}
      and (r.not_before is null or r.not_before <= now())
    order by r.id`);
  const [first] = rows;
  const requests = rows.flatMap((row) => (row.requestId === null ? [] : [row]));
  return first === undefined ? null : { no: first.no, requests };
}

/** A row of the queue, and the ids that stay in it. */
export interface QueuedLeft {
  readonly no: string;
  readonly left: readonly string[];
}

export interface TakenRequest {
  readonly id: string;
  readonly attempt: number;
  /** As rendered; null: there is no such row, so it is not sent. */
  readonly hash: string | null;
  readonly fingerprint: string | null;
  /** Output tokens; null: as its batch. */
  readonly room: number | null;
  /** It has a line in the batch's file. */
  readonly sent: boolean;
}

/**
 * Moves those that still wait as they were read from the queue into the batch, under a new attempt; returns their
 * ids. Those that are sent become the next part of the batch's file, in this order, from line `first` on; the others
 * end in the same transaction. `queued`: their row of the queue, and the ids that stay in it; null: `shareLines`
 * follows, and shortens it.
 */
export async function takeIntoBatch(
  tx: Queryable,
  batch: BatchName,
  {
    requests,
    first,
    queued,
  }: {
    readonly requests: readonly TakenRequest[];
    readonly first: number;
    readonly queued: QueuedLeft | null;
  },
): Promise<ReadonlySet<string>> {
  const dequeued = queued === null ? null : shortened(queued.no, queued.left);
  if (requests.length === 0) {
    if (dequeued !== null) await tx.run(dequeued);
    return new Set();
  }
  const ids = await tx.value<string[]>(sql`
    with ${movedInto(batch, { requests, first, also: int4Array(requests.map(({ sent }) => (sent ? 1 : 0))) })}
    ${dequeued === null ? sql`` : sql`, dequeued as (${dequeued})`}
    select json_agg(id::text) from moved`);
  return new Set(ids);
}

/** The CTEs that move requests; `also` is a further column, `sent`: 1 where the request belongs to the next part. */
function movedInto(
  batch: BatchName,
  { requests, first, also }: { readonly requests: readonly Moved[]; readonly first: number; readonly also: Sql },
): Sql {
  return sql`
    moved as (
      update rowmill.requests r
      set state = 'batched', batch = ${batch.no}, attempt = x.attempt, not_before = null, changed_at = now(),
        content_hash = coalesce(x.hash, r.content_hash), fingerprint = coalesce(x.fingerprint, r.fingerprint),
        room = x.room
      from ${sideBySide([
        int8Array(requests.map(({ id }) => id)),
        int4Array(requests.map(({ attempt }) => attempt)),
        byteaArray(requests.map(({ hash }) => hash)),
        byteaArray(requests.map(({ fingerprint }) => fingerprint)),
        int4Array(requests.map(({ room }) => room)),
        also,
      ])} with ordinality as x (id, attempt, hash, fingerprint, room, sent, place)
      where r.id = x.id and r.state = ${hiddenState("waiting")} and r.attempt = x.attempt - 1
      returning r.id, x.sent, x.place),
    counted as (
      insert into rowmill.counts (pipeline_id, waiting, batched)
      select ${batch.pipelineId}::int, - count(*), count(*)
      from moved
      having count(*) > 0),
    part as (
      insert into rowmill.lines (batch, part, first, ids)
      select ${batch.no}::int, (select coalesce(max(part), -1) + 1 from rowmill.lines where batch = ${batch.no}),
        ${first}::int, array_agg(id order by place)
      from moved
      where sent = 1
      having count(*) > 0)`;
}

type Moved = Omit<TakenRequest, "sent">;

export interface SharingRequest extends Moved {
  /** The name of the line that it shares. */
  readonly line: string;
}

/**
 * Moves requests into the batch that share lines of others, which are in it by now: a part of their own, whose first
 * line is 0. Returns how many moved. `queued` as above.
 */
export async function shareLines(
  tx: Queryable,
  batch: BatchName,
  { requests, queued }: { readonly requests: readonly SharingRequest[]; readonly queued: QueuedLeft },
): Promise<number> {
  if (requests.length === 0) {
    await tx.run(shortened(queued.no, queued.left));
    return 0;
  }
  const names = requests.map(({ line }) => line);
  return tx.number(sql`
    with ${movedInto(batch, { requests, first: 0, also: int4Array(requests.map(() => 1)) })},
    named as (
      insert into rowmill.named_lines (request_id, batch, custom_id, sharing)
      select m.id, ${batch.no}::int, n.name, true
      from moved m
      join unnest(${textArray(names)}) with ordinality as n (name, place) on n.place = m.place),
    dequeued as (${shortened(queued.no, queued.left)})
    select count(*)::int from moved`);
}

/** Line → the requests that share it, also those that have ended. */
export async function sharersOf(
  client: Reader,
  batch: number,
  lines: readonly string[],
): Promise<ReadonlyMap<string, readonly string[]>> {
  const rows = await client.rows<{ line: string; ids: string[] }>(sql`
    select l.custom_id as line, json_agg(l.request_id::text order by l.request_id) as ids
    from unnest(${textArray(lines)}) n (name)
    join rowmill.named_lines l on l.batch = ${batch} and l.sharing and l.custom_id = n.name
    group by l.custom_id`);
  return new Map(rows.map(({ line, ids }) => [line, ids]));
}

/** Undoes the newest part of an interrupted rendering: its requests, never sent, wait again. False: there is none. */
export async function undoPart(tx: Queryable, batch: BatchName): Promise<boolean> {
  const row = await tx.first<{ parts: number; waiting: number; gone: number }>(sql`
    with part as (
      delete from rowmill.lines
      where batch = ${batch.no} and part = (select max(part) from rowmill.lines where batch = ${batch.no})
      returning ids),
    queued as (
      insert into rowmill.queue (pipeline_id, batch, ids)
      select ${batch.pipelineId}, ${batch.no}, ids from part),
    unnamed as (
      delete from rowmill.named_lines l
      using part
      where l.batch = ${batch.no} and l.request_id = any(part.ids)),
    undone as (
      update rowmill.requests r
      set attempt = r.attempt - 1, changed_at = now(),
        state = case when r.forgotten then 'gone' else 'waiting' end::rowmill.request_state,
        gone_from = case when r.forgotten then 'waiting'::rowmill.request_state end
      where r.id = any (array(select unnest(ids) from part))
        and r.state = 'batched'
        and r.batch = ${batch.no}
      returning r.state)
    select (select count(*)::int from part) as parts, count(*) filter (where state = 'waiting')::int as waiting,
      count(*) filter (where state = 'gone')::int as gone
    from undone`);
  const { parts, waiting, gone } = row ?? { parts: 0, waiting: 0, gone: 0 };
  await countChanges(tx, batch.pipelineId, { waiting, gone, batched: -waiting - gone });
  return parts > 0;
}

/** In the move that ends the batch. */
export async function forgetLines(tx: Queryable, batch: number): Promise<void> {
  await tx.run(sql`delete from rowmill.lines where batch = ${batch}`);
  await tx.run(sql`delete from rowmill.named_lines where batch = ${batch}`);
  await tx.run(sql`update rowmill.usage set batch = null where batch = ${batch}`);
}
