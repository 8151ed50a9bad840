/** Wakes calls that wait for results: one look at the database for all that wait for a pipeline. */
import type { Logger } from "pino";
import { DatabaseError, type Database } from "../../postgres/database.js";
import * as results from "../../store/requests/results.js";

const LOOK_EVERY_MS = 500;

interface Waiter {
  readonly pipelineId: number;
  /** The chunk that the caller has read to its end; null: none. */
  readonly seen: string | null;
  readonly wake: () => void;
}

export class ResultsWatch {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #waiting = new Set<Waiter>();
  #timer: NodeJS.Timeout | null = null;
  #isClosed = false;

  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = log;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Resolves when there are further results, the time is over, the caller is gone, or the watch is closed. */
  further(
    { pipelineId, seen }: Pick<Waiter, "pipelineId" | "seen">,
    { waitMs, signal }: { readonly waitMs: number; readonly signal: AbortSignal },
  ): Promise<void> {
    if (this.#isClosed || signal.aborted) return Promise.resolve();
    return new Promise((resolve) => {
      const wake = (): void => {
        clearTimeout(timer);
        signal.removeEventListener("abort", wake);
        this.#waiting.delete(waiter);
        resolve();
      };
      const timer = setTimeout(wake, waitMs);
      signal.addEventListener("abort", wake);
      const waiter = { pipelineId, seen, wake };
      this.#waiting.add(waiter);
      this.#lookLater();
    });
  }

  /** Wakes all, and lets no one wait from now on. */
  close(): void {
    this.#isClosed = true;
    if (this.#timer !== null) clearTimeout(this.#timer);
    for (const { wake } of this.#waiting) wake();
  }

  #lookLater(): void {
    if (this.#timer !== null || this.#isClosed || this.#waiting.size === 0) return;
    this.#timer = setTimeout(() => {
      void this.#look().finally(() => {
        this.#timer = null;
        this.#lookLater();
      });
    }, LOOK_EVERY_MS);
  }

  async #look(): Promise<void> {
    for (const pipelineId of new Set([...this.#waiting].map((waiter) => waiter.pipelineId))) {
      try {
        const last = await results.lastChunk(this.#database, pipelineId);
        for (const waiter of this.#waiting) if (waiter.pipelineId === pipelineId && waiter.seen !== last) waiter.wake();
      } catch (error) {
        if (!(error instanceof DatabaseError)) throw error;
        // The next look finds what this one did not; each caller waits for a bounded time.
        this.#log.debug({ err: error }, "could not look for results");
      }
    }
  }
}
