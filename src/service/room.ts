/** Bounds what is held at once, such as bytes of bodies. Who finds no room waits a bounded while, then is refused. */

interface Waiter {
  readonly amount: number;
  readonly admit: () => void;
}

export class Room {
  #free: number;
  readonly #all: number;
  readonly #waitersMax: number;
  readonly #waiting = new Set<Waiter>();

  constructor(all: number, waitersMax: number) {
    this.#all = all;
    this.#free = all;
    this.#waitersMax = waitersMax;
  }

  /** A function that gives the room back; null: there was none within this time. More than all is taken as all. */
  async take(wanted: number, waitMs: number): Promise<(() => void) | null> {
    const amount = Math.min(wanted, this.#all);
    if (this.#waiting.size === 0 && amount <= this.#free) return this.#hold(amount);
    if (waitMs <= 0 || this.#waiting.size >= this.#waitersMax) return null;
    return new Promise((resolve) => {
      const waiter: Waiter = {
        amount,
        admit: () => {
          clearTimeout(timer);
          this.#waiting.delete(waiter);
          resolve(this.#hold(amount));
        },
      };
      const timer = setTimeout(() => {
        this.#waiting.delete(waiter);
        resolve(null);
        // Those behind it may need less.
        this.#admit();
      }, waitMs);
      this.#waiting.add(waiter);
    });
  }

  #hold(amount: number): () => void {
    this.#free -= amount;
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#free += amount;
      this.#admit();
    };
  }

  /** In the order of their coming, so that a large one is not passed by small ones forever. */
  #admit(): void {
    for (const waiter of this.#waiting) {
      if (waiter.amount > this.#free) return;
      waiter.admit();
    }
  }
}
