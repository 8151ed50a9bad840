/**
 * Small pushes that come while others are written go to the database together, in one transaction: most of what a push
 * costs, it costs once for all of them. Nothing is held back in order to gather more. A push is answered after the
 * commit, and fails with the transaction, so a crash loses nothing that was acknowledged.
 */
import { isDataError, type Database } from "../../postgres/database.js";
import * as pushes from "../../store/replicas/pushes.js";
import type { Pushed } from "../../store/replicas/pushes.js";
import { Room } from "../room.js";
import { CHUNK_BYTES, CHUNK_ROWS, retrying } from "./store-rows.js";

/** A larger one gains nothing, and would hold the others up. */
export const GATHERED_ROWS_MAX = 200;
export const GATHERED_BYTES_MAX = 256 * 1024;
/** Transactions at once: one reaches the disk while the next one is filled. */
const WRITING_MAX = 2;

interface Waiting {
  readonly rows: readonly string[];
  readonly bytes: number;
  readonly resolve: (pushed: Pushed | null) => void;
  readonly reject: (error: unknown) => void;
}

export class GatheredPushes {
  readonly #database: Database;
  readonly #room: Room;
  /** By pipeline; the first to come stand first. */
  readonly #waiting = new Map<string, Set<Waiting>>();

  constructor(database: Database, waitersMax: number) {
    this.#database = database;
    this.#room = new Room(WRITING_MAX, waitersMax);
  }

  /** Null: its turn did not come within this time. @throws DatabaseError */
  push(pipeline: string, rows: readonly string[], waitMs: number): Promise<Pushed | null> {
    return new Promise((resolve, reject) => {
      const bytes = rows.reduce((sum, row) => sum + row.length, 0);
      const one = { rows, bytes, resolve, reject };
      const waiting = this.#waiting.get(pipeline) ?? new Set();
      this.#waiting.set(pipeline, waiting.add(one));
      void this.#attend(pipeline, one, waitMs);
    });
  }

  async #attend(pipeline: string, one: Waiting, waitMs: number): Promise<void> {
    const release = await this.#room.take(1, waitMs);
    if (release === null) {
      // Another's turn may have taken it along.
      if (this.#waiting.get(pipeline)?.delete(one) === true) one.resolve(null);
      return;
    }
    try {
      await this.#store(pipeline, this.#next(pipeline));
    } finally {
      release();
    }
  }

  /** Those that wait, as many as fit into a statement. */
  #next(pipeline: string): readonly Waiting[] {
    const waiting = this.#waiting.get(pipeline) ?? new Set();
    const taken: Waiting[] = [];
    let [rows, bytes] = [0, 0];
    for (const one of waiting) {
      rows += one.rows.length;
      bytes += one.bytes;
      if (taken.length > 0 && (rows > CHUNK_ROWS || bytes > CHUNK_BYTES)) break;
      taken.push(one);
      waiting.delete(one);
    }
    if (waiting.size === 0) this.#waiting.delete(pipeline);
    return taken;
  }

  async #store(pipeline: string, taken: readonly Waiting[]): Promise<void> {
    if (taken.length === 0) return;
    const lists = taken.map(({ rows }) => rows);
    try {
      const told = await retrying(() => pushes.pushTogether(this.#database, pipeline, lists));
      taken.forEach(({ resolve }, index) => resolve(told[index] ?? pushes.NOTHING));
    } catch (error) {
      // No push fails for the rows of another one.
      if (taken.length > 1 && isDataError(error)) for (const one of taken) await this.#store(pipeline, [one]);
      else for (const { reject } of taken) reject(error);
    }
  }
}
