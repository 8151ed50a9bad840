/** Requests in a batch that is not settled: what was rendered for each, and their endings, chunk by chunk. */
import type { AttemptOutcome, Ending } from "../model/what-next.js";
import { sql, type Queryable, type Reader } from "./database.js";

export interface InFlight {
  readonly requestId: string;
  readonly attempt: number;
  readonly key: string;
  readonly tries: number;
  readonly returns: number;
  /** As rendered; null before. */
  readonly contentHash: string | null;
  readonly fingerprint: string | null;
  /** The most tokens that this try's answer may have; null: not rendered yet, or not known. */
  readonly room: number | null;
  readonly answeredHash: string | null;
  readonly answeredFingerprint: string | null;
  readonly line: number | null;
  /** As other code named it, in a batch that was adopted; null: our own name, which says everything. */
  readonly customId: string | null;
}

const columns = sql`f.request_id::text as "requestId", f.attempt, r.key, r.tries, r.returns, f.content_hash as "contentHash",
  f.fingerprint, f.room, r.answered_hash as "answeredHash", r.answered_fingerprint as "answeredFingerprint", f.line, f.custom_id as "customId"`;

/** The next ones of the batch in id order, locked in that order: ledger rows first, then the source is read. */
export async function lockNext(
  tx: Queryable,
  batchId: string,
  after: string | null,
  max: number,
): Promise<InFlight[]> {
  return tx.rows<InFlight>(sql`
    select ${columns} from rowmill.in_flight f join rowmill.requests r on r.id = f.request_id
    where f.batch_id = ${batchId} and f.request_id > ${after ?? "0"}::bigint
    order by f.request_id limit ${max} for update of r, f`);
}

/** Of these requests, those that are in flight in this batch; locked in id order. */
export async function lockMany(
  tx: Queryable,
  batchId: string,
  requestIds: readonly string[],
): Promise<InFlight[]> {
  return tx.rows<InFlight>(sql`
    select ${columns} from rowmill.in_flight f join rowmill.requests r on r.id = f.request_id
    where f.batch_id = ${batchId} and f.request_id = any(${requestIds}::bigint[]) and r.id = any(${requestIds}::bigint[])
    order by f.request_id for update of r, f`);
}

/** Of these requests, those in flight in this batch: what was sent, by request id. */
export async function inFlightOf(
  client: Reader,
  batchId: string,
  requestIds: readonly string[],
): Promise<ReadonlyMap<string, { readonly attempt: number; readonly contentHash: string }>> {
  const rows = await client.rows<{ id: string; attempt: number; contentHash: string }>(sql`
    select request_id::text as id, attempt, content_hash as "contentHash" from rowmill.in_flight
    where batch_id = ${batchId} and request_id = any(${requestIds}::bigint[]) and content_hash is not null`);
  return new Map(rows.map(({ id, ...sent }) => [id, sent]));
}

/** Request id → the content that was rendered for it; those not rendered yet are left out. */
export async function renderedHashes(
  tx: Queryable,
  requestIds: readonly string[],
): Promise<ReadonlyMap<string, string>> {
  const rows = await tx.rows<{ id: string; hash: string }>(sql`
    select request_id::text as id, content_hash as hash from rowmill.in_flight
    where request_id = any(${requestIds}::bigint[]) and content_hash is not null`);
  return new Map(rows.map((row) => [row.id, row.hash]));
}

/** Of those in flight in the batch, the next ones of which no answer is kept; locked in id order. */
export async function lockUnanswered(tx: Queryable, batchId: string, max: number): Promise<InFlight[]> {
  return tx.rows<InFlight>(sql`
    select ${columns} from rowmill.in_flight f join rowmill.requests r on r.id = f.request_id
    where f.batch_id = ${batchId} and not exists (select 1 from rowmill.kept_answers k where k.request_id = f.request_id)
    order by f.request_id limit ${max} for update of r, f`);
}

