/** Limits batch creations per hour. In memory; a restart counts the stored batches again. */

const HOUR_SECONDS = 3_600;

export class CreationLimit {
  readonly #max: number;
  /** Oldest first; at most `max`. */
  readonly #recent: number[];

  constructor(max: number, createdAt: readonly number[]) {
    this.#max = max;
    this.#recent = createdAt.slice(-max);
  }

  /** Counts one creation and returns null, or the seconds to wait for the next one. */
  take(nowSeconds: number): number | null {
    while (this.#recent[0] !== undefined && this.#recent[0] <= nowSeconds - HOUR_SECONDS) this.#recent.shift();
    if (this.#recent.length >= this.#max) return (this.#recent[0] ?? nowSeconds) + HOUR_SECONDS - nowSeconds;
    this.#recent.push(nowSeconds);
    return null;
  }
}
