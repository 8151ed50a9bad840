/**
 * Owns what the journal keeps of calls: a line for each, but of refused ones only some a minute; the others are
 * counted, and written as one line for each kind. The present minute's counts are only in memory.
 */
import type { Clock } from "../settings.js";
import type { Journal, JournalEntry } from "./journal.js";

/** Enough to find out what a client does wrong. */
const REFUSED_LINES_PER_MINUTE = 100;
const MINUTE_MS = 60_000;
const PATH_CHARS_MAX = 200;
const REFUSED_FROM = 400;

type CallEntry = Omit<Extract<JournalEntry, { kind: "call" }>, "kind" | "at">;

interface Refused {
  readonly method: string;
  readonly route: string;
  readonly status: number;
  calls: number;
}

export class CallLog {
  readonly #journal: Journal;
  readonly #clock: Clock;
  #minute = 0;
  #lines = 0;
  /** One for each route, method and status, which are few. */
  readonly #refused = new Map<string, Refused>();

  constructor(journal: Journal, clock: Clock) {
    this.#journal = journal;
    this.#clock = clock;
    journal.beforeRead(() => this.flush());
  }

  /** In the journal before the reply is sent, or counted. */
  note({ path, ...call }: CallEntry): void {
    const at = this.#clock.nowMs();
    if (call.status !== null && call.status >= REFUSED_FROM && !this.#hasRoom(at)) {
      this.#count(call.method, call.route, call.status);
      return;
    }
    this.#journal.append({ kind: "call", at, ...call, path: path.slice(0, PATH_CHARS_MAX) });
  }

  /** Writes what was counted. */
  flush(): void {
    const at = this.#clock.nowMs();
    const refused = [...this.#refused.values()].map((counted) => ({ kind: "refusedCalls" as const, at, ...counted }));
    this.#refused.clear();
    this.#journal.append(...refused);
  }

  #hasRoom(at: number): boolean {
    const minute = Math.floor(at / MINUTE_MS);
    if (minute !== this.#minute) {
      this.flush();
      this.#minute = minute;
      this.#lines = 0;
    }
    this.#lines += 1;
    return this.#lines <= REFUSED_LINES_PER_MINUTE;
  }

  #count(method: string, route: string, status: number): void {
    const kind = `${method} ${route} ${status}`;
    const counted = this.#refused.get(kind) ?? { method, route, status, calls: 0 };
    counted.calls += 1;
    this.#refused.set(kind, counted);
  }
}
