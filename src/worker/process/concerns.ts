/**
 * What this worker does about what is due, concern by concern. An answer only says where to look: each stage decides
 * under its own locks, and finds nothing to do where another worker was first.
 */
import { decidePlanning, isFilling } from "../../model/batch/schedule.js";
import type { Due, PipelineDue } from "../../store/ledger/due.js";
import { MORE, type Concern } from "./attend.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { askAgainAfterDemo, mayAskAgain } from "../rounds/demo-answers.js";
import { compareWithList } from "../rounds/duplicates.js";
import { requestsMax } from "../rounds/file-limits.js";
import { guarded } from "../guard.js";
import { deliverDue } from "../rounds/deliverer.js";
import { runIntake } from "../rounds/intake.js";
import { runJanitor } from "../rounds/janitor.js";
import { planPipeline } from "../rounds/planner.js";
import type { Queue } from "./queue.js";
import { runRescuer } from "../rounds/rescuer.js";
import { isSweepDue, sweepChunk } from "../rounds/sweeper.js";
import { syncPipeline } from "../rounds/sync.js";

const LOOK_EVERY_MS = 1_000;
const INTAKE_REST_MS = 200;
const SWEEP_REST_MS = 1_000;
/** The longest that a sweep waits for rows that keep arriving. */
const ARRIVALS_MS_MAX = 60_000;
/** Answers that come in the meantime are delivered together. */
const DELIVER_REST_MS = 200;
const RESCUE_REST_MS = 1_000;
const SYNC_REST_MS = 1_000;
/** You may want a pass sooner. */
const SYNC_LOOK_MS_MAX = 10_000;
const SOURCE_CHECK_EVERY_MS = 30_000;
const COMPARE_EVERY_MS = 3_600_000;
/** Between two clean-ups: after something happened, and when nothing did. */
const CLEAN_REST_MS = 10_000;
const CLEAN_REST_MS_MAX = 300_000;
/**
 * Between two rounds of planning: rows that come in the meantime share a batch. Doubles for a pipeline without a
 * result.
 */
const PLAN_REST_MS = 500;
const PLAN_REST_MS_MAX = 60_000;

export interface ConcernOptions {
  readonly flush: boolean;
  readonly queue: Queue;
  readonly signal: AbortSignal;
}

export function concernsOf(context: WorkerContext, options: ConcernOptions): readonly Concern[] {
  const { queue, signal } = options;
  return [
    {
      name: "intake",
      restMs: INTAKE_REST_MS,
      work: ({ pipelines }) => {
        const arrived = [...pipelines.values()].filter((one) => one.arrived && mayLook(one)).map(({ id }) => id);
        if (arrived.length === 0) return null;
        return async () => ((await runIntake(context, signal, { arrived })).full ? MORE : null);
      },
    },
    planner(context, options),
    ...[...context.pipelines.values()].map((pipeline) => sweeper(context, pipeline, signal)),
    ...[...context.pipelines.values()]
      .filter(({ delivery }) => delivery !== null)
      .map((pipeline) => deliverer(context, pipeline, signal)),
    demoAnswers(context, signal),
    {
      name: "queue",
      restMs: 0,
      regular: true,
      work: ({ batches }) => (batches === 0 ? null : () => Promise.resolve(queue.look(batches))),
    },
    {
      name: "rescuer",
      restMs: RESCUE_REST_MS,
      work: ({ dead, orphan }) => (dead || orphan ? async () => queue.look((await runRescuer(context)).batches) : null),
    },
    janitor(context, signal),
    {
      name: "comparison",
      restMs: COMPARE_EVERY_MS,
      regular: true,
      work: ({ pipelines }) => {
        const isSoonNeeded = [...pipelines.values()].some((one) => one.approved && one.ready > 0);
        return () => compareWithList(context, signal, isSoonNeeded);
      },
    },
    sourceCheck(context, signal),
    ...[...context.pipelines.values()].flatMap((pipeline) => synced(context, pipeline, signal)),
  ];
}

