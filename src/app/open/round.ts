/** One round of each stage, without the queue: `up --once`, for cron. Due batches advance as far as they can. */
import * as batches from "../../store/batches/batches.js";
import { advanceBatch } from "../../worker/turn/advance.js";
import { compareWithList } from "../../worker/rounds/duplicates.js";
import type { WorkerContext } from "../../worker/context.js";
import { deliverDue } from "../../worker/rounds/deliverer.js";
import { runIntake } from "../../worker/rounds/intake.js";
import { runJanitor } from "../../worker/rounds/janitor.js";
import { runPlanner } from "../../worker/rounds/planner.js";
import { runRescuer } from "../../worker/rounds/rescuer.js";
import { guarded } from "../../worker/guard.js";
import { syncPipeline } from "../../worker/rounds/sync.js";
import { sweepChunk } from "../../worker/rounds/sweeper.js";

const DUE_MAX = 1_000;

/** Runs due sweeps to their end. */
export async function sweepAll(
  context: WorkerContext,
  signal: AbortSignal,
  onChunk?: (pipeline: string, rows: number) => void,
): Promise<void> {
  for (const pipeline of context.pipelines.values()) {
    for (;;) {
      signal.throwIfAborted();
      const progress = await sweepChunk(context, pipeline);
      if (progress === null) break;
      onChunk?.(pipeline.config.name, progress.rowsSeen);
    }
  }
}

export async function runRound(
  context: WorkerContext,
  { flush, signal }: { flush: boolean; signal: AbortSignal },
): Promise<void> {
  await runRescuer(context);
  for (const pipeline of context.pipelines.values())
    await guarded(context, pipeline, () => syncPipeline(context, pipeline, signal));
  await runIntake(context, signal);
  await sweepAll(context, signal);
  await runIntake(context, signal);
  await runPlanner(context, flush);
  for (const id of await batches.due(context.database, DUE_MAX)) {
    signal.throwIfAborted();
    await advanceBatch(context, id, signal);
  }
  for (const pipeline of context.pipelines.values()) await deliverDue(context, pipeline, signal);
  await compareWithList(context, signal);
  await runJanitor(context, signal);
}
