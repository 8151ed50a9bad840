/**
 * One process that works: in-process loops for what is quick and shared, graphile-worker for the turns with single batches.
 * Stopping lets each step in hand finish, within a limit; whatever is cut off is picked up by others from the database.
 */
import { hostname } from "node:os";
import { setTimeout as sleep } from "node:timers/promises";
import { EventEmitter } from "node:events";
import { Logger as GraphileLogger, run, type Runner, type WorkerEvents } from "graphile-worker";
import { backoffMs } from "../model/schedule.js";
import { beat, signOff } from "../store/workers.js";
import { version } from "../version.js";
import { advanceBatch } from "./advance.js";
import type { WorkerContext } from "./context.js";
import { guarded } from "./guard.js";
import { runIntake } from "./intake.js";
import { runJanitor } from "./janitor.js";
import { runPlanner } from "./planner.js";
import { runRescuer } from "./rescuer.js";
import { sweepChunk } from "./sweeper.js";

const INTAKE_EVERY_MS = 200;
const PLAN_EVERY_MS = 500;
const SWEEP_EVERY_MS = 1_000;
const SOURCE_CHECK_EVERY_MS = 30_000;
const BEAT_EVERY_MS = 5_000;
const RESCUE_EVERY_MS = 5_000;
const CLEAN_EVERY_MS = 10_000;
const LOOP_ERROR_BASE_MS = 1_000;
const LOOP_ERROR_MAX_MS = 30_000;
/** Batches in hand at once; their time is mostly the provider's and the database's. */
const CONCURRENCY = 4;
/** LISTEN does not pass a transaction pooler, so the queue is also polled. */
const QUEUE_POLL_MS = 250;
const STOP_LIMIT_MS = 20_000;

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
  const { runner, poolId } = await startQueue(context, signal);
  await heartbeat(context, poolId);
  const sources = [...context.pipelines.values()];
  const loops = [
    loop(context, signal, "heartbeat", BEAT_EVERY_MS, () => heartbeat(context, poolId)),
    loop(context, signal, "intake", INTAKE_EVERY_MS, () => runIntake(context)),
    loop(context, signal, "planner", PLAN_EVERY_MS, () => runPlanner(context, options.flush)),
    loop(context, signal, "rescuer", RESCUE_EVERY_MS, () => runRescuer(context)),
    loop(context, signal, "janitor", CLEAN_EVERY_MS, () => runJanitor(context, signal)),
    loop(context, signal, "source check", SOURCE_CHECK_EVERY_MS, async () => {
      for (const pipeline of sources) await guarded(context, pipeline, () => context.refreshSource(pipeline));
    }),
    ...sources.map((pipeline) =>
      loop(context, signal, "sweeper", SWEEP_EVERY_MS, async () => {
        while (!signal.aborted && (await sweepChunk(context, pipeline)) !== null);
      }),
    ),
  ];
  let stopped: Promise<void> | null = null;
  return { stop: () => (stopped ??= stopAll(context, { stopping, runner, loops })) };
}

async function stopAll(
  context: WorkerContext,
  running: { stopping: AbortController; runner: Runner; loops: readonly Promise<void>[] },
): Promise<void> {
  running.stopping.abort();
  const all = Promise.allSettled([running.runner.stop(), ...running.loops]);
  const limit = new AbortController();
  const late = await Promise.race([
    all.then(() => false),
    sleep(STOP_LIMIT_MS, true, { signal: limit.signal }).catch(() => false),
  ]);
  limit.abort();
  if (late) context.log.warn("a step did not end in time; its batch goes on when its lease ends");
  context.leases.stop();
  await context.step("worker.signOff", () => signOff(context.database, context.workerId));
}

/** Runs `work` again and again until the signal; an error is logged and waited out, longer each time. */
async function loop(
  context: WorkerContext,
  signal: AbortSignal,
  name: string,
  everyMs: number,
  work: () => Promise<unknown>,
): Promise<void> {
  let failures = 0;
  while (!signal.aborted) {
    try {
      await work();
      failures = 0;
    } catch (error) {
      if (signal.aborted) return;
      failures++;
      context.log.warn({ loop: name, err: error }, "a round failed; trying again");
    }
    const delayMs =
      failures === 0
        ? everyMs
        : Math.min(LOOP_ERROR_MAX_MS, backoffMs(failures, LOOP_ERROR_BASE_MS, context.random()));
    await pause(delayMs, signal);
  }
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}

/** `poolId` is what graphile-worker writes into `locked_by`. */
async function startQueue(
  context: WorkerContext,
  signal: AbortSignal,
): Promise<{ runner: Runner; poolId: string | null }> {
  const events: WorkerEvents = new EventEmitter();
  let poolId: string | null = null;
  events.on("pool:create", ({ workerPool }) => (poolId = workerPool.id));
  const runner = await run({
    events,
    // oxlint-disable-next-line rowmill/through-step -- its own statements only take and end wake-ups; a lost one is made anew
    pgPool: context.database.pool,
    schema: "rowmill_worker",
    noPreparedStatements: true,
    noHandleSignals: true,
    pollInterval: QUEUE_POLL_MS,
    concurrency: CONCURRENCY,
    logger: new GraphileLogger(() => (level, message) => {
      if (level === "error" || level === "warning") context.log.warn({ queue: true }, message);
    }),
    taskList: {
      batch: async (payload) => {
        const batchId = batchIdOf(payload);
        if (batchId !== null) await advanceBatch(context, batchId, signal);
      },
    },
  });
  return { runner, poolId };
}

function batchIdOf(payload: unknown): string | null {
  const found =
    typeof payload === "object" && payload !== null && "batchId" in payload ? payload.batchId : null;
  return typeof found === "string" ? found : null;
}

function heartbeat(context: WorkerContext, pool: string | null): Promise<void> {
  const worker = { id: context.workerId, poolId: pool, host: hostname(), pid: process.pid, version };
  return context.step("worker.beat", () => beat(context.database, worker));
}
