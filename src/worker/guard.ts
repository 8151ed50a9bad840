/**
 * Keeps one pipeline's trouble from stopping the others: work on a pipeline is guarded and its errors logged. Where
 * waiting cannot help (a missing right or column, a value that `where` cannot handle) the pipeline pauses with the
 * reason.
 */
import { RowmillError } from "../model/errors.js";
import {
  DatabaseError,
  isConflict,
  isDatabaseWide,
  isLastingRefusal,
  type Reader,
} from "../postgres/database.js";
import * as pipelines from "../store/pipelines/pipelines.js";
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
    await context.step("turn.pause", () => pipelines.pause(context.database, pipeline.id, why));
    return null;
  }
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
    reason: [
      error.message.replaceAll("\n  ", " "),
      ...error.hints,
      `Then: rowmill resume ${config.name}`,
    ].join(" "),
  };
}

/**
 * May this worker compare the pipeline's rows with the ledger? Not while the source cannot be read, and not by a
 * definition that was replaced: rows would seem gone or changed, and two workers would undo each other's work
 * indefinitely.
 */
export async function mayLook(client: Reader, pipeline: Pipeline): Promise<boolean> {
  const row = await pipelines.byId(client, pipeline.id);
  return (
    row !== null &&
    row.pauseKind !== "source" &&
    row.uninstalledAt === null &&
    row.definitionHash === pipeline.definitionHash
  );
}
