/**
 * Takes arrivals and looks at their rows, over all pipelines; one worker at a time per pipeline. Arrivals are deleted
 * in the transaction that acts on them: a crash leaves them for the next round.
 */
import * as arrivals from "../../store/requests/arrivals.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { isDataError, type Queryable } from "../../postgres/database.js";
import type { RowSql } from "../../store/requests/row-sql.js";
import * as sweeps from "../../store/requests/sweeps.js";

import type { Pipeline, WorkerContext } from "../context.js";
import { guarded, mayLook } from "../guard.js";
import { lookAt } from "./look.js";

/** Rounds over one pipeline before the others get their turn, */
const ROUNDS_MAX = 20;
/** none begun after this time. */
const ROUNDS_MS_MAX = 5_000;

interface Taken {
  readonly arrivals: number;
  /** Requests that were added. */
  readonly added: number;
}

/** `full`: the round ended although more had arrived. `arrived`: the pipelines' ids, where the caller knows them. */
export async function runIntake(
  context: WorkerContext,
  signal?: AbortSignal,
  { arrived, roundsMax = ROUNDS_MAX }: { arrived?: readonly number[]; roundsMax?: number } = {},
): Promise<Taken & { readonly full: boolean }> {
  const total = { arrivals: 0, added: 0, full: false };
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
      const taken = await guarded(context, pipeline, () =>
        takeOnce(context, pipeline, { lock: pipelines.tryLockIntake, before: null }),
      );
      if (taken === null) break;
      total.arrivals += taken.arrivals;
      total.added += taken.added;
      if (taken.arrivals === 0) break;
    }
  }
  return total;
}

/**
 * Takes everything that arrived for one pipeline before this call, and waits for what another worker has in hand. Later
 * arrivals are left to the next round, so it ends; keys without time for a look keep their time of arrival.
 */
export async function catchUp(context: WorkerContext, pipeline: Pipeline, signal: AbortSignal): Promise<void> {
  const before = await arrivals.presentMoment(context.read);
  let left: number;
  do {
    signal.throwIfAborted();
    left = (await takeOnce(context, pipeline, { lock: pipelines.lockIntake, before })).arrivals;
  } while (left > 0);
}

/** One statement for all new rows; where one row's data makes it fail, row by row. */
async function takeOnce(context: WorkerContext, pipeline: Pipeline, wanted: Taking): Promise<Taken> {
  if (pipeline.source.looksAtNew) return take(context, pipeline, { ...wanted, rows: null });
  try {
    return await take(context, pipeline, { ...wanted, rows: pipeline.source.inSql });
  } catch (error) {
    if (!isDataError(error)) throw error;
    return take(context, pipeline, { ...wanted, rows: null });
  }
}

interface Taking {
  /** False: another worker has the lock. */
  readonly lock: (tx: Queryable, id: number) => Promise<boolean | void>;
  readonly before: arrivals.Moment | null;
}

function take(
  context: WorkerContext,
  pipeline: Pipeline,
  { lock, before, rows }: Taking & { readonly rows: RowSql | null },
): Promise<Taken> {
  return context.step("intake.take", () =>
    context.database.transaction(async (tx) => {
      if ((await lock(tx, pipeline.id)) === false) return { arrivals: 0, added: 0 };
      const taken = await arrivals.takeArrivals(tx, pipeline.id, { before, rows });
      if (taken.sweepWanted) await sweeps.wantSweep(tx, pipeline.id, "arrival");
      if (taken.keyless) await sweeps.wantKeylessCount(tx, pipeline.id);
      const added = taken.keys.length === 0 ? 0 : await lookAt(tx, pipeline, taken);
      return { arrivals: taken.count, added: taken.added + added };
    }),
  );
}
