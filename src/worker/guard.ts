/**
 * One pipeline's trouble must not stop the others: work on a pipeline is guarded, logged, and where no waiting can help (a missing
 * right or column, a value that `where` cannot handle) the pipeline pauses with the reason.
 */
import { RowmillError } from "../model/errors.js";
import { isDatabaseWide, isLastingRefusal, type Reader } from "../store/database.js";
import * as pipelines from "../store/pipelines.js";
import { requireUnderstood } from "../store/understood.js";
import type { Pipeline, WorkerContext } from "./context.js";

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
    await requireUnderstood(context.read);
    await context.step("turn.pause", () => pipelines.pause(context.database, pipeline.id, why));
    return null;
  }
}

function pauseForSource({ config }: Pipeline, error: Error): pipelines.Pause | null {
  if (!isLastingRefusal(error)) return null;
  const reason = `${error.message} It is tried again every half minute; to try now: rowmill resume ${config.name}`;
  return { kind: "source", reason };
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
