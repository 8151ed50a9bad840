/**
 * Owns how often each caller may call: a number of calls a minute, also all at once. In bounded memory, and
 * in memory only: a restart forgives.
 */

export interface CallerRate {
  readonly callsPerMinute: number;
  /** Callers that are remembered at the same time; all further ones share one allowance. */
  readonly callersMax?: number;
}

interface Bucket {
  calls: number;
  atMs: number;
}

const CALLERS_MAX_DEFAULT = 10_000;
const MINUTE_MS = 60_000;

export class CallerRates {
  readonly #perMinute: number;
  readonly #callersMax: number;
  /** Without callers whose allowance is full again. Least recently seen first. */
  readonly #buckets = new Map<string, Bucket>();
  readonly #others: Bucket;

  constructor({ callsPerMinute, callersMax = CALLERS_MAX_DEFAULT }: CallerRate) {
    this.#perMinute = callsPerMinute;
    this.#callersMax = callersMax;
    this.#others = { calls: callsPerMinute, atMs: 0 };
  }

  /** Counts one call and returns null, or counts nothing and returns the milliseconds until the next may come. */
  take(caller: string, nowMs: number): number | null {
    const bucket = this.#bucketOf(caller, nowMs);
    this.#refill(bucket, nowMs);
    if (bucket.calls < 1) return Math.ceil(((1 - bucket.calls) / this.#perMinute) * MINUTE_MS);
    bucket.calls -= 1;
    return null;
  }

  get callers(): number {
    return this.#buckets.size;
  }

  #bucketOf(caller: string, nowMs: number): Bucket {
    const known = this.#buckets.get(caller);
    if (known === undefined && this.#buckets.size >= this.#callersMax) this.#forgetRested(nowMs);
    if (known === undefined && this.#buckets.size >= this.#callersMax) return this.#others;
    const bucket = known ?? { calls: this.#perMinute, atMs: nowMs };
    this.#buckets.delete(caller);
    this.#buckets.set(caller, bucket);
    return bucket;
  }

  /** Those not seen for a minute have their whole allowance again. */
  #forgetRested(nowMs: number): void {
    for (const [caller, { atMs }] of this.#buckets) {
      if (nowMs - atMs < MINUTE_MS) return;
      this.#buckets.delete(caller);
    }
  }

  #refill(bucket: Bucket, nowMs: number): void {
    // A clock that was set back gives and takes nothing.
    const passedMs = Math.max(0, nowMs - bucket.atMs);
    bucket.calls = Math.min(this.#perMinute, bucket.calls + (passedMs / MINUTE_MS) * this.#perMinute);
    bucket.atMs = nowMs;
  }
}
