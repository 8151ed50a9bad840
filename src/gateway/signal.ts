/** Waiting for "something changed" and for a free slot. In memory only; nothing can crash here. */

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