/** Until the next deadline, the end of the next backoff, or the next batch's turn; null: none is known. */
export function nextMs({ pipelines: ours }: WorkerContext, due: Due): number | null {
  const waits = [...due.pipelines.values()].flatMap((one) => {
    const maxWaitMs = ours.get(one.id)?.config.when.maxWaitMs ?? Infinity;
    return [one.nextReadyMs ?? Infinity, one.deliverMs ?? Infinity, maxWaitMs - (one.oldestWaitMs ?? -Infinity)];
  });
  // The queue may have missed the wake-up of a batch that is due.
  const lookMs = due.batches > 0 ? LOOK_EVERY_MS : Infinity;
  const next = Math.min(lookMs, ...[...waits, due.nextMs ?? Infinity].filter((ms) => ms > 0));
  return Number.isFinite(next) ? next : null;
}

/** As `mayLook` in guard.ts: starts nothing that would end there. */
function mayLook({ current, pauseKind }: PipelineDue): boolean {
  return current && pauseKind !== "source";
}

/** What is due for this pipeline; null: its definition here is not the current one. */
function current({ pipelines }: Due, { id }: Pipeline): PipelineDue | null {
  const found = pipelines.get(id);
  return found?.current === true ? found : null;
}

function planner(context: WorkerContext, { flush, queue }: ConcernOptions): Concern {
  const rests = new Rests();
  const isDue = (pipeline: Pipeline, due: Due): boolean => {
    const one = current(due, pipeline);
    if (one === null) return false;
    const filling = isFilling({ ...one, arriving: one.arrived && mayLook(one), requestsMax: requestsMax(pipeline) });
    // Even for a paused pipeline: a flush ends when nothing waits.
    if (one.flush && !filling) return true;
    if (one.pauseKind !== null && one.pauseKind !== "budget") return false;
    const { rows, maxWaitMs } = pipeline.config.when;
    const { ready, oldestWaitMs } = one;
    return decidePlanning({ ready, oldestWaitMs, rowsThreshold: rows, maxWaitMs, flush: flush && !filling }).plan;
  };
  const plan = async (pipelines: readonly Pipeline[], revision: string): Promise<void> => {
    for (const pipeline of pipelines) {
      const batches = await planPipeline(context, pipeline, { flush, mayWait: true });
      if (batches > 0) rests.end(pipeline);
      else rests.begin(pipeline, revision);
      queue.look(batches);
    }
  };
  return {
    name: "planner",
    restMs: PLAN_REST_MS,
    work: (due) => {
      const pipelines = [...context.pipelines.values()].filter(
        (pipeline) => isDue(pipeline, due) && !rests.holds(pipeline, due.revision),
      );
      return pipelines.length === 0 ? null : () => plan(pipelines, due.revision);
    },
  };
}

/** Pipelines without a result are planned less and less often until something happens in the ledger. */
class Rests {
  readonly #rests = new Map<Pipeline, { revision: string; fromMs: number; ms: number }>();

  holds(pipeline: Pipeline, revision: string): boolean {
    const rest = this.#rests.get(pipeline);
    if (rest === undefined) return false;
    const ms = rest.revision === revision ? rest.ms : PLAN_REST_MS;
    return performance.now() - rest.fromMs < ms;
  }

  begin(pipeline: Pipeline, revision: string): void {
    const before = this.#rests.get(pipeline);
    const ms = before?.revision === revision ? Math.min(PLAN_REST_MS_MAX, before.ms * 2) : PLAN_REST_MS;
    this.#rests.set(pipeline, { revision, fromMs: performance.now(), ms });
  }

  end(pipeline: Pipeline): void {
    this.#rests.delete(pipeline);
  }
}

/**
 * One per pipeline, so that a long sweep delays no other. Arrivals are taken in before one begins: an arrival has a
 * row's old and new key, while a sweep would find only the new one and send the row again.
 */
