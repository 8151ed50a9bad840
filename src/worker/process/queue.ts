/**
 * graphile-worker as the stages use it: it wakes and distributes turns, and gives no right. What it holds is lost without harm.
 *
 * A reply of its own statements that is lost leaves a job locked that nobody does, and nothing would free it for four hours, since
 * this process lives. So after any trouble of the kind it is stopped, what it held is freed, and another one begins.
 */
import { EventEmitter } from "node:events";
import type { Runner, WorkerEvents, WorkerPool } from "graphile-worker";
import { explainDatabaseError, isDatabaseWide, plainMessage } from "../../postgres/database.js";
import { pinnedPool } from "../../postgres/pinned-pool.js";
import * as wake from "../../store/ledger/wake.js";
import { advanceBatch } from "../turn/advance.js";
import type { WorkerContext } from "../context.js";
import { errorWaitMs, pause } from "../loop.js";

/** Batches in hand at once; their time is mostly the provider's and the database's. */
const CONCURRENCY = 4;
/**
 * So often each of them looks for work by itself. Whoever makes a wake-up that is due says so here, LISTEN tells it where the connection
 * allows it (a transaction pooler and the embedded database do not), and the question what is due finds the rest, again and again: this is for
 * what all of them missed. All look at once, each by a connection of its own, which is dear where nothing happens. Its local queue would look as seldom, but it locks what it cannot start yet, and keeps lost replies to itself.
 */
const QUEUE_POLL_MS = 300_000;
/** A look that is no further away is remembered to the moment; the question what is due finds others, a second late at most. */
const REMEMBERED_MS_MAX = 10_000;

export interface Queue {
  /** What is written into `locked_by` now. */
  poolId(): string | null;
  /** So many wake-ups may be due: they are looked for at once. */
  look(count: number): void;
  /** Resolves, after the signal, when the turns in hand have ended. Never rejects. */
  readonly ended: Promise<void>;
}

export interface QueueOptions {
  readonly signal: AbortSignal;
  /** After each turn, and when another process made a wake-up: something may be due. */
  readonly onNews: () => void;
}

/** Runs until the signal. Rejects only when it cannot begin. */
export async function startQueue(context: WorkerContext, options: QueueOptions): Promise<Queue> {
  const { signal } = options;
  let current = await startRun(context, options);
  const supervise = async (): Promise<void> => {
    for (;;) {
      await current.over;
      if (signal.aborted) return;
      context.log.warn({ queue: true }, "the queue lost the database; it begins anew");
      const next = await startAnew(context, current.pool, options);
      if (next === null) return;
      current = next;
    }
  };
  return {
    poolId: () => current.pool?.id ?? null,
    look: (count) => nudge(current.pool, count),
    ended: supervise(),
  };
}

/** Null: the signal came first. */
async function startAnew(
  context: WorkerContext,
  former: WorkerPool | null,
  options: QueueOptions,
): Promise<Run | null> {
  const { signal } = options;
  for (let failures = 1; !signal.aborted; failures++) {
    await pause(errorWaitMs(failures, context.random()), signal);
    if (signal.aborted) return null;
    try {
      if (former !== null)
        await context.step("rescue.bury", () => wake.freeJobs(context.database, former.id));
      return await startRun(context, options);
    } catch (error) {
      context.log.warn({ queue: true, err: error }, "the queue did not begin; trying again");
    }
  }
  return null;
}

interface Run {
  readonly pool: WorkerPool | null;
  /** Resolves when it takes no more jobs and those in hand have ended, for whatever reason. */
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

/** It is loaded here: what does one round and ends needs none of it, and would wait for it. */
async function runGraphile(
  context: WorkerContext,
  events: WorkerEvents,
  turn: (batchId: string) => Promise<void>,
): Promise<Runner> {
  const { run, Logger } = await import("graphile-worker");
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
