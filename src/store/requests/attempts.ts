/** Ends the attempts of requests in flight, chunk by chunk, and reads ended ones. */
import { DROPPED } from "../../model/words/failure-fixes.js";
import type { AttemptOutcome, Ending } from "../../model/words/what-next.js";
import { byteaArray, int4Array, int8Array, sideBySide, textArray } from "../../postgres/arrays.js";
import { countChanges, type StateChanges } from "./counts.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import type { BatchName } from "../batches/in-flight.js";
import { DROPPED_TEXT, hiddenNumber, hiddenState } from "./requests.js";
import { enqueue } from "./queue.js";
import type { RowSql } from "./row-sql.js";

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
  /** The most tokens that the answer could have; null: unknown. */
  readonly room: number | null;
  /** The request whose line it shared; null: it had its own. */
  readonly sharedFrom: string | null;
  /** What that line cost, and a line of its own would have; 0: it had its own, or gets one. */
  readonly sharingSaved: number;
  /** The least room of the next attempt; null: unchanged. */
  readonly nextRoom: number | null;
  /** Ended by the demo model. */
  readonly demo: boolean;
  /** See `KnownRequest.rowGone`. */
  readonly rowGone: boolean;
  /** The request's next state. */
  readonly to: "succeeded" | "failed" | "waiting" | "gone" | "cancelled";
  /** The content of the new state; null: unchanged. */
  readonly hash: string | null;
  readonly fingerprint: string | null;
  readonly tries: number;
  readonly returns: number;
  readonly delayMs: number;
}

/**
 * Ends attempts. The guarded update decides which ones count; for those it records the attempt, drops the kept
 * answer, and queues a returned request. Returns their ids. In the transaction of the target's write. `at`: the
 * instant of the chunk; null: now.
 */
export async function endMany(
  tx: Queryable,
  batch: BatchName,
  endings: readonly AttemptEnding[],
  at: string | null = null,
): Promise<ReadonlySet<string>> {
  if (endings.length === 0) return new Set();
  const ids = await tx.column<string>(sql`
    with x as (
      select *
      from json_to_recordset(${JSON.stringify(endings)}::json) as x (id bigint, attempt int,
        ending rowmill.attempt_ending, outcome text, detail text, answer text, model text, input int, cached int,
        output int, cost bigint, room int, "nextRoom" int, "sharedFrom" bigint, demo boolean, "rowGone" boolean,
        "to" rowmill.request_state, hash text, fingerprint text, tries int, returns int, "delayMs" float8)),
    moved as (
      update rowmill.requests r
      set state = x.to, changed_at = now(), tries = x.tries, returns = x.returns,
        room = coalesce(x."nextRoom", case when x.to = 'waiting' and x.outcome <> 'stale' then r.room end),
        alone = x.outcome = 'unshared' or (r.alone and x.to = 'waiting' and x.outcome <> 'stale'),
        not_before = case
          when x.to = 'waiting' and x."delayMs" > 0 then now() + make_interval(secs => x."delayMs" / 1000) end,
        gone_from = case when x.to = 'gone' then 'waiting'::rowmill.request_state end,
        content_hash = coalesce(decode(x.hash, 'hex'), r.content_hash),
        answered_hash = case when x.to = 'succeeded' then decode(x.hash, 'hex') else r.answered_hash end,
        answered_fingerprint = case
          when x.to = 'succeeded' then decode(x.fingerprint, 'hex')
          else r.answered_fingerprint end,
        answered_batch = case when x.ending = 'succeeded' then ${batch.no} else r.answered_batch end,
        -- A failure leaves the previous answer in the target.
        demo = case when x.ending = 'succeeded' then x.demo else r.demo or x.demo end, row_gone = x."rowGone",
        fingerprint = coalesce(decode(x.fingerprint, 'hex'), r.fingerprint),
        error_code = case x.to when 'succeeded' then null when 'cancelled' then ${DROPPED} else x.outcome end,
        error = case x.to when 'succeeded' then null when 'cancelled' then ${DROPPED_TEXT} else x.detail end
      from x
      -- As a condition of the join: by the statistics hardly any request is in that state and batch, and the planner
      -- then compares all of them with each of these. At 10,000 requests that took 2 ms for each.
      where r.id = x.id
        and case
          when x.id is not null then r.state = 'batched' and r.batch = ${batch.no} and r.attempt = x.attempt end
      returning x.*),
    unkept as (delete from rowmill.kept_answers k using moved m where k.request_id = m.id),
    recorded as (
      insert into rowmill.attempts (request_id, attempt, batch, ending, outcome, detail, answer, model,
        input_tokens, cached_input_tokens, output_tokens, cost_nano_usd, room, tries, shared_from, at)
      select id, attempt, ${batch.no}, ending, outcome, detail, answer, model, input, cached, output, cost, room,
        tries, "sharedFrom", ${instant(at)}
      from moved)
    select id::text from moved`);
  const moved = new Set(ids);
  await settleEndings(tx, batch, { ended: endings.filter(({ id }) => moved.has(id)), at });
  return moved;
}

