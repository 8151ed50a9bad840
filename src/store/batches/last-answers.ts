/** A definition's last answers, whatever happened to them, and which of its failures you accepted as normal. */
import type { JudgedAnswer } from "../../model/batch/failing.js";
import { ANSWER_OUTCOMES, FAILURE_OUTCOMES, type FailureOutcome } from "../../model/words/what-next.js";
import { sql, type Queryable, type Reader, type Sql } from "../../postgres/database.js";
import { addEvent } from "../pipelines/pipelines.js";

/** Of settled batches, the last ones. */
const BATCHES_MAX = 30;

export interface DefinitionOf {
  readonly pipelineId: number;
  readonly definitionHash: string;
}

/** At most `max`, newest first. `first`: only those to rows that had not failed before. */
export async function readAll(
  client: Reader,
  of: DefinitionOf,
  { max, first }: { max: number; first: boolean },
): Promise<JudgedAnswer[]> {
  const answers: TimedAnswer[] = [];
  for (const { no, settledAt } of await lastBatches(client, of)) {
    const oldest = answers[max - 1];
    // Answers of a batch that settled before then are older than all of these.
    if (oldest !== undefined && settledAt !== null && settledAt < oldest.at) break;
    answers.push(...(await answersOf(client, of, { no, max, first })));
    answers.sort((a, b) => (a.at === b.at ? a.turn - b.turn : a.at < b.at ? 1 : -1));
    answers.splice(max);
  }
  return answers.map(({ key, outcome, detail, accepted }) => ({ key, outcome, detail, accepted }));
}

/** Whether at least `count` of the last answers may be failures: cheap, by an index of failures. */
export async function mayHaveFailed(client: Reader, of: DefinitionOf, count: number): Promise<boolean> {
  const batches = (await lastBatches(client, of)).map(({ no }) => no);
  const failures = await client.number(sql`
    select count(*)::int
    from (select from rowmill.attempts where batch = any(${batches}::int[]) and ${IS_FAILURE} limit ${count}) found`);
  return failures >= count;
}

/** The index's predicate. */
const IS_FAILURE = sql`outcome in ('truncated', 'invalid', 'refused')`;

/** Those being collected, then those that settled last, newest first. */
function lastBatches(
  client: Reader,
  { pipelineId, definitionHash }: DefinitionOf,
): Promise<{ no: number; settledAt: string | null }[]> {
  const batches = sql`rowmill.batches where pipeline_id = ${pipelineId} and definition_hash = ${definitionHash}`;
  return client.rows(sql`
    select no, ${sortable(sql`settled_at`)} as "settledAt"
    from (
      (select no, settled_at from ${batches} and settled_at is null and state = 'collecting')
      union all (
        select no, settled_at
        from ${batches} and settled_at is not null
        order by settled_at desc
        limit ${BATCHES_MAX})) last
    order by settled_at desc nulls first`);
}

interface TimedAnswer extends JudgedAnswer {
  readonly at: string;
  /** Among those of one instant. */
  readonly turn: number;
}

/** With microseconds. */
function sortable(at: Sql): Sql {
  return sql`to_char(${at}, 'YYYY-MM-DD HH24:MI:SS.US')`;
}

function answersOf(
  client: Reader,
  { pipelineId, definitionHash }: DefinitionOf,
  { no, max, first }: { no: number; max: number; first: boolean },
): Promise<TimedAnswer[]> {
  return client.rows<TimedAnswer>(sql`
    select r.key, a.outcome, a.detail, ${sortable(sql`a.at`)} as at, a.turn,
      exists (
        select 1
        from rowmill.accepted_failures f
        where f.pipeline_id = ${pipelineId}
          and f.definition_hash = ${definitionHash}
          and f.outcome = a.outcome) as accepted
    from (
      -- A retry has written it since.
      select a.request_id, case when a.written_at is null then a.outcome else 'answered' end as outcome, a.detail,
        a.at, hashint8(a.request_id) as turn
      from rowmill.attempts a
      where a.batch = ${no}
        and a.outcome = any(${[...ANSWER_OUTCOMES]}::text[])
        -- One answer, however many rows share it.
        and a.shared_from is null
        and (not ${first}::boolean or (
          a.tries <= (a.outcome = any(${[...FAILURE_OUTCOMES]}::text[]))::int
          -- A shared answer that did not fit this row took no try of it.
          and (a.attempt = 1 or not exists (
            select from rowmill.attempts s
            where s.request_id = a.request_id
              and s.attempt < a.attempt
              and s.outcome = 'unshared'))))
        and a.at > coalesce((select p.answers_since from rowmill.pipelines p where p.id = ${pipelineId}),
          '-infinity')
      -- A chunk's answers are of one instant: take any of them, whatever their outcome.
      order by a.at desc, turn
      limit ${max}) a
    join rowmill.requests r on r.id = a.request_id
    order by a.at desc, a.turn`);
}

/** Failures that you may accept as normal: the model's, and rows that the target refuses. */
export type AcceptableFailure = FailureOutcome | "unwritable";

export async function isAccepted(
  client: Reader,
  { pipelineId, definitionHash }: DefinitionOf,
  outcome: AcceptableFailure,
): Promise<boolean> {
  const row = await client.first(sql`
    select 1 as one
    from rowmill.accepted_failures
    where pipeline_id = ${pipelineId} and definition_hash = ${definitionHash} and outcome = ${outcome}`);
  return row !== null;
}

/** The pipeline no longer pauses for these failures of the definition. */
export async function acceptFailures(
  tx: Queryable,
  { pipelineId, definitionHash }: DefinitionOf,
  outcomes: readonly AcceptableFailure[],
): Promise<void> {
  if (outcomes.length === 0) return;
  await tx.run(sql`
    insert into rowmill.accepted_failures (pipeline_id, definition_hash, outcome)
    select ${pipelineId}, ${definitionHash}, x.outcome
    from unnest(${[...outcomes]}::text[]) as x (outcome)
    on conflict do nothing`);
  await addEvent(tx, pipelineId, { event: "accepted", reason: `answers that are ${outcomes.join(" or ")}` });
}
