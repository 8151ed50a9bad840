/**
 * One process that works: in-process loops for what is quick and shared, graphile-worker for the turns with single batches.
 * Stopping lets each step in hand finish, within a limit; whatever is cut off is picked up by others from the database.
 */
import { setMaxListeners } from "node:events";
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { RowmillError } from "../model/errors.js";
import { requireUnderstood } from "../store/understood.js";
import { beat, signOff } from "../store/workers.js";
import { version } from "../version.js";
import { compareWithList } from "./duplicates.js";
import type { WorkerContext } from "./context.js";
import { askAgainAfterDemo } from "./demo-answers.js";
import { guarded } from "./guard.js";
import { runIntake } from "./intake.js";
import { runJanitor } from "./janitor.js";
import { loop } from "./loop.js";
import { runPlanner } from "./planner.js";
import { startQueue, type Queue } from "./queue.js";
import { runRescuer } from "./rescuer.js";
import { sweepChunk } from "./sweeper.js";

const INTAKE_EVERY_MS = 200;
const PLAN_EVERY_MS = 500;
const SWEEP_EVERY_MS = 1_000;
const SOURCE_CHECK_EVERY_MS = 30_000;
const BEAT_EVERY_MS = 5_000;
const RESCUE_EVERY_MS = 5_000;
const CLEAN_EVERY_MS = 10_000;
const COMPARE_EVERY_MS = 3_600_000;
const STOP_LIMIT_MS = 20_000;
/** Of the signal to stop: each loop, and each call of a turn in hand; above it Node warns of a leak. */
const LISTENERS_MAX = 100;

export interface Worker {
  /** Resolves when the process may exit. Repeatable. */
  stop(): Promise<void>;
}

export interface WorkerOptions {
  /** Plan all that waits, whatever threshold and deadline say. */
  readonly flush: boolean;
}

export async function startWorker(context: WorkerContext, options: WorkerOptions): Promise<Worker> {
  const stopping = new AbortController();
  const { signal } = stopping;
  setMaxListeners(LISTENERS_MAX, signal);
  const queue = await startQueue(context, signal);
  try {
    await heartbeat(context, queue);
  } catch (error) {
    // Whoever called closes the database next: nothing may still be asking it.
    stopping.abort();
    await queue.ended;
    throw error;
  }
  const pipelines = [...context.pipelines.values()];
  const every = (name: string, everyMs: number, work: () => Promise<unknown>) =>
    loop(context, { name, everyMs, signal }, async () => {
      await endIfTooOld(context, stopping);
      return work();
    });
  const loops = [
    every("heartbeat", BEAT_EVERY_MS, () => heartbeat(context, queue)),
    every("intake", INTAKE_EVERY_MS, () => runIntake(context, signal)),
    every("planner", PLAN_EVERY_MS, () => runPlanner(context, options.flush)),
    every("rescuer", RESCUE_EVERY_MS, () => runRescuer(context)),
    every("janitor", CLEAN_EVERY_MS, () => runJanitor(context, signal)),
    every("comparison", COMPARE_EVERY_MS, () => compareWithList(context, signal)),
    every("source check", SOURCE_CHECK_EVERY_MS, async () => {
      for (const pipeline of pipelines)
        await guarded(context, pipeline, () => context.refreshSource(pipeline));
    }),
    ...pipelines.map((pipeline) =>
      every("sweeper", SWEEP_EVERY_MS, async () => {
        while (!signal.aborted && (await sweepChunk(context, pipeline)) !== null);
        await guarded(context, pipeline, () => askAgainAfterDemo(context, pipeline, signal));
      }),
    ),
  ];
  let stopped: Promise<void> | null = null;
  return { stop: () => (stopped ??= stopAll(context, { stopping, queue, loops })) };
}

/** Once a newer version took the ledger over nothing more is begun: all loops and the queue end, as by `stop`. */
async function endIfTooOld(context: WorkerContext, stopping: AbortController): Promise<void> {
  try {
    await requireUnderstood(context.read);
  } catch (error) {
    if (error instanceof RowmillError && error.code === "version_too_old" && !stopping.signal.aborted) {
      context.log.error({ err: error }, "this worker begins nothing more");
      stopping.abort();
    }
    throw error;
  }
}

async function stopAll(
  context: WorkerContext,
  running: { stopping: AbortController; queue: Queue; loops: readonly Promise<void>[] },
): Promise<void> {
  running.stopping.abort();
  const all = Promise.allSettled([running.queue.ended, ...running.loops]);
  const limit = new AbortController();
  const late = await Promise.race([
    all.then(() => false),
    sleep(STOP_LIMIT_MS, true, { signal: limit.signal }).catch(() => false),
  ]);
  limit.abort();
  if (late) context.log.warn("a step did not end in time; its batch goes on when its lease ends");
  context.leases.stop();
  try {
    await context.step("worker.signOff", () => signOff(context.database, context.workerId));
  } catch (error) {
    // The others take its silence for the same.
    context.log.warn({ err: error }, "could not sign off");
  }
}

function heartbeat(context: WorkerContext, queue: Queue): Promise<void> {
  const worker = {
    id: context.workerId,
    poolId: queue.poolId(),
    host: hostname(),
    pid: process.pid,
    version,
  };
  return context.step("worker.beat", () => beat(context.database, worker));
}
