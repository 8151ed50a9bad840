/**
 * Runs graphile-worker, which wakes and distributes turns. A job gives no right to a batch: losing jobs does no harm.
 * When a reply to one of its statements is lost, a job stays locked without a worker, for four hours, because this
 * process is alive. So after such an error the queue is stopped, its jobs are freed, and a new one starts.
 */
import { EventEmitter } from "node:events";
import type { Runner, WorkerEvents, WorkerPool } from "graphile-worker";
import { explainDatabaseError, isDatabaseWide, plainMessage } from "../../postgres/database.js";
import { pinnedPool } from "../../postgres/pinned-pool.js";
import * as wake from "../../store/ledger/wake.js";
import { advanceBatch } from "../turn/advance.js";
import type { WorkerContext } from "../context.js";
import { errorWaitMs, pause } from "../loop.js";

/** Turns at once; they mostly wait for the provider and the database. */
const CONCURRENCY = 4;
/**
 * How often graphile-worker looks for jobs itself, for what all others missed: `look` here, LISTEN where the connection
 * has it (not with a transaction pooler or the embedded database), and the query for what is due. Each look takes
 * CONCURRENCY connections at once. Its local queue would lock jobs that it cannot start yet, and hide lost replies.
 */
const QUEUE_POLL_MS = 300_000;
/** A next look within this time is timed exactly; the query for what is due finds later ones within a second. */
const REMEMBERED_MS_MAX = 10_000;

export interface Queue {
  /** The present value of `locked_by`. */
  poolId(): string | null;
  /** This many wake-ups may be due: look for them now. */
  look(count: number): void;
  /** Resolves after the signal, when the turns in hand have ended. Never rejects. */
  readonly ended: Promise<void>;
}

export interface QueueOptions {
  readonly signal: AbortSignal;
  /** Called after each turn, and when another process made a wake-up: something may be due. */
  readonly onNews: () => void;
}

/** Runs until the signal. Rejects only when it cannot start. */
export async function startQueue(context: WorkerContext, options: QueueOptions): Promise<Queue> {
  const { signal } = options;
  let current = await startRun(context, options);
  const supervise = async (): Promise<void> => {
    for (;;) {
      await current.over;
      if (signal.aborted) return;
      context.log.warn({ queue: true }, "the queue lost the database; restarting it");
      const next = await restart(context, current.pool, options);
      if (next === null) return;
      current = next;
    }
  };
  return { poolId: () => current.pool?.id ?? null, look: (count) => nudge(current.pool, count), ended: supervise() };
}

/** Null: the signal came first. */
async function restart(
  context: WorkerContext,
  previous: WorkerPool | null,
  options: QueueOptions,
): Promise<Run | null> {
  const { signal } = options;
  for (let failures = 1; !signal.aborted; failures++) {
    await pause(errorWaitMs(failures, context.random()), signal);
    if (signal.aborted) return null;
    try {
      if (previous !== null) await context.step("rescue.bury", () => wake.freeJobs(context.database, previous.id));
      return await startRun(context, options);
    } catch (error) {
      context.log.warn({ queue: true, err: error }, "the queue did not start; trying again");
    }
  }
  return null;
}

interface Run {
  readonly pool: WorkerPool | null;
  /** Resolves when it takes no more jobs and those in hand have ended, for any reason. */
  readonly over: Promise<void>;
}

async function startRun(context: WorkerContext, options: QueueOptions): Promise<Run> {
  const { signal, onNews } = options;
  const events: WorkerEvents = new EventEmitter();
  let pool: WorkerPool | null = null;
  events.on("pool:create", ({ workerPool }) => (pool = workerPool));
  events.on("pool:listen:notification", onNews);
  const turn = async (batchId: string): Promise<void> => {
    const nextMs = await advanceBatch(context, batchId, signal);
    onNews();
    if (nextMs !== null && nextMs <= REMEMBERED_MS_MAX) setTimeout(() => nudge(pool, 1), nextMs + 1).unref();
  };
  const runner = await runGraphile(context, events, turn).catch((error: unknown) => {
    throw explainDatabaseError(error);
  });
  const stop = stopOnce(context, runner);
  if (signal.aborted) stop();
  else signal.addEventListener("abort", stop, { once: true });
  onTrouble(events, stop);
  const over = runner.promise
    .catch((error: unknown) => context.log.warn({ queue: true, err: error }, "the queue ended with an error"))
    .finally(() => signal.removeEventListener("abort", stop));
  return { pool, over };
}

function nudge(pool: WorkerPool | null, count: number): void {
  if (count > 0 && pool !== null && !pool._shuttingDown) pool.nudge(count);
}

/** Loaded here: commands that do one round do not need graphile-worker, and should not wait for it. */
async function runGraphile(
  context: WorkerContext,
  events: WorkerEvents,
  turn: (batchId: string) => Promise<void>,
): Promise<Runner> {
  const { run, Logger } = await import("graphile-worker");
  return run({
    events,
    // oxlint-disable-next-line rowmill/through-step -- it only takes and ends wake-ups; a lost one is made again
    pgPool: pinnedPool(context.database.pool),
    schema: "rowmill_worker",
    noPreparedStatements: true,
    noHandleSignals: true,
    pollInterval: QUEUE_POLL_MS,
    concurrency: CONCURRENCY,
    // Without a delay, even of 0, graphile-worker leaves failures of these two unhandled, which ends the process.
    preset: { worker: { completeJobBatchDelay: 0, failJobBatchDelay: 0 } },
    logger: new Logger(() => (level, message) => {
      if (level === "error" || level === "warning") context.log.warn({ queue: true }, plainMessage(message));
    }),
    taskList: {
      batch: async (payload) => {
        const batchId = batchIdOf(payload);
        if (batchId !== null) await turn(batchId);
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
      // It was ending already.
      context.log.debug({ queue: true, err: error }, "the queue was stopping already");
    });
  };
}

/**
 * Stops when a job may have been taken whose reply never arrived, while no other job is being asked for: stopping
 * during such a question would make graphile-worker print an error.
 */
function onTrouble(events: WorkerEvents, stop: () => void): void {
  let troubled = false;
  const asking = new Set<string>();
  const answered = (workerId: string): void => {
    asking.delete(workerId);
    // Later, when the failed one has finished.
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
  const found = typeof payload === "object" && payload !== null && "batchId" in payload ? payload.batchId : null;
  return typeof found === "string" ? found : null;
}
