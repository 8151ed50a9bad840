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
  private fire: () => void = () => undefined;
  private promise: Promise<void> = this.renewed();

  /** Resolves at the next `notify`. */
  next(): Promise<void> {
    return this.promise;
  }

  notify(): void {
    const fire = this.fire;
    this.promise = this.renewed();
    fire();
  }

  private renewed(): Promise<void> {
    return new Promise((resolve) => {
      this.fire = resolve;
    });
  }
}

/** At most `free` pieces of work at once; the others wait in order. */
export class Slots {
  private free: number;
  private readonly waiting: (() => void)[] = [];

  constructor(free: number) {
    this.free = free;
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.free > 0) this.free -= 1;
    else await new Promise<void>((resolve) => this.waiting.push(resolve));
    try {
      return await work();
    } finally {
      const next = this.waiting.shift();
      if (next === undefined) this.free += 1;
      else next();
    }
  }
}
