/** Collects what was refused and writes it every few seconds, so that a flood of bad calls costs little. */
import type { Logger } from "pino";
import type { Database } from "../../postgres/database.js";
import * as refusals from "../../store/replicas/refused-pushes.js";
import type { RefusedPushFacts } from "../../model/words/refused-push-text.js";

const WRITE_EVERY_MS = 2_000;
/** Pipelines times reasons that are held between two writes; further ones are counted as others. */
const HELD_MAX = 500;
const EXAMPLE_CHARACTERS = 200;
const OTHER = { pipeline: null, reason: "other reasons" };

export type Refused = Pick<RefusedPushFacts, "pipeline" | "reason"> &
  Partial<Pick<RefusedPushFacts, "rows" | "example">>;

export class RefusedPushes {
  readonly #database: Database;
  readonly #log: Logger;
  readonly #held = new Map<string, Omit<RefusedPushFacts, "isRead">>();
  readonly #timer: NodeJS.Timeout;
  #writing: Promise<void> = Promise.resolve();

  constructor(database: Database, log: Logger) {
    this.#database = database;
    this.#log = log;
    this.#timer = setInterval(() => void this.write(), WRITE_EVERY_MS);
    this.#timer.unref();
  }

  note({ pipeline, reason, rows = 0, example = null }: Refused): void {
    const isKnown = this.#held.has(keyOf({ pipeline, reason }));
    const place = isKnown || this.#held.size < HELD_MAX ? { pipeline, reason } : OTHER;
    const before = this.#held.get(keyOf(place));
    this.#held.set(keyOf(place), {
      ...place,
      pushes: (before?.pushes ?? 0) + 1,
      rows: (before?.rows ?? 0) + rows,
      example: before?.example ?? example?.slice(0, EXAMPLE_CHARACTERS) ?? null,
    });
  }

  /** One after another; what could not be written is tried again with the next. */
  write(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#writeHeld());
    return this.#writing;
  }

  async #writeHeld(): Promise<void> {
    if (this.#held.size === 0) return;
    const refused = [...this.#held.values()];
    this.#held.clear();
    try {
      await refusals.record(this.#database, refused);
    } catch (error) {
      this.#log.warn({ err: error }, "refused pushes could not be recorded");
      for (const one of refused) this.note(one);
    }
  }

  async close(): Promise<void> {
    clearInterval(this.#timer);
    await this.write();
  }
}

function keyOf({ pipeline, reason }: Pick<RefusedPushFacts, "pipeline" | "reason">): string {
  return JSON.stringify([pipeline, reason]);
}
