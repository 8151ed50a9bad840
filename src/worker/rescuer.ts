/** What a dead worker left: its jobs are freed, and every unfinished batch gets a wake-up. Repeatable; several may run at once. */
import { schedule } from "../store/batches.js";
import { batchesWithoutJob, buryDead } from "../store/workers.js";
import type { WorkerContext } from "./context.js";

const BATCHES_MAX = 1_000;

export interface RescueCounts {
  readonly workers: number;
  readonly batches: number;
}

export async function runRescuer(context: WorkerContext): Promise<RescueCounts> {
  const workers = await context.database.transaction((tx) => buryDead(tx));
  const orphans = await batchesWithoutJob(context.database, BATCHES_MAX);
  for (const id of orphans) await schedule(context.database, id, 0);
  if (workers > 0) context.log.warn({ workers, batches: orphans.length }, "rescued what dead workers left");
  return { workers, batches: orphans.length };
}
