/**
 * Follows a running worker: shows its progress, settles approvals, and ends when all is idle (`--until-idle`) or on
 * Ctrl-C. The work does not depend on it. It asks the database only when the worker's own look shows that something
 * happened.
 */
import type { Logger } from "pino";
import { idleState } from "../../../app/open/idle.js";
import { DatabaseError } from "../../../postgres/database.js";
import type { Due } from "../../../store/ledger/due.js";
import { Alarm } from "../../../worker/process/attend.js";
import type { WorkerContext } from "../../../worker/context.js";
import { errorWaitMs } from "../../../worker/loop.js";
import type { Worker } from "../../../worker/process/worker.js";
import type { Approvals } from "../approvals.js";
import { WAIT_MS_MAX } from "../patience.js";
import type { WorkProgress } from "./progress.js";

/** Between two looks; and at most, where nothing moves on a screen and no end is awaited. */
const ROUND_MS = 500;
const ROUND_MS_MAX = 15_000;
/** Looking may take at most a third of the time, up to this rest. */
const REST_FACTOR = 2;
const REST_MAX_MS = 5_000;
/** Rounds in a row: one look could miss a row between two stages. */
const IDLE_ROUNDS = 2;
/** Between two looks for idleness, also where nothing seems to have happened. */
const IDLE_LOOK_MS = 5_000;

export interface Following {
  readonly worker: Pick<Worker, "seen" | "onSeen">;
  readonly approvals: Pick<Approvals, "settleLater">;
  readonly progress: Pick<WorkProgress, "update" | "moves">;
  /** Called at each round; errors of the database are waited out. */
  readonly report?: () => Promise<void>;
  readonly log: Logger;
  readonly signal: AbortSignal;
  readonly untilIdle: boolean;
}

/** Resolves when idle. @throws the signal's reason; RowmillError when a newer version took the ledger over. */
export async function follow(context: WorkerContext, following: Following): Promise<void> {
  const { log, signal, worker, progress, untilIdle } = following;
  const idle = new IdleWatch(context, following);
  const alarm = new Alarm();
  let notBeforeMs = 0;
  worker.onSeen(() => alarm.hasten(notBeforeMs - performance.now()));
  signal.addEventListener("abort", () => alarm.hasten(0), { once: true });
  let wellAtMs = performance.now();
  for (let failures = 0; ;) {
    signal.throwIfAborted();
    const startedAtMs = performance.now();
    const seen = worker.seen();
    const { due, trouble } = seen;
    if (trouble !== null) throwIfLasting(trouble.error, trouble.sinceMs);
    try {
      if (due !== null) {
        await following.approvals.settleLater(unapproved(context, due));
        await following.report?.();
        await progress.update(due);
        if (await idle.look(due)) return;
      }
      failures = 0;
      wellAtMs = performance.now();
    } catch (error) {
      failures += 1;
      throwIfLasting(error, wellAtMs);
      idle.forget();
      log.warn({ err: error }, "the progress could not be read; trying again");
    }
    const restMs =
      failures > 0
        ? Math.min(REST_MAX_MS, errorWaitMs(failures, context.random()))
        : Math.max(ROUND_MS, Math.min(REST_MAX_MS, (performance.now() - startedAtMs) * REST_FACTOR));
    notBeforeMs = performance.now() + restMs;
    const isWaiting = failures === 0 && worker.seen() === seen && !untilIdle && !progress.moves;
    signal.throwIfAborted();
    await alarm.rest(isWaiting ? Math.max(restMs, ROUND_MS_MAX) : restMs);
  }
}

function throwIfLasting(error: unknown, sinceMs: number): void {
  if (!(error instanceof DatabaseError) || performance.now() - sinceMs > WAIT_MS_MAX) throw error;
}

/** Pipelines with waiting rows, all of which are known. */
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

  async look({ revision }: Due): Promise<boolean> {
    if (!this.#following.untilIdle) return false;
    const isNews = revision !== this.#looked.revision || performance.now() - this.#looked.atMs > IDLE_LOOK_MS;
    if (!isNews && this.#rounds === 0) return false;
    this.#looked = { revision, atMs: performance.now() };
    // First: otherwise a pipeline that is cheap enough would count as waiting for an approval.
    const settled = await this.#following.approvals.settleLater();
    this.#rounds = settled && (await idleState(this.#context)).idle ? this.#rounds + 1 : 0;
    return this.#rounds >= IDLE_ROUNDS;
  }

  forget(): void {
    this.#rounds = 0;
  }
}
