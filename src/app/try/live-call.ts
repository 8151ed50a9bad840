/** One live call to the model, repeated only where the provider certainly executed nothing. */
import { setTimeout as sleep } from "node:timers/promises";
import type { AnswerOutcome, ModelRequest } from "../../model/provider/outcome.js";
import { ProviderError, type Provider } from "../../model/provider/provider.js";

/** Calls for one row, of which all but the last met a rate limit. */
const CALLS_MAX = 4;
const WAIT_MS_MIN = 1_000;
/** Someone waits for it: a provider that asks for longer ends the try. */
const WAIT_MS_MAX = 20_000;

export type CallEnd =
  | { readonly kind: "outcome"; readonly outcome: AnswerOutcome; readonly latencyMs: number }
  | { readonly kind: "error"; readonly error: ProviderError; readonly latencyMs: number };

type Answer = NonNullable<Provider["answer"]>;

/** No call begins after the signal; one that is on its way is waited for, since it is paid for. */
export async function callLive(answer: Answer, request: ModelRequest, signal: AbortSignal): Promise<CallEnd> {
  for (let calls = 1; ; calls++) {
    const end = await callOnce(answer, request);
    const waitMs = calls < CALLS_MAX ? waitBefore(end, calls) : null;
    if (waitMs === null || !(await waited(waitMs, signal))) return end;
  }
}

async function callOnce(answer: Answer, request: ModelRequest): Promise<CallEnd> {
  const startedAtMs = performance.now();
  const latencyMs = () => Math.round(performance.now() - startedAtMs);
  try {
    const outcome = await answer(request);
    return { kind: "outcome", outcome, latencyMs: latencyMs() };
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return { kind: "error", error, latencyMs: latencyMs() };
  }
}

/** Null: it is no rate limit, or the wait would be too long. */
function waitBefore(end: CallEnd, calls: number): number | null {
  const backoffMs = WAIT_MS_MIN * 2 ** (calls - 1) * (0.75 + Math.random() * 0.5);
  if (end.kind === "outcome") return end.outcome.kind === "rateLimited" ? backoffMs : null;
  const { kind, status, retryAfterMs } = end.error;
  if (kind !== "retryable" || (status !== 429 && status !== 425)) return null;
  const waitMs = retryAfterMs ?? backoffMs;
  return waitMs <= WAIT_MS_MAX ? waitMs : null;
}

/** False: interrupted. */
function waited(ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(ms, true, { signal }).catch(() => false);
}

/** Whether the model may have run, so that the call may have to be paid for. */
export function mayBeExecuted({ kind }: ProviderError): boolean {
  return kind === "ambiguous";
}
