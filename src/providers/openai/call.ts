/**
 * Owns how one call to OpenAI is made: a time-out over the whole reply (the SDK's own ends with the headers:
 * a stalled body hangs for ever), a bounded number of retries where repeating is harmless, and no retry at all
 * where it is not. A crash in here loses nothing: who calls has recorded the intent before.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isRedirect, type ErrorReader } from "./errors.js";
import { ProviderError } from "../../model/provider/provider.js";

/** Calls after the first one. */
export const RETRIES_MAX = 3;
/** A longer wait is left to the caller, who can come back later instead of holding a worker. */
const WAIT_IN_CALL_MS_MAX = 20_000;

export interface CallPlan {
  /** For messages, after "could not": `list batches`. */
  readonly what: string;
  readonly timeoutMs: number;
  /** Exactly one request is sent; what is not certain is `ambiguous`. */
  readonly unrepeatable?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/**
 * Makes a call. `run` must hand its signal to the SDK and read the reply to its end; it is run once a try.
 * Throws what `ErrorReader` makes.
 */
export type Caller = <T>(plan: CallPlan, run: (signal: AbortSignal) => Promise<T>) => Promise<T>;

export function caller(errors: ErrorReader, backoffMs: number): Caller {
  return async (plan, run) => {
    const triesMax = plan.unrepeatable === true ? 1 : 1 + RETRIES_MAX;
    for (let tries = 1; ; tries += 1) {
      try {
        return await callOnce(plan, errors, run);
      } catch (error) {
        const waitMs = tries < triesMax ? waitBefore(error, tries, backoffMs) : null;
        if (waitMs === null || plan.signal?.aborted === true) throw error;
        await sleep(waitMs, undefined, plan.signal === undefined ? {} : { signal: plan.signal }).catch(() => {
          throw error;
        });
      }
    }
  };
}

async function callOnce<T>(
  plan: CallPlan,
  errors: ErrorReader,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const { what, timeoutMs, signal } = plan;
  if (signal?.aborted === true) {
    throw new ProviderError("retryable", `the call to OpenAI "${what}" was interrupted before it was made`);
  }
  const controller = new AbortController();
  let ended: "timeout" | "interrupted" | null = null;
  const end = (why: "timeout" | "interrupted") => {
    ended ??= why;
    controller.abort();
  };
  const interrupt = () => end("interrupted");
  const timer = setTimeout(() => end("timeout"), timeoutMs);
  signal?.addEventListener("abort", interrupt, { once: true });
  try {
    return await run(controller.signal);
  } catch (error) {
    throw errors.read(error, { what, timeoutMs, unrepeatable: plan.unrepeatable === true, ended });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", interrupt);
  }
}

/** How long to wait before the next try, or null when there should be none in this call. */
function waitBefore(error: unknown, tries: number, backoffMs: number): number | null {
  if (!(error instanceof ProviderError) || error.kind !== "retryable" || isRedirect(error.status))
    return null;
  const spread = 0.75 + Math.random() * 0.5;
  const waitMs = error.retryAfterMs ?? backoffMs * 2 ** (tries - 1) * spread;
  return waitMs <= WAIT_IN_CALL_MS_MAX ? waitMs : null;
}