function instant(at: string | null): Sql {
  return at === null ? sql`now()` : sql`${at}::timestamptz`;
}

/** Updates the counts, and queues what waits again. */
async function settleEndings(
  tx: Queryable,
  batch: BatchName,
  { ended, at }: { readonly ended: readonly AttemptEnding[]; readonly at: string | null },
): Promise<void> {
  const changes: StateChanges = { batched: -ended.length };
  const waiting = new Map<number, string[]>();
  for (const { to, id, delayMs } of ended) {
    changes[to] = (changes[to] ?? 0) + 1;
    if (to !== "waiting") continue;
    const together = waiting.get(delayMs) ?? [];
    together.push(id);
    waiting.set(delayMs, together);
  }
  await countChanges(tx, batch.pipelineId, changes);
  await countUsage(tx, batch, { ended, at });
  for (const [delayMs, ids] of waiting) await enqueue(tx, batch.pipelineId, ids, delayMs);
}

type Usage = Pick<AttemptEnding, "ending" | "input" | "cached" | "output" | "cost" | "sharingSaved">;

async function countUsage(
  tx: Queryable,
  batch: BatchName,
  { ended, at }: { readonly ended: readonly Usage[]; readonly at: string | null },
): Promise<void> {
  if (ended.length === 0) return;
  const tokens = { input: 0, cached: 0, output: 0 };
  const sum = { succeeded: 0, failed: 0, returned: 0, ...tokens, cost: 0, unpriced: 0, sharingSaved: 0 };
  for (const { ending, input, cached, output, cost, sharingSaved } of ended) {
    sum[ending]++;
    sum.input += input;
    sum.cached += cached;
    sum.output += output;
    sum.cost += cost ?? 0;
    sum.sharingSaved += sharingSaved;
    if (cost === null && input > 0) sum.unpriced++;
  }
  await tx.run(sql`
    insert into rowmill.usage (pipeline_id, batch, hour, succeeded, failed, returned, input_tokens,
      cached_input_tokens, output_tokens, cost_nano_usd, unpriced, sharing_saved_nano_usd)
    values (${batch.pipelineId}, ${batch.no}, date_trunc('hour', ${instant(at)}, 'UTC'), ${sum.succeeded},
      ${sum.failed}, ${sum.returned}, ${sum.input}, ${sum.cached}, ${sum.output}, ${sum.cost}, ${sum.unpriced},
      ${sum.sharingSaved})`);
}

/** An answer to a request's present attempt that is judged without the row. */
export interface GoodAnswer {
  readonly id: string;
  readonly attempt: number;
  readonly ending: "succeeded";
  /** The beginning of the asked content's hash, from the line's name. */
  readonly hashPrefix: string;
  readonly model: string | null;
  readonly input: number;
  readonly cached: number;
  readonly output: number;
  readonly cost: number | null;
  readonly demo: boolean;
}

export interface AcceptedAnswers {
  /** In the same order as the keys. */
  readonly ids: readonly string[];
  readonly keys: readonly string[];
  /** The transaction's `now()`, to the microsecond. */
  readonly at: string;
}

/**
 * Ends those requests that are in flight under this attempt and whose row still has the asked content, which the same
 * statement hashes. The caller locked the requests in an earlier statement, and reads the rows of those that did not
 * move.
 */
