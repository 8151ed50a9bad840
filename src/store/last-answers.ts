/** The last answers of a definition, whatever became of them, and which of its failures a person called normal. */
import type { JudgedAnswer } from "../model/failing.js";
import { answerOutcomes, failureOutcomes, type FailureOutcome } from "../model/what-next.js";
import { sql, type Queryable, type Reader } from "./database.js";
import { addEvent } from "./pipelines.js";

/** Batches that are looked at for them, the last ones that settled; answers of before are too old to say anything. */
const BATCHES_MAX = 30;

export interface DefinitionOf {
  readonly pipelineId: number;
  readonly definitionHash: string;
}

/**
 * At most `max`, newest first: of batches that are being collected, and of those that settled last. `first`: only those to rows that had
 * not failed before.
 */
export async function lastAnswers(
  client: Reader,
  { pipelineId, definitionHash }: DefinitionOf,
  { max, first }: { max: number; first: boolean },
): Promise<JudgedAnswer[]> {
  const batches = sql`rowmill.batches where pipeline_id = ${pipelineId} and definition_hash = ${definitionHash}`;
  return client.rows<JudgedAnswer>(sql`
    select r.key, a.outcome, a.detail, exists (select 1 from rowmill.accepted_failures f
      where f.pipeline_id = ${pipelineId} and f.definition_hash = ${definitionHash} and f.outcome = a.outcome) as accepted
    from ((select no from ${batches} and settled_at is null and state = 'collecting')
      union all (select no from ${batches} and settled_at is not null order by settled_at desc limit ${BATCHES_MAX})) b
    cross join lateral (
      -- What a retry wrote since is no refusal any more.
      select a.request_id, case when a.written_at is null then a.outcome else 'answered' end as outcome, a.detail, a.at from rowmill.attempts a
      where a.batch = b.no and a.outcome = any(${[...answerOutcomes]}::text[])
        and (not ${first}::boolean or a.tries <= (a.outcome = any(${[...failureOutcomes]}::text[]))::int)
        and a.at > coalesce((select p.answers_since from rowmill.pipelines p where p.id = ${pipelineId}), '-infinity')
      -- Those of one chunk are of one instant: of them any, wherever they stand in the table and whatever became of them.
      order by a.at desc, hashint8(a.request_id) limit ${max}) a
    join rowmill.requests r on r.id = a.request_id
    order by a.at desc, hashint8(a.request_id) limit ${max}`);
}

/** A failure that a person may call normal: the model's, or that of rows which the target refuses. */
export type AcceptableFailure = FailureOutcome | "unwritable";

export async function isAccepted(
  client: Reader,
  { pipelineId, definitionHash }: DefinitionOf,
  outcome: AcceptableFailure,
): Promise<boolean> {
  const row = await client.first(sql`select 1 as one from rowmill.accepted_failures
    where pipeline_id = ${pipelineId} and definition_hash = ${definitionHash} and outcome = ${outcome}`);
  return row !== null;
}

/** These failures are normal for the definition: its pipeline does not pause for them any more. */
export async function acceptFailures(
  tx: Queryable,
  { pipelineId, definitionHash }: DefinitionOf,
  outcomes: readonly AcceptableFailure[],
): Promise<void> {
  if (outcomes.length === 0) return;
  await tx.run(sql`insert into rowmill.accepted_failures (pipeline_id, definition_hash, outcome)
    select ${pipelineId}, ${definitionHash}, x.outcome from unnest(${[...outcomes]}::text[]) as x (outcome) on conflict do nothing`);
  await addEvent(tx, pipelineId, { event: "accepted", reason: `answers that are ${outcomes.join(" or ")}` });
}
