/**
 * Owns who may speak to the one session of the embedded database, and when. One cycle of one client runs at a time
 * and whole; a client inside a transaction keeps the session until its end; the others wait in line.
 *
 * Interleaving the messages of clients would give answers to the wrong one. A client that hangs up is rolled back.
 * An error that is not the database's answer breaks the process (`onBroken`): the files are sound, the session not.
 */
import { setImmediate as turnOfEventLoop } from "node:timers/promises";
import type { Answer, Backend } from "./backend.js";
import type { ClientSession } from "./client-session.js";
import type { Housekeeper } from "./housekeeping.js";
import { applySettings, readSettings, resetSettings } from "./session-settings.js";
import {
  message,
  queryMessage,
  SYNC_MESSAGE,
  textAt,
  type WireError,
  type WireMessage,
} from "./wire-messages.js";

/** What a connection is to the mux. */
export interface MuxClient {
  readonly session: ClientSession;
  /** The next complete cycle, or null while there is none, or while the client does not read its answers. */
  takeCycle(): readonly WireMessage[] | null;
  write(bytes: Buffer): void;
  /** Writes what the client has not asked for at this time. */
  notify(bytes: Buffer): void;
  /** Tells the client why, hangs up, and calls `remove`. */
  fail(error: WireError): void;
}

export interface MuxOptions {
  /** How long a client may be silent inside a transaction, while all others wait for it. */
  readonly transactionIdleMs: number;
  readonly housekeeper: Housekeeper;
  readonly onBroken: (error: unknown) => void;
}

export class Mux {
  readonly #backend: Backend;
  readonly #options: MuxOptions;
  readonly #clients = new Set<MuxClient>();
  /** Clients that may have a cycle, in the order of their asking. */
  readonly #line = new Set<MuxClient>();
  /** Whose transaction, or unfinished cycle, is open. */
  #holder: MuxClient | null = null;
  #holderStatus: Answer["status"] = null;
  #holderTimer: NodeJS.Timeout | undefined;
  /** Whose settings the session has. */
  #last: MuxClient | null = null;
  /** Whose unnamed prepared statement the session has; statements of our own drop it. */
  #unnamedOf: MuxClient | null = null;
  /** Housekeeping and cycles take turns. */
  #houseTurn = true;
  #listensChanged = false;
  readonly #namesToForget: string[] = [];
  #pumping = false;

  constructor(backend: Backend, options: MuxOptions) {
    this.#backend = backend;
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
    if (client.session.channels.size > 0) this.#listensChanged = true;
    if (client.session.hasNamedStatements) this.#namesToForget.push(client.session.prefix);
    void this.#pump();
  }

  /** Something was done since the last round of housekeeping; there may be more to do than cycles. */
  keepHouse(): void {
    this.#options.housekeeper.wake();
    void this.#pump();
  }