export async function countUnanswered(client: Reader, batchId: string): Promise<number> {
  const row = await client.first<{ count: number }>(sql`
    select count(*)::int as count from rowmill.in_flight f
    where f.batch_id = ${batchId} and not exists (select 1 from rowmill.kept_answers k where k.request_id = f.request_id)`);
  return row?.count ?? 0;
}

export async function countInFlight(client: Reader, batchId: string): Promise<number> {
  const row = await client.first<{ count: number }>(
    sql`select count(*)::int as count from rowmill.in_flight where batch_id = ${batchId}`,
  );
  return row?.count ?? 0;
}

export interface RenderedLine {
  readonly id: string;
  readonly hash: string;
  readonly fingerprint: string;
  readonly room: number;
  readonly line: number;
}

export async function recordRendered(
  tx: Queryable,
  batchId: string,
  lines: readonly RenderedLine[],
): Promise<void> {
  if (lines.length === 0) return;
  await tx.run(sql`update rowmill.in_flight f set content_hash = x.hash, fingerprint = x.fingerprint, room = x.room, line = x.line
    from json_to_recordset(${JSON.stringify(lines)}::json) as x (id bigint, hash text, fingerprint text, room int, line int)
    where f.request_id = x.id and f.batch_id = ${batchId}`);
}

/** How one attempt ended, and where its request goes. */
export interface AttemptEnding {
  readonly id: string;
  readonly attempt: number;
  readonly ending: Ending;
  readonly outcome: AttemptOutcome;
  readonly detail: string | null;
  /** What was paid for and cannot be used. */
  readonly answer: string | null;
  readonly model: string | null;
  readonly input: number;
  readonly cached: number;
  readonly output: number;
  readonly cost: number | null;
  /** The demo model made it end so. */
  readonly demo: boolean;
  /** See `KnownRequest.rowGone`. */
  readonly rowGone: boolean;
  /** The request's next state. */
  readonly to: "succeeded" | "failed" | "waiting" | "gone";
  /** The content that the new state speaks of; null: as it was. */
  readonly hash: string | null;
  readonly fingerprint: string | null;
  readonly tries: number;
  readonly returns: number;
  readonly delayMs: number;
}

/**
 * Ends attempts: the ledger's guarded update decides which ones count; only for those an attempt is recorded, the in-flight row
 * and the kept answer go, and a returned request waits again. Returns the ids that moved. Same transaction as the target's write.
 */
export async function endMany(
  tx: Queryable,
  batch: { id: string; pipelineId: number },
  endings: readonly AttemptEnding[],
): Promise<ReadonlySet<string>> {
  if (endings.length === 0) return new Set();
  const rows = await tx.rows<{ id: string }>(sql`
    with x as (
      select * from json_to_recordset(${JSON.stringify(endings)}::json) as x (id bigint, attempt int, ending text, outcome text, detail text,
        answer text, model text, input int, cached int, output int, cost bigint, demo boolean, "rowGone" boolean, "to" text, hash text, fingerprint text, tries int,
        returns int, "delayMs" float8)),
    moved as (
      update rowmill.requests r set state = x.to, changed_at = now(), tries = x.tries, returns = x.returns,
        gone_from = case when x.to = 'gone' then 'waiting' end,
        content_hash = coalesce(x.hash, r.content_hash),
        answered_hash = case when x.to = 'succeeded' then x.hash else r.answered_hash end,
        answered_fingerprint = case when x.to = 'succeeded' then x.fingerprint else r.answered_fingerprint end,
        answered_batch = case when x.ending = 'succeeded' then ${batch.id}::uuid else r.answered_batch end,
        -- A failure leaves the previous answer in the target, and so what is said of it.
        demo = case when x.ending = 'succeeded' then x.demo else r.demo or x.demo end,
        row_gone = x."rowGone",
        fingerprint = coalesce(x.fingerprint, r.fingerprint),
        error_code = case when x.to = 'succeeded' then null else x.outcome end,
        error = case when x.to = 'succeeded' then null else x.detail end
      from x where r.id = x.id and r.state = 'batched' and r.attempt = x.attempt
      returning r.id),
    ended as (
      delete from rowmill.in_flight f using moved m where f.request_id = m.id and f.batch_id = ${batch.id}
      returning f.request_id, f.room),
    unkept as (
      delete from rowmill.kept_answers k using moved m where k.request_id = m.id),
    recorded as (
      insert into rowmill.attempts (request_id, attempt, batch_id, ending, outcome, detail, answer, model, input_tokens,
        cached_input_tokens, output_tokens, cost_nano_usd, room, tries)
      select x.id, x.attempt, ${batch.id}, x.ending, x.outcome, x.detail, x.answer, x.model, x.input, x.cached, x.output, x.cost, e.room, x.tries
      from x join moved m on m.id = x.id left join ended e on e.request_id = m.id),
    queued as (
      insert into rowmill.waiting (request_id, pipeline_id, not_before)
      select x.id, ${batch.pipelineId}, now() + make_interval(secs => x."delayMs" / 1000)
      from x join moved m on m.id = x.id where x.to = 'waiting')
    select id::text as id from moved`);
  return new Set(rows.map((row) => row.id));
}

