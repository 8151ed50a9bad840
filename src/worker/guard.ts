/**
 * One pipeline's trouble must not stop the others: work on a pipeline is guarded, logged, and where no waiting can help (a missing
 * right or column, a value that `where` cannot handle) the pipeline pauses with the reason.
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

/** The same error that may pass, but comes again and again: so often it is waited out. */
const REPEATS_MAX = 20;
/** By pipeline, as this process saw them. */
const repeated = new WeakMap<Pipeline, { message: string; times: number }>();

/** Null: it failed, and was said. What ails the whole database is thrown: it is everybody's, and the caller waits. */
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
    const why = pauseForTarget(pipeline, error) ?? pauseForSource(pipeline, error);
    if (why === null) return null;
    // Else a column that a newer version renamed would pause the pipeline for everybody.
    await understood.requireUnderstood(context.read);
    await context.step("turn.pause", () => pipelines.pause(context.database, pipeline.id, why));
    return null;
  }
}

function pauseForSource(pipeline: Pipeline, error: Error): pipelines.Pause | null {
  if (!isLastingRefusal(error) && !isRepeated(pipeline, error)) return null;
  const reason = `${error.message} It is tried again every half minute; to try now: rowmill resume ${pipeline.config.name}`;
  return { kind: "source", reason };
}

/** Not what waits for others' locks, nor what takes its time. */
function isRepeated(pipeline: Pipeline, error: Error): boolean {
  if (!(error instanceof DatabaseError) || isConflict(error) || error.sqlState === "57014") return false;
  const { message } = error;
  const before = repeated.get(pipeline);
  const times = before?.message === message ? before.times + 1 : 1;
  repeated.set(pipeline, { message, times: times % REPEATS_MAX });
  return times === REPEATS_MAX;
}

/** The target is not as it was at the start, in a way that only a person can judge. */
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
 * May this worker look at the pipeline's rows? Not while its source cannot be read, and not with a definition that was replaced: by
 * another predicate or prompt, rows would seem gone or to be asked again, and the two workers would undo each other's looks for ever.
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
