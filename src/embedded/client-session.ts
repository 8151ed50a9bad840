/**
 * Owns what PostgreSQL would keep per connection, for a client of the shared session: settings, the unnamed prepared
 * statement, names of prepared statements, channels. Pure; shared-session.ts applies it.
 *
 * Shared by all clients, as behind a transaction pooler: temporary tables, session advisory locks, cursors WITH HOLD,
 * statements of SQL's PREPARE, custom settings (`a.b`).
 */
import { message, textAt, type WireMessage } from "./wire-messages.js";

const HEADER_BYTES = 5;
/** A longer unnamed statement is not kept: its client gets the error that it does not exist. */
const UNNAMED_BYTES_MAX = 1024 * 1024;
/** The part of a statement that is searched for changes of the session. */
const SEARCHED_BYTES_MAX = 64 * 1024;
/** Tags after which a session's settings may have changed. */
const SETTING_TAGS = new Set(["SET", "RESET", "DISCARD ALL"]);
const SESSION_SET_CONFIG = /set_config\s*\([^)]*\bfalse\b/i;
const LISTEN_STATEMENT = /\b(un)?listen\s+(\*|"(?:[^"]|"")+"|[\p{L}_][\p{L}\p{N}_$]*)/giu;

/** A setting by name; `role` and `session_authorization` are settings too. */
export type Settings = ReadonlyMap<string, string>;

export class ClientSession {
  /** Marks this client's prepared statements in the session. */
  readonly prefix: string;
  /** Applied at the beginning of this client's turn. */
  settings: Settings;
  /** The settings must be read back from the database before another client's turn. */
  settingsChanged = false;
  hasNamedStatements = false;
  readonly channels = new Set<string>();
  #unnamedParse: Buffer | null = null;

  constructor(id: number, settings: Settings) {
    this.prefix = `c${id}:`;
    this.settings = settings;
  }

  /**
   * Rewrites the messages of one cycle for the shared session. `unnamedIsOwn`: the session still has this client's
   * unnamed statement. `added`: one message was put in front, whose completion the client must not see.
   */
  prepare(cycle: readonly WireMessage[], unnamedIsOwn: boolean): { parts: Buffer[]; added: boolean } {
    const restore = !unnamedIsOwn && usesUnnamedFirst(cycle) ? this.#restoreUnnamed() : null;
    const parts = cycle.map((one) => this.#ownNames(one));
    return { parts: restore === null ? parts : [restore, ...parts], added: restore !== null };
  }

  /** Notes what the cycle has changed. True: the session's LISTENs must be updated. */
  completed(cycle: readonly WireMessage[], tags: readonly string[]): boolean {
    this.#noteUnnamed(cycle);
    const texts = cycle.map(sqlOf).filter((sql) => sql !== null);
    if (tags.some((tag) => SETTING_TAGS.has(tag)) || texts.some((sql) => SESSION_SET_CONFIG.test(sql))) {
      this.settingsChanged = true;
    }
    if (!tags.some((tag) => tag === "LISTEN" || tag === "UNLISTEN" || tag === "DISCARD ALL")) return false;
    if (tags.includes("DISCARD ALL")) this.channels.clear();
    for (const sql of texts) this.#noteChannels(sql);
    return true;
  }

  #noteChannels(sql: string): void {
    for (const [, un, name] of sql.matchAll(LISTEN_STATEMENT)) {
      if (name === undefined) continue;
      const channel = name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name.toLowerCase();
      if (un === undefined) this.channels.add(channel);
      else if (name === "*") this.channels.clear();
      else this.channels.delete(channel);
    }
  }

  #noteUnnamed(cycle: readonly WireMessage[]): void {
    for (const one of cycle) {
      // PostgreSQL drops the unnamed statement at every simple query.
      if (one.type === "Q" || (isStatementClose(one) && textAt(one.bytes, HEADER_BYTES + 1) === "")) {
        this.#unnamedParse = null;
      }
      if (one.type !== "P" || one.bytes[HEADER_BYTES] !== 0) continue;
      // A copy, because the message's buffer may hold megabytes of parameters.
      this.#unnamedParse = one.bytes.length > UNNAMED_BYTES_MAX ? null : Buffer.from(one.bytes);
    }
  }

  /** Its own statement again, or none, but never another client's. */
  #restoreUnnamed(): Buffer {
    return this.#unnamedParse ?? message("C", Buffer.from("S"), "");
  }

  #ownNames({ type, bytes }: WireMessage): Buffer {
    if (type === "P") return this.#prefixed(type, bytes, HEADER_BYTES);
    if (type === "B") return this.#prefixed(type, bytes, bytes.indexOf(0, HEADER_BYTES) + 1);
    if ((type === "D" || type === "C") && bytes[HEADER_BYTES] === 0x53) {
      return this.#prefixed(type, bytes, HEADER_BYTES + 1);
    }
    return bytes;
  }

  /** Puts the prefix before the statement's name at `at`; the unnamed statement stays unnamed. */
  #prefixed(type: string, bytes: Buffer, at: number): Buffer {
    if (at >= bytes.length || bytes[at] === 0) return bytes;
    this.hasNamedStatements = true;
    return message(type, bytes.subarray(HEADER_BYTES, at), Buffer.from(this.prefix), bytes.subarray(at));
  }
}

function usesUnnamedFirst(cycle: readonly WireMessage[]): boolean {
  for (const { type, bytes } of cycle) {
    if (type === "Q" || (type === "P" && bytes[HEADER_BYTES] === 0)) return false;
    if (type === "B" && bytes[bytes.indexOf(0, HEADER_BYTES) + 1] === 0) return true;
    if (type === "D" && bytes[HEADER_BYTES] === 0x53 && bytes[HEADER_BYTES + 1] === 0) return true;
  }
  return false;
}

function isStatementClose({ type, bytes }: WireMessage): boolean {
  return type === "C" && bytes[HEADER_BYTES] === 0x53;
}

function sqlOf({ type, bytes }: WireMessage): string | null {
  const searched = bytes.subarray(0, SEARCHED_BYTES_MAX);
  if (type === "Q") return textAt(searched, HEADER_BYTES);
  if (type === "P") return textAt(searched, searched.indexOf(0, HEADER_BYTES) + 1);
  return null;
}
