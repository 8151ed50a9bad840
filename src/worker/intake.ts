/**
 * Takes arrivals and looks at their rows. An in-process loop in every worker, over all pipelines, one at a time per pipeline.
 * Arrivals are deleted in the transaction that acts on them: a crash leaves them for the next round.
 */
import { takeArrivals, pipelinesWithArrivals } from "../store/arrivals.js";
import { tryLockIntake } from "../store/pipelines.js";
import { wantSweep } from "../store/sweeps.js";
import type { Pipeline, WorkerContext } from "./context.js";
import { lookAt } from "./look.js";

/** Rounds over one pipeline before the others get their turn. */
const ROUNDS_MAX = 20;

export interface IntakeCounts {
  arrivals: number;
  added: number;
  moved: number;
  refused: number;
}

/** One round: every pipeline of this worker for which something arrived. */
export async function runIntake(context: WorkerContext): Promise<IntakeCounts> {
  const total: IntakeCounts = { arrivals: 0, added: 0, moved: 0, refused: 0 };
  for (const id of await pipelinesWithArrivals(context.database)) {
    const pipeline = context.pipelines.get(id);
    if (!pipeline) continue;
    for (let round = 0; round < ROUNDS_MAX; round++) {
      const counts = await takeOnce(context, pipeline);
      total.arrivals += counts.arrivals;
      total.added += counts.added;
      total.moved += counts.moved;
      total.refused += counts.refused;
      if (counts.arrivals === 0) break;
    }
  }
  return total;
}

async function takeOnce(context: WorkerContext, pipeline: Pipeline): Promise<IntakeCounts> {
  return context.database.transaction(async (tx) => {
    if (!(await tryLockIntake(tx, pipeline.id))) return { arrivals: 0, added: 0, moved: 0, refused: 0 };
    const taken = await takeArrivals(tx, pipeline.id);
    if (taken.sweepWanted) await wantSweep(tx, pipeline.id, "arrival");
    const counts =
      taken.keys.length === 0 ? { added: 0, moved: 0, refused: 0 } : await lookAt(tx, pipeline, taken.keys);
    return { arrivals: taken.count, ...counts };
  });
}
