/**
 * A worker whose stages a test runs one by one, and which dies or freezes at a chosen boundary of its steps: before
 * the work of one, or when it took effect. What it leaves in the database stays, its leases too.
 */
import { randomUUID } from "node:crypto";
import { pino } from "pino";
import { keepLeases } from "../../src/worker/lease-keeper.js";
import { makeStep, type StepFaults } from "../../src/worker/step.js";
import type { StepName } from "../../src/worker/step-names.js";
import type { WorkerContext } from "../../src/worker/context.js";

export type Mishap = "dies" | "freezes";

export interface StageWorker {
  readonly isFrozen: boolean;
  /**
   * Does the work. With a mishap: dies or freezes at that boundary, when it gets so far. Resolves when the work
   * ended, died or froze. A frozen worker does nothing else.
   */
  run(work: (context: WorkerContext) => Promise<unknown>, mishap?: PlannedMishap): Promise<void>;
  /** A frozen worker continues where it stood, to the end of that work. */
  thaw(): Promise<void>;
  stop(): void;
}

export interface PlannedMishap {
  readonly what: Mishap;
  /** This many boundaries from the start, or the first of this name: `before submit.create`. */
  readonly at: number | Boundary;
}

export type Boundary = `${"before" | "after"} ${StepName}`;

class Died extends Error {}

/** `opened` is only taken apart: its provider and bound pipelines outlive each death. */
export function stageWorker(opened: WorkerContext): StageWorker {
  let life = incarnate(opened, null);
  let frozen: Promise<void> | null = null;
  return {
    get isFrozen() {
      return frozen !== null;
    },
    run: async (work, mishap) => {
      if (frozen !== null) return;
      life.end();
      life = incarnate(opened, mishap ?? null);
      const ended = ending(work(life.context));
      const froze = await Promise.race([ended.then(() => false), life.froze.then(() => true)]);
      if (froze) frozen = ended;
    },
    thaw: async () => {
      life.thaw();
      await frozen;
      frozen = null;
    },
    stop: () => life.end(),
  };
}

/** Its death is how it ended, and nothing else is. */
async function ending(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof Died)) throw error;
  }
}

interface Life {
  readonly context: WorkerContext;
  readonly froze: Promise<void>;
  thaw(): void;
  end(): void;
}

function incarnate(opened: WorkerContext, mishap: PlannedMishap | null): Life {
  let passed = 0;
  let struck = false;
  let dead = false;
  const froze = gate();
  const thawed = gate();
  const boundary = async (name: Boundary): Promise<void> => {
    if (dead) throw new Died("This worker is dead.");
    if (struck || mishap === null || (mishap.at !== name && mishap.at !== passed++)) return;
    struck = true;
    if (mishap.what === "freezes") {
      froze.open();
      return thawed.passed;
    }
    // Whatever catches this error: no step of a dead worker is done any more.
    dead = true;
    throw new Died("This worker dies here.");
  };
  const faults: StepFaults = {
    before: (name) => boundary(`before ${name}`),
    after: (name) => boundary(`after ${name}`),
  };
  const log = pino({ level: process.env["TEST_LOG"] ?? "silent" });
  const step = makeStep(log, { faults });
  // Its leases are renewed apart, or the timer would count as a boundary.
  const leases = keepLeases(opened.database, log, makeStep(log));
  return {
    context: { ...opened, workerId: randomUUID(), step, leases },
    froze: froze.passed,
    thaw: thawed.open,
    end: () => leases.stop(),
  };
}

interface Gate {
  readonly passed: Promise<void>;
  readonly open: () => void;
}

function gate(): Gate {
  let open = (): void => undefined;
  const passed = new Promise<void>((resolve) => {
    open = resolve;
  });
  return { passed, open };
}
