/** Frees the jobs of dead workers, and wakes every unfinished batch. Repeatable; several workers may do it at once. */
import * as wake from "../../store/ledger/wake.js";
import { isConflict } from "../../postgres/database.js";
import * as workers from "../../store/ledger/workers.js";
import type { WorkerContext } from "../context.js";

/** A worker that froze inside a transaction may hold its job: the next round tries again. */
const LOCK_TIMEOUT_MS = 2_000;
const BATCHES_MAX = 1_000;

/**
 * Returns how many workers were dead, and how many batches it woke. `alone`: no other worker can be alive, so none has
 * to be silent for a while first.
 */
export async function runRescuer(
  context: WorkerContext,
  { alone = false } = {},
): Promise<{ workers: number; batches: number }> {
  const buried = await bury(context, alone);
  const orphans = await workers.batchesWithoutJob(context.read, BATCHES_MAX);
  const woken = new Set([...buried.batchIds, ...orphans]);
  for (const id of woken) await context.step("rescue.wake", () => wake.schedule(context.database, id, 0));
  const counts = { workers: buried.workers, batches: woken.size };
  if (counts.workers > 0 && !alone) context.log.warn(counts, "freed what dead workers held");
  return counts;
}

async function bury(context: WorkerContext, alone: boolean): Promise<workers.Buried> {
  try {
    return await context.step("rescue.bury", () =>
      context.database.transaction((tx) => (alone ? workers.buryDead(tx, 0) : workers.buryDead(tx)), {
        lockTimeoutMs: LOCK_TIMEOUT_MS,
      }),
    );
  } catch (error) {
    if (!isConflict(error)) throw error;
    context.log.debug({ err: error }, "what a dead worker held is still locked; trying again later");
    return { workers: 0, batchIds: [] };
  }
}