export async function acceptMany(
  tx: Queryable,
  batch: BatchName & { readonly room: number | null },
  { answers, row }: { readonly answers: readonly GoodAnswer[]; readonly row: Pick<RowSql, "hash" | "statement"> },
): Promise<AcceptedAnswers> {
  const list = <T>(of: (answer: GoodAnswer) => T) => answers.map(of);
  const bytes = (answers[0]?.hashPrefix.length ?? 0) / 2;
  const accepted = await tx.first<AcceptedAnswers>(
    row.statement(sql`
    with moved as (
      update rowmill.requests r
      set state = 'succeeded', changed_at = pg_catalog.now(), returns = 0, answered_hash = r.content_hash,
        answered_fingerprint = r.fingerprint, answered_batch = ${batch.no},
        demo = x.demo operator(pg_catalog.=) 1, row_gone = false, error_code = null, error = null
      from ${sideBySide([
        int8Array(list(({ id }) => id)),
        int4Array(list(({ attempt }) => attempt)),
        byteaArray(list(({ hashPrefix }) => hashPrefix)),
        textArray(list(({ model }) => model)),
        int4Array(list(({ input }) => input)),
        int4Array(list(({ cached }) => cached)),
        int4Array(list(({ output }) => output)),
        int8Array(list(({ cost }) => cost)),
        int4Array(list(({ demo }) => (demo ? 1 : 0))),
      ])} as x (id, attempt, prefix, model, input, cached, output, cost, demo)
      where r.id operator(pg_catalog.=) x.id
        and r.state operator(pg_catalog.=) ${hiddenState("batched")}
        and r.batch operator(pg_catalog.=) ${hiddenNumber(batch.no)}
        and r.attempt operator(pg_catalog.=) x.attempt
        and pg_catalog.substring(r.content_hash, 1, ${bytes}::pg_catalog.int4) operator(pg_catalog.=) x.prefix
        and r.content_hash operator(pg_catalog.=) case
          when x.id is not null and not r.forgotten then ${row.hash(sql`r.key`)} end
        and not exists (select 1 from rowmill.kept_answers k where k.request_id operator(pg_catalog.=) r.id)
      returning r.id, r.key, r.tries, r.room, x.attempt, x.model, x.input, x.cached, x.output, x.cost),
    recorded as (
      insert into rowmill.attempts (request_id, attempt, batch, ending, outcome, model, input_tokens,
        cached_input_tokens, output_tokens, cost_nano_usd, room, tries)
      select id, attempt, ${batch.no}::pg_catalog.int4, 'succeeded', 'answered', model, input, cached, output,
        cost, coalesce(room, ${batch.room}::pg_catalog.int4), tries
      from moved),
    counted as (
      insert into rowmill.counts (pipeline_id, batched, succeeded)
      select ${batch.pipelineId}::pg_catalog.int4, operator(pg_catalog.-) pg_catalog.count(*), pg_catalog.count(*)
      from moved
      having pg_catalog.count(*) operator(pg_catalog.>) 0),
    used as (
      insert into rowmill.usage (pipeline_id, batch, hour, succeeded, input_tokens, cached_input_tokens,
        output_tokens, cost_nano_usd, unpriced)
      select ${batch.pipelineId}::pg_catalog.int4, ${batch.no}::pg_catalog.int4,
        pg_catalog.date_trunc('hour', pg_catalog.now(), 'UTC'), pg_catalog.count(*), pg_catalog.sum(input),
        pg_catalog.sum(cached), pg_catalog.sum(output), coalesce(pg_catalog.sum(cost), 0),
        pg_catalog.count(*) filter (where cost is null and input operator(pg_catalog.>) 0)
      from moved
      having pg_catalog.count(*) operator(pg_catalog.>) 0)
    select coalesce(pg_catalog.json_agg(id::pg_catalog.text), '[]') as ids,
      coalesce(pg_catalog.json_agg(key), '[]') as keys, pg_catalog.now()::pg_catalog.text as at
    from moved`),
  );
  if (accepted === null) throw new Error("The database did not return which answers it accepted.");
  return accepted;
}

/**
 * How many files before this one were refused for the same unknown reason, in a row or with one of its requests in
 * each: since the last resume, under the batch's definition.
 */
export async function unexplainedRefusals(
  client: Reader,
  batch: BatchName & { readonly definitionHash: string },
  max: number,
): Promise<number> {
  return client.number(sql`
    with since as (
      select coalesce(max(e.at), '-infinity') as at
      from rowmill.pipeline_events e
      where e.pipeline_id = ${batch.pipelineId} and e.event = 'resumed'),
    last as (
      select b.settled_at,
        exists (select from rowmill.attempts a where a.batch = b.no and a.outcome = 'batchRefused') as unexplained
      from rowmill.batches b, since
      where b.pipeline_id = ${batch.pipelineId}
        and b.definition_hash = ${batch.definitionHash}
        and b.settled_at > since.at
      order by b.settled_at desc
      limit ${max})
    select greatest((
      select count(*)
      from last
      where unexplained
        and settled_at > (select coalesce(max(l.settled_at), '-infinity') from last l where not l.unexplained)),
      (
        select count(*) as count
        from rowmill.lines p
        cross join unnest(p.ids) i (id)
        join rowmill.attempts a on a.request_id = i.id and a.outcome = 'batchRefused'
        cross join since
        where p.batch = ${batch.no}
          and a.at > since.at
          and not exists (
            select
            from rowmill.attempts l
            where l.request_id = a.request_id
              and l.attempt > a.attempt
              and l.outcome not in ('batchRefused', 'noRoom'))
        group by i.id
        order by count desc
        limit 1))::int as count`);
}

/** Empties the text of old attempts; returns how many. */
export async function forgetUnusedAnswers(
  client: Queryable,
  bounds: { olderThanDays: number; max: number },
): Promise<number> {
  return client.run(sql`
    update rowmill.attempts
    set answer = null
    where ctid = any (array(
      select ctid
      from rowmill.attempts
      where answer is not null and at < now() - make_interval(days => ${bounds.olderThanDays})
      limit ${bounds.max}))`);
}
