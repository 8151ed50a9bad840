/**
 * Deletes pushed rows when their time is over, `source.keep`, and keeps their answers. One transaction a chunk; a crash
 * leaves the rest to the next round.
 */
import * as expiry from "../../store/replicas/expiry.js";
import * as replicas from "../../store/replicas/replicas.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { guarded, mayLook } from "../guard.js";

const CHUNK_ROWS = 1_000;
/** Of a pipeline, in one round. */
const CHUNKS_MAX = 20;
/** Whoever pushes in a long transaction of their own is not waited for: pushes that come meanwhile would wait too. */
const LOCK_MS_MAX = 1_000;

export async function expirePushedRows(context: WorkerContext, signal: AbortSignal): Promise<void> {
  for (const pipeline of context.pipelines.values()) {
    const keepMs = pipeline.config.source.replica?.keepMs ?? null;
    if (keepMs === null) continue;
    for (let chunk = 0; chunk < CHUNKS_MAX; chunk++) {
      signal.throwIfAborted();
      if ((await guarded(context, pipeline, () => expireChunk(context, pipeline, keepMs))) !== "more") break;
    }
  }
}

async function expireChunk(context: WorkerContext, pipeline: Pipeline, keepMs: number): Promise<"more" | "done"> {
  const { expiries } = context.memory;
  const place = expiries.get(pipeline) ?? null;
  const expired = await context.step("clean.pushed", () =>
    context.database.transaction(
      async (tx) => {
        await replicas.lockAlone(tx, pipeline.config.name);
        await pipelines.lockIntake(tx, pipeline.id);
        if (!(await mayLook(tx, pipeline))) return null;
        const replica = await replicas.replicaOf(tx, pipeline.config.name);
        if (replica === null) return null;
        const of = { pipelineId: pipeline.id, replica };
        return expiry.expireRows(tx, of, { keepMs, place, max: CHUNK_ROWS });
      },
      { lockTimeoutMs: LOCK_MS_MAX },
    ),
  );
  const next = expired?.place ?? null;
  if (next === null) {
    expiries.delete(pipeline);
    return "done";
  }
  expiries.set(pipeline, next);
  return "more";
}
