/** What a dead worker left: its jobs are freed, and every unfinished batch gets a wake-up. Repeatable; several may run at once. */
import * as wake from "../../store/ledger/wake.js";
import { isConflict } from "../../postgres/database.js";
import * as workers from "../../store/ledger/workers.js";
import type { Buried } from "../../store/ledger/workers.js";
import type { WorkerContext } from "../context.js";

/** A worker that was frozen in the middle of a statement's transaction may hold its job: the next round tries again. */
const LOCK_TIMEOUT_MS = 2_000;
const BATCHES_MAX = 1_000;

export interface RescueCounts {
  readonly workers: number;
  readonly batches: number;
}

export async function runRescuer(context: WorkerContext): Promise<RescueCounts> {
  const buried = await bury(context);
  const orphans = await workers.batchesWithoutJob(context.read, BATCHES_MAX);
  const woken = new Set([...buried.batchIds, ...orphans]);
  for (const id of woken) await context.step("rescue.wake", () => wake.schedule(context.database, id, 0));
  const counts = { workers: buried.workers, batches: woken.size };
  if (counts.workers > 0) context.log.warn(counts, "rescued what dead workers left");
  return counts;
}

async function bury(context: WorkerContext): Promise<Buried> {
  try {
    return await context.step("rescue.bury", () =>
      context.database.transaction((tx) => workers.buryDead(tx), { lockTimeoutMs: LOCK_TIMEOUT_MS }),
    );
  } catch (error) {
    if (!isConflict(error)) throw error;
    context.log.debug({ err: error }, "what a dead worker held is locked; trying again later");
    return { workers: 0, batchIds: [] };
  }
}
