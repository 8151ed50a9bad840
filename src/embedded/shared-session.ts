/**
 * Owns the one session of the embedded database, and what its clients leave in it: settings, the unnamed statement,
 * names of prepared statements, LISTENs. Whose turn it is, the mux decides; it calls one method at a time.
 *
 * An error that is not the database's answer leaves the session unusable; the files stay sound.
 */
import type { Answer, Backend } from "./backend.js";
import type { ClientSession } from "./client-session.js";
import type { Housekeeper } from "./housekeeping.js";
import { applySettings, readSettings, resetSettings } from "./session-settings.js";
import { message, queryMessage, SYNC_MESSAGE, textAt, type WireError, type WireMessage } from "./wire-messages.js";

export interface SessionClient {
  readonly session: ClientSession;
  /** Writes what the client has not asked for at this time. */
  notify(bytes: Buffer): void;
}

export class SharedSession {
  readonly #backend: Backend;
  readonly #clients: ReadonlySet<SessionClient>;
  /** Whose settings the session has, and whether it has that client's unnamed statement: our own statements drop it. */
  #last: SessionClient | null = null;
  #hasUnnamed = false;
  #listensChanged = false;
  readonly #prefixesToForget: string[] = [];

  /** `clients` are those connected now; the owner of the set changes it. */
  constructor(backend: Backend, clients: ReadonlySet<SessionClient>) {
    this.#backend = backend;
    this.#clients = clients;
  }

  /** Gives the session the client's settings. Returns the error for the client when the database refuses one. */
  async giveTo(client: SessionClient): Promise<WireError | null> {
    if (this.#last === client) return null;
    await this.#takeBack();
    this.#last = client;
    if (client.session.settings.size === 0) return null;
    try {
      await applySettings(this.#backend, client.session.settings);
      return null;
    } catch (error) {
      return settingsRefused(error);
    }
  }

  /** Runs one cycle of the client that has the session. */
  async run({ session }: SessionClient, cycle: readonly WireMessage[]): Promise<Answer> {
    const { parts, added } = session.prepare(cycle, this.#hasUnnamed);
    this.#hasUnnamed = true;
    const answer = await this.#backend.run(parts);
    if (answer.status === null && cycle.at(-1)?.type !== "H" && !answer.cut) {
      throw new Error("the database ended a cycle without being ready for the next");
    }
    if (session.completed(cycle, answer.tags)) this.#listensChanged = true;
    return added ? { ...answer, bytes: withoutCompletion(answer.bytes) } : answer;
  }

  /** `unfinished`: the last cycle has no Sync, so a transaction may or may not be open. */
  async rollBack(unfinished: boolean): Promise<void> {
    const status = unfinished ? (await this.#backend.run(FAIL_AND_SYNC)).status : "T";
    if (status !== "I") await this.#backend.run([queryMessage("ROLLBACK")]);
  }

  /** Notes what a client that left has in the session; `tidy` removes it. */
  forget({ session }: SessionClient): void {
    if (session.channels.size > 0) this.#listensChanged = true;
    if (session.hasNamedStatements) this.#prefixesToForget.push(session.prefix);
  }

  /** One step of what clients that left, or listen, have made necessary. False when there is nothing to do. */
  async tidy(): Promise<boolean> {
    const prefix = this.#prefixesToForget.pop();
    if (prefix !== undefined) await this.#forgetStatements(prefix);
    else if (this.#listensChanged) await this.#orderListens();
    else return false;
    this.#hasUnnamed = false;
    return true;
  }

  async keepHouse(housekeeper: Housekeeper): Promise<void> {
    await this.#takeBack();
    await housekeeper.step(this.#backend);
  }

  /** Passes on NotificationResponse messages (length, process id, channel, payload) to the clients that listen. */
  deliver(notifications: readonly Buffer[]): void {
    for (const notification of notifications) {
      const channel = textAt(notification, 9);
      for (const client of this.#clients) {
        if (client.session.channels.has(channel)) client.notify(notification);
      }
    }
  }

  /** Keeps the last client's settings for its next turn, and resets them. */
  async #takeBack(): Promise<void> {
    const last = this.#last;
    this.#last = null;
    this.#hasUnnamed = false;
    if (last === null) return;
    const { session } = last;
    const differs = session.settings.size > 0 || session.settingsChanged;
    if (session.settingsChanged && this.#clients.has(last)) {
      session.settings = await readSettings(this.#backend);
    }
    session.settingsChanged = false;
    if (differs) await resetSettings(this.#backend);
  }

  async #forgetStatements(prefix: string): Promise<void> {
    const { rows } = await this.#backend.query(
      `SELECT pg_catalog.format('DEALLOCATE %I', name) FROM pg_catalog.pg_prepared_statements
       WHERE pg_catalog.starts_with(name, '${prefix}')`,
    );
    for (const [statement] of rows) await this.#backend.query(statement ?? "");
  }

  /** The session listens to the channels of all its clients: one client's UNLISTEN is not another's. */
  async #orderListens(): Promise<void> {
    this.#listensChanged = false;
    const wanted = new Set([...this.#clients].flatMap((client) => [...client.session.channels]));
    const { rows } = await this.#backend.query("SELECT pg_catalog.pg_listening_channels()");
    const actual = new Set(rows.map(([channel]) => channel ?? ""));
    const missing = [...wanted].filter((channel) => !actual.has(channel));
    const unwanted = [...actual].filter((channel) => !wanted.has(channel));
    const statements = [
      ...missing.map((channel) => `LISTEN ${quoted(channel)}`),
      ...unwanted.map((channel) => `UNLISTEN ${quoted(channel)}`),
    ];
    for (const statement of statements) this.deliver((await this.#backend.query(statement)).notifications);
  }
}

/** Removes the ParseComplete or CloseComplete of the message that `prepare` put in front. */
function withoutCompletion(bytes: Buffer): Buffer {
  const type = String.fromCharCode(bytes[0] ?? 0);
  return type === "1" || type === "3" ? bytes.subarray(5) : bytes;
}

function quoted(identifier: string): string {
  return `"${identifier.replaceAll('"', '""')}"`;
}

/** A Sync alone would commit what an unfinished cycle has done; after an error it does not. */
const FAIL_AND_SYNC = [message("P", "", "the client has hung up", Buffer.alloc(2)), SYNC_MESSAGE];

function settingsRefused(error: unknown): WireError {
  const reason = error instanceof Error ? error.message : String(error);
  return { severity: "FATAL", code: "28000", message: `the connection's settings were refused: ${reason}` };
}