export interface EndingCounts {
  readonly succeeded: number;
  readonly failed: number;
  readonly returned: number;
}

/** From the attempts themselves, never from counters. */
export async function countEndings(client: Reader, batchId: string): Promise<EndingCounts> {
  const row = await client.first<EndingCounts>(sql`
    select count(*) filter (where ending = 'succeeded')::int as succeeded, count(*) filter (where ending = 'failed')::int as failed,
      count(*) filter (where ending = 'returned')::int as returned from rowmill.attempts where batch_id = ${batchId}`);
  return row ?? { succeeded: 0, failed: 0, returned: 0 };
}

/**
 * How many files were refused before this one for the same unknown reason: in a row, or with one of its requests in each of them. Since
 * the last resume, under the batch's definition.
 */
export async function unexplainedRefusals(
  client: Reader,
  batch: { readonly id: string; readonly pipelineId: number; readonly definitionHash: string },
  max: number,
): Promise<number> {
  const row = await client.first<{ count: number }>(sql`
    with since as (
      select coalesce(max(e.at), '-infinity') as at from rowmill.pipeline_events e
      where e.pipeline_id = ${batch.pipelineId} and e.event = 'resumed'),
    last as (
      select b.settled_at, exists (
        select from rowmill.attempts a where a.batch_id = b.id and a.outcome = 'batchRefused') as unexplained
      from rowmill.batches b, since
      where b.pipeline_id = ${batch.pipelineId} and b.definition_hash = ${batch.definitionHash} and b.settled_at > since.at
      order by b.settled_at desc limit ${max})
    select greatest(
      (select count(*) from last where unexplained
        and settled_at > (select coalesce(max(l.settled_at), '-infinity') from last l where not l.unexplained)),
      (select count(*) as count from rowmill.in_flight i
        join rowmill.attempts a on a.request_id = i.request_id and a.outcome = 'batchRefused', since
        where i.batch_id = ${batch.id} and a.at > since.at
          and not exists (select from rowmill.attempts l
            where l.request_id = a.request_id and l.attempt > a.attempt and l.outcome not in ('batchRefused', 'noRoom'))
        group by i.request_id order by count desc limit 1))::int as count`);
  return row?.count ?? 0;
}

/** Empties the kept text of old attempts, some at a time; returns how many. */
export async function forgetUnusedAnswers(
  client: Queryable,
  bounds: { olderThanDays: number; max: number },
): Promise<number> {
  return client.run(sql`update rowmill.attempts set answer = null where ctid = any (array(
    select ctid from rowmill.attempts where answer is not null and at < now() - make_interval(days => ${bounds.olderThanDays}) limit ${bounds.max}))`);
}
