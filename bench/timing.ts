/** Time as it passed, and the middle of several times. Milliseconds. */

export interface Timed<T> {
  readonly ms: number;
  readonly result: T;
}

export async function timed<T>(work: () => Promise<T>): Promise<Timed<T>> {
  const began = performance.now();
  const result = await work();
  return { ms: performance.now() - began, result };
}

/** Of an even number of times the upper middle one. */
export function median(times: readonly number[]): number {
  const sorted = times.toSorted((a, b) => a - b);
  const middle = sorted[Math.floor(sorted.length / 2)];
  if (middle === undefined) throw new Error("there is no median of nothing");
  return middle;
}
