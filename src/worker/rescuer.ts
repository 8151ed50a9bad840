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
  const buried = await context.step("rescue.bury", () => context.database.transaction((tx) => buryDead(tx)));
  const orphans = await batchesWithoutJob(context.read, BATCHES_MAX);
  const woken = new Set([...buried.batchIds, ...orphans]);
  for (const id of woken) await context.step("rescue.wake", () => schedule(context.database, id, 0));
  const counts = { workers: buried.workers, batches: woken.size };
  if (counts.workers > 0) context.log.warn(counts, "rescued what dead workers left");
  return counts;
}
