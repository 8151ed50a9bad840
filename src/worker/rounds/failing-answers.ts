/** Pauses a pipeline whose answers mostly fail: before a batch is planned, and as one settles. */
import { ANSWERS_JUDGED, FAILED_PERCENT_MAX, failingText, failuresAmong } from "../../model/batch/failing.js";
import type { Queryable } from "../../postgres/database.js";
import * as lastAnswers from "../../store/batches/last-answers.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Pipeline } from "../context.js";

/** True: the pipeline is paused and needs your attention. The caller holds its lock. */
export async function pauseWhenFailing(tx: Queryable, pipeline: Pipeline): Promise<boolean> {
  const of = { pipelineId: pipeline.id, definitionHash: pipeline.definitionHash };
  // A cheap check first: this many failures are the fewest that can count.
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
