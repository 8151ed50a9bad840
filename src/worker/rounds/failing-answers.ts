/** Pauses a pipeline whose answers mostly fail, in the transaction of its caller: before another batch is planned, and as one settles. */
import { ANSWERS_JUDGED, FAILED_PERCENT_MAX, failingText, failuresAmong } from "../../model/batch/failing.js";
import type { Queryable } from "../../postgres/database.js";
import * as lastAnswers from "../../store/batches/last-answers.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Pipeline } from "../context.js";

/** True: it has to wait for a person. The caller holds the pipeline's lock. */
export async function pauseWhenFailing(tx: Queryable, pipeline: Pipeline): Promise<boolean> {
  const of = { pipelineId: pipeline.id, definitionHash: pipeline.definitionHash };
  // As few as could be most of them.
  if (!(await lastAnswers.mayHaveFailed(tx, of, Math.ceil((ANSWERS_JUDGED * FAILED_PERCENT_MAX) / 100))))
    return false;
  const answers = await lastAnswers.readAll(tx, of, { max: ANSWERS_JUDGED, first: false });
  const failures = failuresAmong(
    answers,
    await lastAnswers.readAll(tx, of, { max: ANSWERS_JUDGED, first: true }),
  );
  if (failures.length === 0) return false;
  await pipelines.pause(tx, pipeline.id, { kind: "answers", reason: failingText(failures, pipeline.config) });
  return true;
}
