/**
 * Remembers who a token is for a second, so that a busy caller does not cost the database a statement for each call. A
 * revoked token stops within that second. In bounded memory; unknown tokens are not remembered.
 */
import { createHash } from "node:crypto";
import type { Database } from "../postgres/database.js";
import * as tokens from "../store/tokens/tokens.js";
import type { Token } from "../store/tokens/tokens.js";

const REMEMBERED_MS = 1_000;
const TOKENS_MAX = 1_000;

interface Remembered {
  readonly untilMs: number;
  /** One look-up for all calls that come in the meantime. */
  readonly token: Promise<Token | null>;
}

export class TokenMemory {
  readonly #database: Database;
  /** By hash, the oldest first. */
  readonly #held = new Map<string, Remembered>();

  constructor(database: Database) {
    this.#database = database;
  }

  /** Null: unknown or revoked. */
  find(text: string): Promise<Token | null> {
    const name = createHash("sha256").update(text).digest("base64");
    const nowMs = performance.now();
    const known = this.#held.get(name);
    if (known !== undefined && known.untilMs > nowMs) return known.token;
    // From before the look-up, which may see the token as it was then.
    const remembered = { untilMs: nowMs + REMEMBERED_MS, token: this.#lookUp(name, text) };
    this.#hold(name, remembered);
    return remembered.token;
  }

  async #lookUp(name: string, text: string): Promise<Token | null> {
    let token: Token | null = null;
    try {
      token = await tokens.find(this.#database, text);
      return token;
    } finally {
      if (token === null) this.#held.delete(name);
    }
  }

  #hold(name: string, remembered: Remembered): void {
    this.#held.delete(name);
    const [oldest] = this.#held.keys();
    if (oldest !== undefined && this.#held.size >= TOKENS_MAX) this.#held.delete(oldest);
    this.#held.set(name, remembered);
  }
}
