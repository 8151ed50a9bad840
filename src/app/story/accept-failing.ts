/** Lets answers fail that a pipeline is paused for, until its definition changes. */
import { ANSWERS_JUDGED, failuresToAccept } from "../../model/batch/failing.js";
import type { Queryable } from "../../postgres/database.js";
import * as lastAnswers from "../../store/batches/last-answers.js";
import type { AcceptableFailure } from "../../store/batches/last-answers.js";
import * as pipelines from "../../store/pipelines/pipelines.js";

/** Which it accepted; none: too few fail. Null: something else pauses it, or nothing. */
export async function acceptFailing(tx: Queryable, id: number): Promise<readonly AcceptableFailure[] | null> {
  const row = await pipelines.lock(tx, id);
  if (row?.pauseKind !== "target" && row?.pauseKind !== "answers") return null;
  const of = { pipelineId: id, definitionHash: row.definitionHash };
  const outcomes: readonly AcceptableFailure[] =
    row.pauseKind === "target"
      ? ["unwritable"]
      : failuresToAccept(await lastAnswers.readAll(tx, of, { max: ANSWERS_JUDGED, first: false }));
  await lastAnswers.acceptFailures(tx, of, outcomes);
  return outcomes;
}
