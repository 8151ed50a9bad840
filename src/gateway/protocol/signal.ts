/** Waiting for "something changed", for a free slot, and for others' turn. In memory only; nothing can crash here. */
import { setImmediate as breathe } from "node:timers/promises";

/** Calls of other clients, a cancel among them, wait that long while lines are read or answered, and for the line at hand. */
const TURN_MS_MAX = 20;

/** Between two pieces of work that keep the processor busy. */
export class Turns {
  #beganAt = performance.now();

  /** Lets everything else have its turn when this one has lasted long enough. */
  async pass(): Promise<void> {
    if (performance.now() - this.#beganAt < TURN_MS_MAX) return;
    await breathe();
    this.#beganAt = performance.now();
  }
}

/** Many wait, one fires; who waits afterwards waits for the next time. */
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

/** At most `free` pieces of work at once; the others wait in order, except for urgent ones. */
export class Slots {
  /** Below zero while urgent work runs beside the rest. */
  #free: number;
  #waiting: readonly Waiting[] = [];

  constructor(free: number) {
    this.#free = free;
  }

  /** `isUrgent` is asked at once, and again at each `hurry`. */
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

  /** Lets in what has become urgent. */
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
