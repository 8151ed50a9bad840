/**
 * The one way in which the stages make something durable or call a provider; the linter refuses any other
 * (scripts/lint-rules.js). Each step has a name, so that it can be timed, traced, and made to fail in a test.
 */
import type { Logger } from "pino";
import type { StepName } from "./step-names.js";

/** For tests: a throw, delay, freeze or death at a step. `after`: it took effect, and its caller does not know yet. */
export interface StepFaults {
  readonly before?: (name: StepName) => Promise<void>;
  readonly after?: (name: StepName) => Promise<void>;
}

export interface StepDone {
  readonly name: StepName;
  readonly lastedMs: number;
  readonly failed: boolean;
}

/** Does the work of one step, and throws what it throws. */
export type RunStep = <T>(name: StepName, work: () => Promise<T>) => Promise<T>;

export interface StepOptions {
  readonly faults?: StepFaults;
  readonly onDone?: (done: StepDone) => void;
}

export function makeStep(log: Logger, { faults = {}, onDone }: StepOptions = {}): RunStep {
  const ended = (name: StepName, begunMs: number, failed: boolean): void => {
    const done = { name, lastedMs: performance.now() - begunMs, failed };
    log.trace(done, "step");
    onDone?.(done);
  };
  return async (name, work) => {
    const begunMs = performance.now();
    let failed = true;
    try {
      await faults.before?.(name);
      const result = await work();
      await faults.after?.(name);
      failed = false;
      return result;
    } finally {
      ended(name, begunMs, failed);
    }
  };
}

/** Each item of a provider's stream is a step of its own. */
export async function* eachStep<T, End>(
  step: RunStep,
  name: StepName,
  items: AsyncGenerator<T, End>,
): AsyncGenerator<T, End> {
  try {
    for (;;) {
      const item = await step(name, () => items.next());
      if (item.done === true) return item.value;
      yield item.value;
    }
  } finally {
    // No one reads this return value.
    await items.return(undefined as End);
  }
}
