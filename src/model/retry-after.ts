/** How long a server asked us to wait. Pure. */

/** The two headers of a reply, as far as it has them. */
export interface RetryHeaders {
  readonly retryAfter: string | null | undefined;
  readonly date: string | null | undefined;
}

/**
 * Seconds, or a date, which is compared with the reply's own Date, so that clocks that differ do not matter. Null: it
 * did not ask, or cannot be read.
 */
export function retryAfterMs({ retryAfter, date }: RetryHeaders, msMax: number): number | null {
  if (retryAfter == null) return null;
  if (isNumber(retryAfter)) return cappedMs(Number(retryAfter) * 1_000, msMax);
  const until = Date.parse(retryAfter);
  const now = Date.parse(date ?? "");
  return Number.isNaN(until) || Number.isNaN(now) ? null : cappedMs(until - now, msMax);
}

export function isNumber(text: string): boolean {
  return /^\d+(?:\.\d+)?$/.test(text.trim());
}

export function cappedMs(ms: number, msMax: number): number {
  return Math.min(Math.max(0, Math.ceil(ms)), msMax);
}
