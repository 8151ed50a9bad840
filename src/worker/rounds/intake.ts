/**
 * Takes arrivals and looks at their rows. An in-process loop in every worker, over all pipelines, one at a time per pipeline.
 * Arrivals are deleted in the transaction that acts on them: a crash leaves them for the next round.
 */
import * as arrivals from "../../store/requests/arrivals.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { isDataError, type Queryable } from "../../postgres/database.js";
import type { RowSql } from "../../store/requests/row-sql.js";
import * as sweeps from "../../store/requests/sweeps.js";

import type { Pipeline, WorkerContext } from "../context.js";
import { guarded, mayLook } from "../guard.js";
import { lookAt } from "./look.js";

/** Rounds over one pipeline before the others get their turn. */
const ROUNDS_MAX = 20;
/** After so long no further round begins over it. */
const ROUNDS_MS_MAX = 5_000;

export interface IntakeCounts {
  arrivals: number;
  added: number;
  moved: number;
  refused: number;
}

/** One round: every pipeline of this worker for which something arrived. `arrived`: their ids, where they are known. `roundsMax`: over each of them. */
export async function runIntake(
  context: WorkerContext,
  signal?: AbortSignal,
  { arrived, roundsMax = ROUNDS_MAX }: { arrived?: readonly number[]; roundsMax?: number } = {},
): Promise<IntakeCounts & { full: boolean }> {
  // Full: the round ended before there were no more arrivals.
  const total = { arrivals: 0, added: 0, moved: 0, refused: 0, full: false };
  for (const id of arrived ?? (await arrivals.pipelinesWithArrivals(context.read))) {
    const pipeline = context.pipelines.get(id);
    if (!pipeline || !(await mayLook(context.read, pipeline))) continue;
    const startedAt = performance.now();
    for (let round = 0; ; round++) {
      if (signal?.aborted) return total;
      if (round === roundsMax || performance.now() - startedAt > ROUNDS_MS_MAX) {
        total.full = true;
        break;
      }
      const counts = await guarded(context, pipeline, () =>
        takeOnce(context, pipeline, { lock: pipelines.tryLockIntake, before: null }),
      );
      if (counts === null) break;
      total.arrivals += counts.arrivals;
      total.added += counts.added;
      total.moved += counts.moved;
      total.refused += counts.refused;
      if (counts.arrivals === 0) break;
    }
  }
  return total;
}

/**
 * Everything that arrived for one pipeline before this call, also what another worker has in hand: waits for it. What arrives meanwhile
 * is left to the next round, so it ends however much is written; what a look has no time for keeps its time of arrival.
 */
export async function catchUp(
  context: WorkerContext,
  pipeline: Pipeline,
  signal: AbortSignal,
): Promise<void> {
  const before = await arrivals.presentMoment(context.read);
  let left: number;
  do {
    signal.throwIfAborted();
    left = (await takeOnce(context, pipeline, { lock: pipelines.lockIntake, before })).arrivals;
  } while (left > 0);
}

/** New rows by one statement for all of them; where the data of one makes that fail, each row is looked at. */
async function takeOnce(context: WorkerContext, pipeline: Pipeline, wanted: Taking): Promise<IntakeCounts> {
  if (pipeline.source.looksAtNew) return take(context, pipeline, { ...wanted, rows: null });
  try {
    return await take(context, pipeline, { ...wanted, rows: pipeline.source.inSql });
  } catch (error) {
    if (!isDataError(error)) throw error;
    return take(context, pipeline, { ...wanted, rows: null });
  }
}

interface Taking {
  /** False: another worker is at it. */
  readonly lock: (tx: Queryable, id: number) => Promise<boolean | void>;
  readonly before: arrivals.Moment | null;
}

function take(
  context: WorkerContext,
  pipeline: Pipeline,
  { lock, before, rows }: Taking & { readonly rows: RowSql | null },
): Promise<IntakeCounts> {
  return context.step("intake.take", () =>
    context.database.transaction(async (tx) => {
      const counts = { arrivals: 0, added: 0, moved: 0, refused: 0 };
      if ((await lock(tx, pipeline.id)) === false) return counts;
      const taken = await arrivals.takeArrivals(tx, pipeline.id, { before, rows });
      if (taken.sweepWanted) await sweeps.wantSweep(tx, pipeline.id, "arrival");
      if (taken.keyless) await sweeps.wantKeylessCount(tx, pipeline.id);
      const looked = taken.keys.length === 0 ? counts : await lookAt(tx, pipeline, taken);
      return {
        arrivals: taken.count,
        added: taken.added + looked.added,
        moved: looked.moved,
        refused: looked.refused,
      };
    }),
  );
}