  async #pump(): Promise<void> {
    if (this.#pumping) return;
    this.#pumping = true;
    try {
      while (await this.#step()) await turnOfEventLoop();
    } catch (error) {
      this.#options.onBroken(error);
    } finally {
      this.#pumping = false;
    }
  }

  /** One piece of work; false when there is none. */
  async #step(): Promise<boolean> {
    if (this.#holder !== null && !this.#clients.has(this.#holder)) {
      await this.#rollBack();
      return true;
    }
    if (this.#holder === null && (await this.#tidy())) return true;
    if (this.#holder === null && this.#houseTurn && this.#options.housekeeper.isDue) {
      this.#houseTurn = false;
      await this.#housekeepingStep();
      return true;
    }
    this.#houseTurn = true;
    for (const client of this.#holder === null ? this.#line : [this.#holder]) {
      this.#line.delete(client);
      const cycle = client.takeCycle();
      if (cycle === null) continue;
      await this.#runCycle(client, cycle);
      if (this.#clients.has(client)) this.#line.add(client);
      return true;
    }
    return this.#holder === null && this.#options.housekeeper.isDue;
  }

  async #runCycle(client: MuxClient, cycle: readonly WireMessage[]): Promise<void> {
    clearTimeout(this.#holderTimer);
    if (this.#last !== client && !(await this.#switchTo(client))) return;
    const { parts, added } = client.session.prepare(cycle, this.#unnamedOf === client);
    this.#unnamedOf = client;
    const answer = await this.#backend.run(parts);
    if (answer.status === null && cycle.at(-1)?.type !== "H" && !answer.cut) {
      throw new Error("the database ended a cycle without being ready for the next");
    }
    if (client.session.completed(cycle, answer.tags)) this.#listensChanged = true;
    this.#hold(client, answer.status);
    client.write(added ? withoutCompletion(answer.bytes) : answer.bytes);
    this.#deliver(answer.notifications);
    if (answer.cut) client.fail(ANSWER_TOO_LONG);
  }

  #hold(client: MuxClient, status: Answer["status"]): void {
    this.#holder = status === "I" ? null : client;
    this.#holderStatus = status;
    if (this.#holder === null) return;
    const { transactionIdleMs } = this.#options;
    this.#holderTimer = setTimeout(() => client.fail(idleTooLong(transactionIdleMs)), transactionIdleMs);
  }

  async #rollBack(): Promise<void> {
    clearTimeout(this.#holderTimer);
    const status = this.#holderStatus ?? (await this.#backend.run(FAIL_AND_SYNC)).status;
    // After a cut answer it is not known whether a transaction is open; a ROLLBACK too many is only a warning.
    if (status !== "I") await this.#backend.run([queryMessage("ROLLBACK")]);
    this.#holder = null;
  }

  /** Gives the session to a client with that client's settings. False: they were refused and it was told so. */
  async #switchTo(client: MuxClient): Promise<boolean> {
    await this.#takeBack();
    this.#last = client;
    this.#unnamedOf = null;
    if (client.session.settings.size === 0) return true;
    try {
      await applySettings(this.#backend, client.session.settings);
      return true;
    } catch (error) {
      client.fail(settingsRefused(error));
      return false;
    }
  }

  /** Keeps the last client's settings for its next turn, and undoes them. */
  async #takeBack(): Promise<void> {
    const last = this.#last;
    this.#last = null;
    if (last === null) return;
    const { session } = last;
    const differs = session.settings.size > 0 || session.settingsChanged;
    if (session.settingsChanged && this.#clients.has(last))
      session.settings = await readSettings(this.#backend);
    session.settingsChanged = false;
    if (differs) await resetSettings(this.#backend);
  }

  /** What clients that left, or listen, have made necessary. */
  async #tidy(): Promise<boolean> {
    const prefix = this.#namesToForget.pop();
    if (prefix !== undefined) await this.#forgetStatements(prefix);
    else if (this.#listensChanged) await this.#orderListens();
    else return false;
    this.#unnamedOf = null;
    return true;
  }

  async #housekeepingStep(): Promise<void> {
    await this.#takeBack();
    this.#unnamedOf = null;
    await this.#options.housekeeper.step(this.#backend);
  }

  async #forgetStatements(prefix: string): Promise<void> {
    const { rows } = await this.#backend.query(
      `SELECT pg_catalog.format('DEALLOCATE %I', name) FROM pg_catalog.pg_prepared_statements
       WHERE pg_catalog.starts_with(name, '${prefix}')`,
    );
    for (const [statement] of rows) await this.#backend.query(statement ?? "");
  }

  /** The session listens to what its clients together want: one client's UNLISTEN is not another's. */
  async #orderListens(): Promise<void> {
    this.#listensChanged = false;
    const wanted = new Set([...this.#clients].flatMap((client) => [...client.session.channels]));
    const { rows } = await this.#backend.query("SELECT pg_catalog.pg_listening_channels()");
    const actual = new Set(rows.map(([channel]) => channel ?? ""));
    const statements = [
      ...[...wanted].filter((channel) => !actual.has(channel)).map((channel) => `LISTEN ${quoted(channel)}`),
      ...[...actual]
        .filter((channel) => !wanted.has(channel))
        .map((channel) => `UNLISTEN ${quoted(channel)}`),
    ];
    for (const statement of statements) this.#deliver((await this.#backend.query(statement)).notifications);
  }

  /** A NotificationResponse: length, process id, channel, payload. */
  #deliver(notifications: readonly Buffer[]): void {
    for (const notification of notifications) {
      const channel = textAt(notification, 9);
      for (const client of this.#clients) {
        if (client.session.channels.has(channel)) client.notify(notification);
      }
    }
  }
}

/** ParseComplete or CloseComplete of the message that the session put in front. */
function withoutCompletion(bytes: Buffer): Buffer {
  const type = String.fromCharCode(bytes[0] ?? 0);
  return type === "1" || type === "3" ? bytes.subarray(5) : bytes;
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

/** A Sync alone would commit what an unfinished cycle has done; after an error it does not. */
const FAIL_AND_SYNC = [message("P", "", "the client has hung up", Buffer.alloc(2)), SYNC_MESSAGE];

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
    message: `terminating connection: its transaction was idle for ${idleMs} ms and held up all other clients`,
    hint: "The embedded database has one session. Keep transactions short, or use a PostgreSQL server.",
  };
}

function settingsRefused(error: unknown): WireError {
  const reason = error instanceof Error ? error.message : String(error);
  return { severity: "FATAL", code: "28000", message: `the connection's settings were refused: ${reason}` };
}