function sweeper(context: WorkerContext, pipeline: Pipeline, signal: AbortSignal): Concern {
  /** Since when a sweep that is due waits; null: none does. */
  let waitsSinceMs: number | null = null;
  return {
    name: "sweeper",
    restMs: SWEEP_REST_MS,
    work: (due) => {
      const sinceMs = waitsSinceMs ?? performance.now();
      waitsSinceMs = null;
      const one = current(due, pipeline);
      if (one === null || !mayLook(one)) return null;
      const { sweep } = one;
      const isUnderWay = sweep === null || sweep.phase !== "idle";
      if (!isUnderWay && sweep.sweptHash === pipeline.definitionHash && !isSweepDue(sweep)) return null;
      if (!isUnderWay && one.arrived && performance.now() - sinceMs <= ARRIVALS_MS_MAX) {
        waitsSinceMs = sinceMs;
        return null;
      }
      return async () => {
        while (!signal.aborted && (await sweepChunk(context, pipeline)) !== null);
      };
    },
  };
}

/** Only the ledger knows when a pass is due: another worker may have made it. */
function synced(context: WorkerContext, pipeline: Pipeline, signal: AbortSignal): Concern[] {
  if (pipeline.config.source.replica?.sync == null) return [];
  let notBeforeMs = 0;
  return [
    {
      name: "sync",
      restMs: SYNC_REST_MS,
      regular: true,
      work: (due) => {
        const one = current(due, pipeline);
        if (one === null || performance.now() < notBeforeMs) return null;
        return async () => {
          const waitMs = await guarded(context, pipeline, () => syncPipeline(context, pipeline, signal));
          notBeforeMs = performance.now() + Math.min(waitMs ?? 0, SYNC_LOOK_MS_MAX);
        };
      },
    },
  ];
}

/** One per pipeline, so that a slow target delays no other. Also while nothing may be sent: the answers are paid. */
function deliverer(context: WorkerContext, pipeline: Pipeline, signal: AbortSignal): Concern {
  return {
    name: "deliverer",
    restMs: DELIVER_REST_MS,
    work: (due) => {
      const one = current(due, pipeline);
      if (one === null || one.pauseKind === "target" || one.pauseKind === "deployment") return null;
      if (one.deliverMs === null || one.deliverMs > 0) return null;
      // Another `up` began with another target.
      if (one.targetHash !== pipeline.delivery?.targetHash) return null;
      return async () => ((await deliverDue(context, pipeline, signal)).full ? MORE : null);
    },
  };
}

function demoAnswers(context: WorkerContext, signal: AbortSignal): Concern {
  return {
    name: "demo answers",
    restMs: 0,
    work: (due) => {
      const pipelines = [...context.pipelines.values()].filter(
        (pipeline) => current(due, pipeline)?.demo === true && mayAskAgain(context, pipeline.provider),
      );
      if (pipelines.length === 0) return null;
      return async () => {
        for (const pipeline of pipelines)
          await guarded(context, pipeline, () => askAgainAfterDemo(context, pipeline, signal));
      };
    },
  };
}

function janitor(context: WorkerContext, signal: AbortSignal): Concern {
  let cleaned = { revision: "", atMs: -Infinity };
  return {
    name: "janitor",
    restMs: CLEAN_REST_MS,
    regular: true,
    work: ({ revision }) => {
      if (revision === cleaned.revision && performance.now() - cleaned.atMs < CLEAN_REST_MS_MAX) return null;
      return async () => {
        await runJanitor(context, signal);
        cleaned = { revision, atMs: performance.now() };
      };
    },
  };
}

/** All pipelines after a change in the catalog; otherwise those that wait for their source, or could not be checked. */
function sourceCheck(context: WorkerContext, signal: AbortSignal): Concern {
  const checked = new WeakMap<Pipeline, string>();
  const check = async (due: Due): Promise<void> => {
    const state = await context.catalogueState();
    for (const pipeline of context.pipelines.values()) {
      signal.throwIfAborted();
      const isPaused = current(due, pipeline)?.pauseKind === "source";
      if (!isPaused && checked.get(pipeline) === state) continue;
      await guarded(context, pipeline, async () => {
        await context.refreshSource(pipeline);
        checked.set(pipeline, state);
      });
    }
  };
  return {
    name: "source check",
    restMs: SOURCE_CHECK_EVERY_MS,
    regular: true,
    work: (due) => () => check(due),
  };
}
