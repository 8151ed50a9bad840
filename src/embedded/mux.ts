/**
 * Owns whose turn it is at the one session of the embedded database: one cycle of one client at a time, and whole,
 * because mixed messages would give answers to the wrong client. The states are in session-turn.ts, the session and
 * its traces in shared-session.ts.
 *
 * A client that hangs up is rolled back. An error of the session itself ends the process (`onBroken`).
 */
import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import type { Backend } from "./backend.js";
import type { Housekeeper } from "./housekeeping.js";
import { NEXT_CYCLE, nextTurn, turnEventOf, type SessionTurn, type TurnEvent } from "./session-turn.js";
import { SharedSession, type SessionClient } from "./shared-session.js";
import type { WireError, WireMessage } from "./wire-messages.js";

/** What a connection is to the mux. */
export interface MuxClient extends SessionClient {
  /** The next complete cycle, or null while there is none, or while the client does not read its answers. */
  takeCycle(): readonly WireMessage[] | null;
  write(bytes: Buffer): void;
  /** Sends the client the error, hangs up, and calls `remove`. */
  fail(error: WireError): void;
}

export interface MuxOptions {
  /** How long a client may be silent inside a transaction, while all others wait for it. */
  readonly transactionIdleMs: number;
  readonly housekeeper: Housekeeper;
  readonly onBroken: (error: unknown) => void;
}

export class Mux {
  readonly #session: SharedSession;
  readonly #options: MuxOptions;
  readonly #clients = new Set<MuxClient>();
  /** Clients that may have a cycle, in the order in which they asked. */
  readonly #line = new Set<MuxClient>();
  #turn: SessionTurn = "free";
  #holder: MuxClient | null = null;
  #idleTimer: NodeJS.Timeout | undefined;
  /** Housekeeping and cycles alternate. */
  #isHouseTurn = true;
  #isPumping = false;

  constructor(backend: Backend, options: MuxOptions) {
    this.#session = new SharedSession(backend, this.#clients);
    this.#options = options;
  }

  add(client: MuxClient): void {
    this.#clients.add(client);
  }

  /** The client may have a cycle, or reads again. */
  wake(client: MuxClient): void {
    if (!this.#clients.has(client)) return;
    this.#line.add(client);
    void this.#pump();
  }

  /** The client has hung up: its transaction is rolled back. May be repeated. */
  remove(client: MuxClient): void {
    if (!this.#clients.delete(client)) return;
    this.#line.delete(client);
    this.#session.forget(client);
    if (this.#holder === client) this.#move("holderLeft");
    void this.#pump();
  }

  /** Work was done since the last round of housekeeping. */
  keepHouse(): void {
    this.#options.housekeeper.wake();
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#isPumping) return;
    this.#isPumping = true;
    try {
      while (await this.#step()) await turnOfEventLoop();
    } catch (error) {
      this.#options.onBroken(error);
    } finally {
      this.#isPumping = false;
    }
  }

  /** One piece of work; false when there is none. */
  async #step(): Promise<boolean> {
    const next = NEXT_CYCLE[this.#turn];
    if (next === "anyone") return this.#stepWhileFree();
    if (next === "holder") return this.#runNextCycle(this.#holder === null ? [] : [this.#holder]);
    clearTimeout(this.#idleTimer);
    await this.#session.rollBack(this.#turn === "abandonedUnfinished");
    this.#move("idle");
    return true;
  }

  async #stepWhileFree(): Promise<boolean> {
    const { housekeeper } = this.#options;
    if (await this.#session.tidy()) return true;
    if (this.#isHouseTurn && housekeeper.isDue) {
      this.#isHouseTurn = false;
      await this.#session.keepHouse(housekeeper);
      return true;
    }
    this.#isHouseTurn = true;
    return (await this.#runNextCycle(this.#line)) || housekeeper.isDue;
  }

  async #runNextCycle(line: Iterable<MuxClient>): Promise<boolean> {
    for (const client of line) {
      this.#line.delete(client);
      const cycle = client.takeCycle();
      if (cycle === null) continue;
      await this.#runCycle(client, cycle);
      if (this.#clients.has(client)) this.#line.add(client);
      return true;
    }
    return false;
  }

  async #runCycle(client: MuxClient, cycle: readonly WireMessage[]): Promise<void> {
    clearTimeout(this.#idleTimer);
    const refusal = await this.#session.giveTo(client);
    if (refusal !== null) {
      client.fail(refusal);
      return;
    }
    const answer = await this.#session.run(client, cycle);
    this.#holder = client;
    this.#move(turnEventOf(answer.status));
    // It may have hung up while its cycle ran.
    if (!this.#clients.has(client)) this.#move("holderLeft");
    client.write(answer.bytes);
    this.#session.deliver(answer.notifications);
    if (answer.cut) client.fail(ANSWER_TOO_LONG);
  }

  #move(event: TurnEvent): void {
    this.#turn = nextTurn(this.#turn, event);
    if (this.#turn === "free") this.#holder = null;
    else if (event !== "holderLeft") this.#limitIdleTime();
  }

  #limitIdleTime(): void {
    const { transactionIdleMs } = this.#options;
    const holder = this.#holder;
    this.#idleTimer = setTimeout(() => holder?.fail(idleTooLong(transactionIdleMs)), transactionIdleMs);
  }
}

const ANSWER_TOO_LONG: WireError = {
  severity: "FATAL",
  code: "54000",
  message: "the answer is too long for the embedded database",
  hint: "Read it in parts, with LIMIT or a cursor.",
};

function idleTooLong(idleMs: number): WireError {
  return {
    severity: "FATAL",
    code: "25P03",
    message: `terminating connection: its transaction was idle for ${idleMs} ms while all other clients waited`,
    hint: "The embedded database has one session. Keep transactions short, or use a PostgreSQL server.",
  };
}
