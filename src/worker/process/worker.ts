/**
 * One worker process: it runs the concerns that are due, and graphile-worker runs turns with single batches. Stopping
 * lets each step in hand finish, within a limit; other workers pick up from the database what was cut off.
 */
import { setMaxListeners } from "node:events";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { RowmillError } from "../../model/errors.js";
import * as due from "../../store/ledger/due.js";
import * as workers from "../../store/ledger/workers.js";
import { VERSION } from "../../version.js";
import { attend, type Attendance } from "./attend.js";
import { concernsOf, nextMs } from "./concerns.js";
import type { WorkerContext } from "../context.js";
import { loop } from "../loop.js";
import { startQueue, type Queue } from "./queue.js";

const BEAT_EVERY_MS = 5_000;
/** Between two expensive questions: for batches without a wake-up, and rows that the demo model answered. */
const THOROUGH_EVERY_MS = 4_000;
const STOP_LIMIT_MS = 20_000;
/** Of the stop signal, one per call in hand; above this number Node warns of a leak. */
const LISTENERS_MAX = 100;

/** `seen`: what was due at the last question. If its trouble is no database error, the worker has ended. */
export interface Worker extends Pick<Attendance, "seen" | "onSeen"> {
  /** Resolves when the process may exit. Repeatable. */
  stop(): Promise<void>;
}

export interface WorkerOptions {
  /** Plan all that waits, whatever the threshold and deadline. */
  readonly flush: boolean;
  /** When the file of the config was changed after this process had read it; null: it was not. */
  readonly configChangedAt?: () => Date | null;
}

export async function startWorker(context: WorkerContext, options: WorkerOptions): Promise<Worker> {
  const stopping = new AbortController();
  const { signal } = stopping;
  setMaxListeners(LISTENERS_MAX, signal);
  let hasten = (): void => undefined;
  const queue = await startQueue(context, { signal, onNews: () => hasten() });
  const beat = () => heartbeat(context, queue, options.configChangedAt?.() ?? null);
  try {
    await beat();
  } catch (error) {
    // The caller closes the database next: nothing may still use it.
    stopping.abort();
    await queue.ended;
    throw error;
  }
  const attendance = attend(context, {
    ask: asker(context, stopping),
    holds: (last) => due.holds(context.read, last),
    nextMs: (last) => nextMs(context, last),
    concerns: concernsOf(context, { ...options, queue, signal }),
    signal,
  });
  const { seen, onSeen } = attendance;
  ({ hasten } = attendance);
  const heart = loop(context, { name: "heartbeat", everyMs: BEAT_EVERY_MS, signal }, beat);
  let stopped: Promise<void> | null = null;
  const running = { stopping, queue, ended: [heart, attendance.ended] };
  return { seen, onSeen, stop: () => (stopped ??= stopAll(context, running)) };
}

/** Once a newer version took over the ledger, everything here ends, as by `stop`. */
function asker(context: WorkerContext, stopping: AbortController): () => Promise<due.Due> {
  const pipelines = [...context.pipelines.values()];
  let thoroughAtMs = 0;
  return async () => {
    const thorough = performance.now() >= thoroughAtMs;
    try {
      const answer = await due.askDue(context.read, { pipelines, thorough });
      if (thorough) thoroughAtMs = performance.now() + THOROUGH_EVERY_MS;
      return answer;
    } catch (error) {
      if (error instanceof RowmillError && error.code === "version_too_old" && !stopping.signal.aborted) {
        context.log.error({ err: error }, "this worker stops: a newer version uses the ledger");
        stopping.abort();
      }
      throw error;
    }
  };
}

async function stopAll(
  context: WorkerContext,
  running: { stopping: AbortController; queue: Queue; ended: readonly Promise<void>[] },
): Promise<void> {
  running.stopping.abort();
  const all = Promise.allSettled([running.queue.ended, ...running.ended]);
  const limit = new AbortController();
  const late = await Promise.race([
    all.then(() => false),
    sleep(STOP_LIMIT_MS, true, { signal: limit.signal }).catch(() => false),
  ]);
  limit.abort();
  if (late) context.log.warn("a step did not end in time; its batch continues when its lease ends");
  context.leases.stop();
  try {
    await context.step("worker.signOff", () => workers.signOff(context.database, context.workerId));
  } catch (error) {
    // Other workers notice its silence.
    context.log.warn({ err: error }, "could not sign off");
  }
}

function heartbeat(context: WorkerContext, queue: Queue, configChangedAt: Date | null): Promise<void> {
  const worker = {
    id: context.workerId,
    poolId: queue.poolId(),
    host: hostname(),
    pid: process.pid,
    version: VERSION,
    configChangedAt,
  };
  return context.step("worker.beat", () => workers.beat(context.database, worker));
}
