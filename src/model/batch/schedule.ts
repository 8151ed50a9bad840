/** When to act next: pure functions, with clock and chance as inputs. Milliseconds throughout. */

export interface PlanningFacts {
  /** Requests that may go out now. */
  readonly ready: number;
  /** How long the oldest of them has waited; null when none is ready. */
  readonly oldestWaitMs: number | null;
  readonly rowsThreshold: number;
  readonly maxWaitMs: number;
  readonly flush: boolean;
}

export type PlanningDecision =
  { readonly plan: true; readonly because: "threshold" | "deadline" | "flush" } | { readonly plan: false };

/** Threshold **or** deadline, or a flush that someone asked for. */
export function decidePlanning(facts: PlanningFacts): PlanningDecision {
  if (facts.ready === 0 || facts.oldestWaitMs === null) return { plan: false };
  if (facts.ready >= facts.rowsThreshold) return { plan: true, because: "threshold" };
  if (facts.oldestWaitMs >= facts.maxWaitMs) return { plan: true, because: "deadline" };
  return facts.flush ? { plan: true, because: "flush" } : { plan: false };
}

/** The longest that a flush waits for rows that keep arriving. */
const FILL_MS_MAX = 10_000;

/** Rows are being taken in that a batch planned now would miss: a flush waits for a full batch or for the last row. */
export function isFilling(now: {
  /** Some rows have arrived and are not taken in yet. */
  readonly arriving: boolean;
  readonly ready: number;
  readonly oldestWaitMs: number | null;
  /** A full batch. */
  readonly requestsMax: number;
}): boolean {
  return now.arriving && now.ready < now.requestsMax && (now.oldestWaitMs ?? 0) < FILL_MS_MAX;
}

const POLL_GROWTH = 1.5;
const POLL_JITTER = 0.2;

/** The wait before poll number `polls` (from 0): grows from min to max, ± 20 %, never below min nor above max. */
export function pollDelayMs(polls: number, range: { minMs: number; maxMs: number }, chance: number): number {
  const grown = Math.min(range.maxMs, range.minMs * POLL_GROWTH ** Math.min(polls, 100));
  const jittered = grown * (1 - POLL_JITTER + 2 * POLL_JITTER * chance);
  return Math.round(Math.min(range.maxMs, Math.max(range.minMs, jittered)));
}

export const BACKOFF_MAX_MS = 3_600_000;

/** Exponential backoff with jitter over its upper half, at most an hour. `failures` counts from 0. */
export function backoffMs(failures: number, baseMs: number, chance: number): number {
  const full = Math.min(BACKOFF_MAX_MS, baseMs * 2 ** Math.min(failures, 30));
  return Math.round(full / 2 + (full / 2) * chance);
}
