/**
 * graphile-worker as the stages use it: it wakes and distributes turns, and gives no right. What it holds is lost without harm.
 *
 * A reply of its own statements that is lost leaves a job locked that nobody does, and nothing would free it for four hours, since
 * this process lives. So after any trouble of the kind it is stopped, what it held is freed, and another one begins.
 */
import { EventEmitter } from "node:events";
import { Logger as GraphileLogger, run, type Runner, type WorkerEvents } from "graphile-worker";
import { explainDatabaseError, isDatabaseWide, plainMessage } from "../store/database.js";
import { pinnedPool } from "../store/pinned-pool.js";
import { freeJobs } from "../store/free-jobs.js";
import { advanceBatch } from "./advance.js";
import type { WorkerContext } from "./context.js";
import { errorWaitMs, pause } from "./loop.js";

/** Batches in hand at once; their time is mostly the provider's and the database's. */
const CONCURRENCY = 4;
/** LISTEN does not pass a transaction pooler, so the queue is also polled. */
const QUEUE_POLL_MS = 250;

export interface Queue {
  /** What is written into `locked_by` now. */
  poolId(): string | null;
  /** Resolves, after the signal, when the turns in hand have ended. Never rejects. */
  readonly ended: Promise<void>;
}

/** Runs until the signal. Rejects only when it cannot begin. */
export async function startQueue(context: WorkerContext, signal: AbortSignal): Promise<Queue> {
  let current = await startRun(context, signal);
  const supervise = async (): Promise<void> => {
    for (;;) {
      await current.over;
      if (signal.aborted) return;
      context.log.warn({ queue: true }, "the queue lost the database; it begins anew");
      const next = await startAnew(context, current.poolId, signal);
      if (next === null) return;
      current = next;
    }
  };
  return { poolId: () => current.poolId, ended: supervise() };
}

/** Null: the signal came first. */
async function startAnew(
  context: WorkerContext,
  formerPoolId: string | null,
  signal: AbortSignal,
): Promise<Run | null> {
  for (let failures = 1; !signal.aborted; failures++) {
    await pause(errorWaitMs(failures, context.random()), signal);
    if (signal.aborted) return null;
    try {
      if (formerPoolId !== null)
        await context.step("rescue.bury", () => freeJobs(context.database, formerPoolId));
      return await startRun(context, signal);
    } catch (error) {
      context.log.warn({ queue: true, err: error }, "the queue did not begin; trying again");
    }
  }
  return null;
}

interface Run {
  readonly poolId: string | null;
  /** Resolves when it takes no more jobs and those in hand have ended, for whatever reason. */
  readonly over: Promise<void>;
}

async function startRun(context: WorkerContext, signal: AbortSignal): Promise<Run> {
  const events: WorkerEvents = new EventEmitter();
  let poolId: string | null = null;
  events.on("pool:create", ({ workerPool }) => (poolId = workerPool.id));
  const runner = await runGraphile(context, events, signal).catch((error: unknown) => {
    throw explainDatabaseError(error);
  });
  const stop = stopOnce(context, runner);
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  onTrouble(events, stop);
  const over = runner.promise
    .catch((error: unknown) => context.log.warn({ queue: true, err: error }, "the queue ended with an error"))
    .finally(() => signal.removeEventListener("abort", stop));
  return { poolId, over };
}

function runGraphile(context: WorkerContext, events: WorkerEvents, signal: AbortSignal): Promise<Runner> {
  return run({
    events,
    // oxlint-disable-next-line rowmill/through-step -- its own statements only take and end wake-ups; a lost one is made anew
    pgPool: pinnedPool(context.database.pool),
    schema: "rowmill_worker",
    noPreparedStatements: true,
    noHandleSignals: true,
    pollInterval: QUEUE_POLL_MS,
    concurrency: CONCURRENCY,
    // Without a delay, even of nothing, graphile-worker lets the failure of these two go unhandled, which ends the process.
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    logger: new GraphileLogger(() => (level, message) => {
      if (level === "error" || level === "warning") context.log.warn({ queue: true }, plainMessage(message));
    }),
    taskList: {
      batch: async (payload) => {
        const batchId = batchIdOf(payload);
        if (batchId !== null) await advanceBatch(context, batchId, signal);
      },
    },
  });
}

function stopOnce(context: WorkerContext, runner: Runner): () => void {
  let stopping = false;
  return () => {
    if (stopping) return;
    stopping = true;
    runner.stop().catch((error: unknown) => {
      // It was ending by itself.
      context.log.debug({ queue: true, err: error }, "the queue was stopping already");
    });
  };
}

/**
 * Stops when a job may have been taken whose name never arrived here, at an instant when no other is being asked for: such a question
 * would end in an error that graphile-worker prints.
 */
function onTrouble(events: WorkerEvents, stop: () => void): void {
  let troubled = false;
  const asking = new Set<string>();
  const answered = (workerId: string): void => {
    asking.delete(workerId);
    // Later, when the one that failed has come to rest.
    if (troubled && asking.size === 0) setImmediate(stop);
  };
  events.on("worker:getJob:start", ({ worker }) => asking.add(worker.workerId));
  events.on("worker:getJob:empty", ({ worker }) => answered(worker.workerId));
  events.on("job:start", ({ worker }) => answered(worker.workerId));
  events.on("worker:getJob:error", ({ worker, error }) => {
    troubled ||= isDatabaseWide(explainDatabaseError(error));
    answered(worker.workerId);
  });
}

function batchIdOf(payload: unknown): string | null {
  const found =
    typeof payload === "object" && payload !== null && "batchId" in payload ? payload.batchId : null;
  return typeof found === "string" ? found : null;
}
