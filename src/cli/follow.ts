/**
 * Stays beside a running worker: shows its progress, settles approvals, and ends when nothing moves any more (`--until-idle`) or
 * when the person interrupts. The work itself does not depend on it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Logger } from "pino";
import { idleState } from "../app/idle.js";
import { DatabaseError } from "../store/database.js";
import { requireUnderstood } from "../store/understood.js";
import type { WorkerContext } from "../worker/context.js";
import { errorWaitMs } from "../worker/loop.js";
import type { Approvals } from "./approvals.js";
import { WAIT_MS_MAX } from "./patience.js";
import type { WorkProgress } from "./work-progress.js";

const ROUND_MS = 500;
/** Looking may take at most a third of the time, and a person is kept waiting for no news so long at most. */
const REST_FACTOR = 2;
const REST_MAX_MS = 5_000;
/** Idle so often in a row: a row between two stages is never taken for none. */
const IDLE_ROUNDS = 2;

export interface Following {
  readonly approvals: Approvals;
  readonly progress: WorkProgress;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly untilIdle: boolean;
}

/** Resolves when idle. @throws the signal's reason when it is aborted; RowmillError when a newer version took the ledger over. */
export async function follow(context: WorkerContext, following: Following): Promise<void> {
  const { log, signal, untilIdle } = following;
  let idleRounds = 0;
  let wellAtMs = performance.now();
  for (let troubles = 0; ;) {
    signal.throwIfAborted();
    const startedAtMs = performance.now();
    try {
      const idle = await oneRound(context, following);
      idleRounds = idle ? idleRounds + 1 : 0;
      troubles = 0;
      wellAtMs = performance.now();
    } catch (error) {
      troubles += 1;
      // The worker's own loops go on all the while.
      if (!(error instanceof DatabaseError) || performance.now() - wellAtMs > WAIT_MS_MAX) throw error;
      idleRounds = 0;
      log.warn({ err: error }, "the progress could not be read; trying again");
    }
    if (untilIdle && idleRounds >= IDLE_ROUNDS) return;
    const restMs = Math.min(REST_MAX_MS, (performance.now() - startedAtMs) * REST_FACTOR);
    await rest(
      troubles > 0
        ? Math.min(REST_MAX_MS, errorWaitMs(troubles, context.random()))
        : Math.max(ROUND_MS, restMs),
      signal,
    );
  }
}

async function oneRound(context: WorkerContext, following: Following): Promise<boolean> {
  await requireUnderstood(context.read);
  // First: a pipeline that is cheap enough would else count as one that waits for a person.
  await following.approvals.settleLater();
  await following.progress.update();
  return following.untilIdle && (await idleState(context)).idle;
}

async function rest(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => signal.throwIfAborted());
}
