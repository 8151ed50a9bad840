/**
 * Calls code of a connector, which may hang and may not heed its signal. What it does after it was left does no harm: a
 * page is not written, and a late write loses by its fences.
 */

/** The worker ends. */
export class Stopped extends Error {
  override readonly name = "Stopped";
}

export interface CallBounds {
  readonly msMax: number;
  /** What is thrown after `msMax`. */
  readonly late: () => Error;
  /** The end of the worker. The call may finish for `graceMs` longer. */
  readonly signal: AbortSignal;
  readonly graceMs: number;
}

/** `call` gets a signal that is aborted when it is left. @throws Stopped */
export async function callConnector<T>(
  call: (signal: AbortSignal) => Promise<T>,
  { msMax, late, signal, graceMs }: CallBounds,
): Promise<T> {
  const left = new AbortController();
  const ended = new AbortController();
  const timers: NodeJS.Timeout[] = [];
  const tooLong = new Promise<never>((_, reject) => {
    const leaveAfter = (ms: number, why: () => Error) => {
      const leave = () => {
        reject(why());
        left.abort();
      };
      timers.push(setTimeout(leave, ms));
    };
    const stop = () => leaveAfter(graceMs, () => new Stopped("The worker ends."));
    leaveAfter(msMax, late);
    if (signal.aborted) stop();
    else signal.addEventListener("abort", stop, { once: true, signal: ended.signal });
  });
  try {
    return await Promise.race([call(left.signal), tooLong]);
  } finally {
    ended.abort();
    for (const timer of timers) clearTimeout(timer);
  }
}
