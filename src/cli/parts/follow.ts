/**
 * Stays beside a running worker: shows its progress, settles approvals, and ends when nothing moves any more (`--until-idle`) or
 * when the person interrupts. The work itself does not depend on it. It looks when the worker has a new answer, and asks the database only where
 * that shows that something happened.
 */
import type { Logger } from "pino";
import { idleState } from "../../app/open/idle.js";
import { DatabaseError } from "../../postgres/database.js";
import type { Due } from "../../store/ledger/due.js";
import { Alarm } from "../../worker/process/attend.js";
import type { WorkerContext } from "../../worker/context.js";
import { errorWaitMs } from "../../worker/loop.js";
import type { Worker } from "../../worker/process/worker.js";
import type { Approvals } from "./approvals.js";
import { WAIT_MS_MAX } from "../screen/patience.js";
import type { WorkProgress } from "../screen/work-progress.js";

/** Between two looks; and at most, where nothing moves on a screen and no end is waited for: the worker has another answer sooner. */
const ROUND_MS = 500;
const ROUND_MS_MAX = 15_000;
/** Looking may take at most a third of the time, and a person is kept waiting for no news so long at most. */
const REST_FACTOR = 2;
const REST_MAX_MS = 5_000;
/** Idle so often in a row: a row between two stages is never taken for none. */
const IDLE_ROUNDS = 2;
/** Whether all is idle is looked at so often, also where nothing seems to have happened. */
const IDLE_LOOK_MS = 5_000;

export interface Following {
  readonly worker: Pick<Worker, "seen" | "onSeen">;
  readonly approvals: Approvals;
  readonly progress: WorkProgress;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly untilIdle: boolean;
}

/** Resolves when idle. @throws the signal's reason when it is aborted; RowmillError when a newer version took the ledger over. */
export async function follow(context: WorkerContext, following: Following): Promise<void> {
  const { log, signal, worker, progress, untilIdle } = following;
  const idle = new IdleWatch(context, following);
  const alarm = new Alarm();
  let notBeforeMs = 0;
  worker.onSeen(() => alarm.hasten(notBeforeMs - performance.now()));
  signal.addEventListener("abort", () => alarm.hasten(0), { once: true });
  let wellAtMs = performance.now();
  for (let troubles = 0; ;) {
    signal.throwIfAborted();
    const startedAtMs = performance.now();
    const seen = worker.seen();
    const { due, trouble } = seen;
    if (trouble !== null) throwIfLasting(trouble.error, trouble.sinceMs);
    try {
      if (due !== null) {
        await following.approvals.settleLater(unapproved(context, due));
        await progress.update(due);
        if (await idle.look(due)) return;
      }
      troubles = 0;
      wellAtMs = performance.now();
    } catch (error) {
      troubles += 1;
      // The worker's own loops go on all the while.
      throwIfLasting(error, wellAtMs);
      idle.forget();
      log.warn({ err: error }, "the progress could not be read; trying again");
    }
    const restMs =
      troubles > 0
        ? Math.min(REST_MAX_MS, errorWaitMs(troubles, context.random()))
        : Math.max(ROUND_MS, Math.min(REST_MAX_MS, (performance.now() - startedAtMs) * REST_FACTOR));
    notBeforeMs = performance.now() + restMs;
    const isWaiting = troubles === 0 && worker.seen() === seen && !untilIdle && !progress.moves;
    signal.throwIfAborted();
    await alarm.rest(isWaiting ? Math.max(restMs, ROUND_MS_MAX) : restMs);
  }
}

function throwIfLasting(error: unknown, sinceMs: number): void {
  if (!(error instanceof DatabaseError) || performance.now() - sinceMs > WAIT_MS_MAX) throw error;
}

/** Rows of them wait, all of which are known. */
function unapproved({ pipelines }: WorkerContext, due: Due): ReadonlySet<number> {
  const waiting = [...due.pipelines.values()].filter(
    ({ id, approved, current, ready, nextReadyMs, sweep }) =>
      current &&
      !approved &&
      (ready > 0 || nextReadyMs !== null) &&
      sweep?.sweptHash === pipelines.get(id)?.definitionHash,
  );
  return new Set(waiting.map(({ id }) => id));
}

class IdleWatch {
  readonly #context: WorkerContext;
  readonly #following: Following;
  #rounds = 0;
  #looked = { revision: "", atMs: -Infinity };

  constructor(context: WorkerContext, following: Following) {
    this.#context = context;
    this.#following = following;
  }

  /** True: it was idle often enough. */
  async look({ revision }: Due): Promise<boolean> {
    if (!this.#following.untilIdle) return false;
    const isNews = revision !== this.#looked.revision || performance.now() - this.#looked.atMs > IDLE_LOOK_MS;
    if (!isNews && this.#rounds === 0) return false;
    this.#looked = { revision, atMs: performance.now() };
    // First: a pipeline that is cheap enough, or may be, would else count as one that waits for a person.
    const settled = await this.#following.approvals.settleLater();
    this.#rounds = settled && (await idleState(this.#context)).idle ? this.#rounds + 1 : 0;
    return this.#rounds >= IDLE_ROUNDS;
  }

  forget(): void {
    this.#rounds = 0;
  }
}
