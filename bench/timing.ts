/** Time as it passed, in milliseconds. */

export interface Timed<T> {
  readonly ms: number;
  readonly result: T;
}

export async function timed<T>(work: () => Promise<T>): Promise<Timed<T>> {
  const began = performance.now();
  const result = await work();
  return { ms: performance.now() - began, result };
}
