/** Owns waiting for a change, for a free slot, and for the turn of others. In memory only. */
import { setImmediate as breathe } from "node:timers/promises";

/** Other clients' calls wait this long while lines are read or answered, and for the present line. */
const TURN_MS_MAX = 20;

export class Turns {
  #beganAt = performance.now();

  /** Lets everything else run if this turn has lasted long enough. */
  async pass(): Promise<void> {
    if (performance.now() - this.#beganAt < TURN_MS_MAX) return;
    await breathe();
    this.#beganAt = performance.now();
  }
}

/** Many wait, one notifies; later waiters wait for the next time. */
export class Signal {
  #fire: () => void = () => undefined;
  #promise: Promise<void> = this.#renewed();

  /** Resolves at the next `notify`. */
  next(): Promise<void> {
    return this.#promise;
  }

  notify(): void {
    const fire = this.#fire;
    this.#promise = this.#renewed();
    fire();
  }

  #renewed(): Promise<void> {
    return new Promise((resolve) => {
      this.#fire = resolve;
    });
  }
}

interface Waiting {
  readonly isUrgent: () => boolean;
  readonly enter: () => void;
}

/** At most `free` pieces of work at once; others wait in order, except urgent ones. */
export class Slots {
  /** Below zero while urgent work runs too. */
  #free: number;
  #waiting: readonly Waiting[] = [];

  constructor(free: number) {
    this.#free = free;
  }

  /** Asks `isUrgent` at once, and again at each `hurry`. */
  async run<T>(work: () => Promise<T>, isUrgent: () => boolean): Promise<T> {
    if (this.#free <= 0 && !isUrgent())
      await new Promise<void>((enter) => (this.#waiting = [...this.#waiting, { isUrgent, enter }]));
    else this.#free -= 1;
    try {
      return await work();
    } finally {
      this.#free += 1;
      const [next, ...rest] = this.#waiting;
      if (next !== undefined && this.#free > 0) {
        this.#waiting = rest;
        this.#admit(next);
      }
    }
  }

  /** Starts what has become urgent. */
  hurry(): void {
    const urgent = this.#waiting.filter(({ isUrgent }) => isUrgent());
    this.#waiting = this.#waiting.filter((waiting) => !urgent.includes(waiting));
    for (const waiting of urgent) this.#admit(waiting);
  }

  #admit({ enter }: Waiting): void {
    this.#free -= 1;
    enter();
  }
}
