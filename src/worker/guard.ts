/**
 * When a pipeline pauses. One pipeline's trouble must not stop the others, so work on a pipeline is guarded and its
 * errors are logged. Where waiting cannot help (a missing right or column, a value that `where` cannot handle, answers
 * that mostly fail) the pipeline pauses with the reason.
 */
import { ANSWERS_JUDGED, FAILED_PERCENT_MAX, failingText, failuresAmong } from "../model/batch/failing.js";
import { RowmillError } from "../model/errors.js";
import {
  DatabaseError,
  isConflict,
  isDatabaseWide,
  isLastingRefusal,
  type Queryable,
  type Reader,
} from "../postgres/database.js";
import * as lastAnswers from "../store/batches/last-answers.js";
import * as pipelines from "../store/pipelines/pipelines.js";
import * as syncs from "../store/syncs/syncs.js";
import * as understood from "../store/ledger/understood.js";
import type { Pipeline, WorkerContext } from "./context.js";

/** An error that may pass pauses the pipeline when it came this many times in a row. */
const REPEATS_MAX = 20;

/** Null: it failed, and the error was logged. @throws what affects the whole database: the caller waits for that. */
export async function guarded<T>(
  context: WorkerContext,
  pipeline: Pipeline,
  work: () => Promise<T>,
): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof Error) || isDatabaseWide(error)) throw error;
    context.log.warn({ pipeline: pipeline.config.name, err: error }, "a pipeline's round failed");
    const why = pauseForTarget(pipeline, error) ?? pauseForSource(context, pipeline, error);
    if (why === null) return null;
    // Otherwise a column that a newer version renamed would pause the pipeline for every worker.
    await understood.requireUnderstood(context.read);
    await pause({ context, pipeline }, why);
    return null;
  }
}

/** False: another pause counts already. */
export function pause(
  { context, pipeline }: { readonly context: WorkerContext; readonly pipeline: Pipeline },
  why: pipelines.Pause,
): Promise<boolean> {
  return context.step("turn.pause", () => pipelines.pause(context.database, pipeline.id, why));
}

function pauseForSource(context: WorkerContext, pipeline: Pipeline, error: Error): pipelines.Pause | null {
  if (!isLastingRefusal(error) && !isRepeated(context, pipeline, error)) return null;
  const retry = `Rowmill tries again every 30 seconds. To try now: rowmill resume ${pipeline.config.name}`;
  return { kind: "source", reason: `${error.message} ${retry}` };
}

/** Locks that others hold and time-outs do not count. */
function isRepeated({ memory }: WorkerContext, pipeline: Pipeline, error: Error): boolean {
  if (!(error instanceof DatabaseError) || isConflict(error) || error.sqlState === "57014") return false;
  const { message } = error;
  const before = memory.repeatedErrors.get(pipeline);
  const times = before?.message === message ? before.times + 1 : 1;
  memory.repeatedErrors.set(pipeline, { message, times: times % REPEATS_MAX });
  return times === REPEATS_MAX;
}

/** The target is no longer what it was at the start, in a way that only you can judge. */
export function pauseForTarget({ config }: Pipeline, error: unknown): pipelines.Pause | null {
  if (!(error instanceof RowmillError) || error.code !== "target_unsupported") return null;
  return {
    kind: "target",
    reason: [error.message.replaceAll("\n  ", " "), ...error.hints, `Then: rowmill resume ${config.name}`].join(" "),
  };
}

/**
 * May this worker compare the pipeline's rows with the ledger? Not while the source cannot be read, and not by a
 * definition that was replaced: rows would seem gone or changed, and two workers would undo each other's work
 * indefinitely.
 */
export async function mayLook(client: Reader, pipeline: Pipeline): Promise<boolean> {
  const row = await currentRow(client, pipeline);
  return row !== null && row.pauseKind !== "source";
}

/** The same for a source elsewhere: what paused it is that it could not be read, and only reading it ends that. */
export async function mayRead(client: Reader, pipeline: Pipeline): Promise<boolean> {
  const row = await currentRow(client, pipeline);
  if (row === null) return false;
  return row.pauseKind !== "source" || (await syncs.isFailing(client, row.name));
}

/** Null: its definition was replaced, or it is uninstalled. */
async function currentRow(client: Reader, { id, definitionHash }: Pipeline): Promise<pipelines.PipelineRow | null> {
  const row = await pipelines.byId(client, id);
  return row?.uninstalledAt === null && row.definitionHash === definitionHash ? row : null;
}

/** True: the pipeline is paused and needs your attention. The caller holds its lock. */
export async function pauseWhenFailing(tx: Queryable, pipeline: Pipeline): Promise<boolean> {
  const of = { pipelineId: pipeline.id, definitionHash: pipeline.definitionHash };
  // A cheap check first: this many failures are the fewest that can count.
  if (!(await lastAnswers.mayHaveFailed(tx, of, Math.ceil((ANSWERS_JUDGED * FAILED_PERCENT_MAX) / 100)))) return false;
  const answers = await lastAnswers.readAll(tx, of, { max: ANSWERS_JUDGED, first: false });
  const failures = failuresAmong(answers, await lastAnswers.readAll(tx, of, { max: ANSWERS_JUDGED, first: true }));
  if (failures.length === 0) return false;
  await pipelines.pause(tx, pipeline.id, { kind: "answers", reason: failingText(failures, pipeline.config) });
  return true;
}
