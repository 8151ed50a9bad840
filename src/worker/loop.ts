/** Repeats work until a signal. Errors are logged and retried with exponential backoff; they never end the loop. */
import { setTimeout as sleep } from "node:timers/promises";
import { backoffMs } from "../model/batch/schedule.js";
import type { WorkerContext } from "./context.js";

const LOOP_ERROR_BASE_MS = 1_000;
const LOOP_ERROR_MAX_MS = 30_000;

/** The wait after this many failures in a row, from 1: doubles up to 30 seconds, times 0.5 to 1 by chance. */
export function errorWaitMs(failures: number, chance: number): number {
  return Math.min(LOOP_ERROR_MAX_MS * (0.5 + chance / 2), backoffMs(failures, LOOP_ERROR_BASE_MS, chance));
}

export interface LoopOptions {
  readonly name: string;
  readonly everyMs: number;
  readonly signal: AbortSignal;
}

/** Never rejects. */
export async function loop(
  context: Pick<WorkerContext, "log" | "random">,
  { name, everyMs, signal }: LoopOptions,
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
    await pause(failures === 0 ? everyMs : errorWaitMs(failures, context.random()), signal);
  }
}

/** Ends early, and without an error, when the signal comes. */
export async function pause(ms: number, signal: AbortSignal): Promise<void> {
  try {
    await sleep(ms, undefined, { signal });
  } catch (error) {
    if (!signal.aborted) throw error;
  }
}
