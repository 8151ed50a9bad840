/**
 * Owns one client's socket: its start, its bytes as cycles, and back-pressure both ways. The mux decides when a cycle
 * runs. A client that dies, stalls or sends nonsense loses only its connection.
 */
import { randomInt } from "node:crypto";
import type { Socket } from "node:net";
import { ClientSession, type Settings } from "./client-session.js";
import { EMBEDDED_DATABASE, EMBEDDED_USER } from "./embedded-paths.js";
import type { Mux, MuxClient } from "./mux.js";
import {
  errorResponse,
  MessageCutter,
  AUTHENTICATION_OK,
  backendKeyData,
  message,
  readyForQuery,
  startupParameters,
  type WireError,
  type WireMessage,
} from "./wire-messages.js";

/** One message, e.g. one Bind with a large parameter. */
const MESSAGE_BYTES_MAX = 256 * 1024 * 1024;
/** All messages up to a Sync. */
const CYCLE_BYTES_MAX = 512 * 1024 * 1024;
/** Complete cycles that wait, and their bytes; above, nothing is read from the client. */
const WAITING_CYCLES_MAX = 64;
const WAITING_BYTES_MAX = 16 * 1024 * 1024;
/** Answers that the client has not read; above, its next cycle waits. */
const UNREAD_BYTES_MAX = 8 * 1024 * 1024;
/** With notifications, which do not wait for the client; above, it is disconnected. */
const UNREAD_NOTIFIED_BYTES_MAX = 64 * 1024 * 1024;
/** For the first packet, so that a mute connection does not keep the database alive. */
const STARTUP_MS = 30_000;
/** For the client to close after us. */
const HANG_UP_MS = 5_000;

const CYCLE_ENDS = new Set(["Q", "S", "H", "F"]);
const CYCLE_PARTS = new Set(["P", "B", "D", "C", "E"]);
/** Data of a COPY that was refused; PostgreSQL ignores it as well. */
const COPY_PARTS = new Set(["d", "c", "f"]);
const CANCEL_REQUEST = 80877102;
const SSL_REQUEST = 80877103;
const GSS_REQUEST = 80877104;
const PROTOCOL_MAJOR = 3;
/** Known, but without effect. */
const IGNORED = new Set(["user", "database", "options", "replication", "application_name"]);

export interface ClientConnectionOptions {
  readonly socket: Socket;
  readonly id: number;
  readonly mux: Mux;
  readonly reported: Settings;
  /** Called once, at the end of the connection. */
  readonly onGone: () => void;
}

export class ClientConnection implements MuxClient {
  session: ClientSession;
  readonly #options: ClientConnectionOptions;
  readonly #cutter = new MessageCutter(MESSAGE_BYTES_MAX);
  readonly #cycles: { readonly messages: readonly WireMessage[]; readonly bytes: number }[] = [];
  #waitingBytes = 0;
  #parts: WireMessage[] = [];
  #partsBytes = 0;
  #started = false;
  #terminating = false;
  #gone = false;

  constructor(options: ClientConnectionOptions) {
    this.#options = options;
    this.session = new ClientSession(options.id, new Map());
    const { socket } = options;
    socket.setTimeout(STARTUP_MS);
    socket.on("timeout", () => socket.destroy());
    socket.on("data", (chunk) => this.#receive(chunk));
    socket.on("drain", () => options.mux.wake(this));
    // A reset is a hang-up; `close` follows.
    socket.on("error", () => socket.destroy());
    socket.on("close", () => this.#leave());
  }

  takeCycle(): readonly WireMessage[] | null {
    const { socket } = this.#options;
    if (this.#gone || socket.writableLength > UNREAD_BYTES_MAX) return null;
    const cycle = this.#cycles.shift();
    if (cycle === undefined) {
      if (this.#terminating) this.#hangUp();
      return null;
    }
    this.#waitingBytes -= cycle.bytes;
    if (!this.#hasEnough()) socket.resume();
    return cycle.messages;
  }

  write(bytes: Buffer): void {
    if (!this.#gone) this.#options.socket.write(bytes);
  }

  notify(bytes: Buffer): void {
    if (this.#options.socket.writableLength > UNREAD_NOTIFIED_BYTES_MAX) this.#options.socket.destroy();
    else this.write(bytes);
  }

  fail(error: WireError): void {
    if (this.#gone) return;
    this.write(errorResponse(error));
    this.#hangUp();
  }

  #receive(chunk: Buffer): void {
    if (this.#gone || this.#terminating) return;
    this.#cutter.push(chunk);
    try {
      this.#readMessages();
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.fail(protocolError(`the client sent ${error.message}`));
    }
  }

  #readMessages(): void {
    for (let next = this.#next(); next !== null; next = this.#next()) {
      if (this.#started) this.#readMessage(next);
      else this.#readFirst(next.bytes);
      if (this.#gone || this.#terminating) return;
    }
  }

  #next(): WireMessage | null {
    return this.#cutter.next(!this.#started);
  }

  #readFirst(bytes: Buffer): void {
    const { socket, mux, reported, id } = this.#options;
    const packet = readFirstPacket(bytes);
    if (packet.kind === "encryption") {
      socket.write("N");
    } else if (packet.kind === "start") {
      socket.setTimeout(0);
      this.#started = true;
      this.session = new ClientSession(id, packet.settings);
      mux.add(this);
      this.write(greeting(reported, packet.settings, packet.olderProtocol));
    } else if (packet.kind === "refused") {
      this.fail(packet.error);
    } else {
      this.#hangUp();
    }
  }

  #readMessage(message: WireMessage): void {
    const { type, bytes } = message;
    if (COPY_PARTS.has(type)) return;
    if (type === "X") {
      this.#terminating = true;
      this.#options.mux.wake(this);
      return;
    }
    if (!CYCLE_PARTS.has(type) && !CYCLE_ENDS.has(type)) {
      // PostgreSQL would end the session, and with it the database of all clients.
      this.fail(protocolError(`the client sent a message of the unknown type ${JSON.stringify(type)}`));
      return;
    }
    this.#parts.push(message);
    this.#partsBytes += bytes.length;
    if (this.#partsBytes > CYCLE_BYTES_MAX) this.fail(protocolError("the client sent too much before a Sync"));
    else if (CYCLE_ENDS.has(type)) this.#completeCycle();
  }

  #completeCycle(): void {
    this.#cycles.push({ messages: this.#parts, bytes: this.#partsBytes });
    this.#waitingBytes += this.#partsBytes;
    this.#parts = [];
    this.#partsBytes = 0;
    if (this.#hasEnough()) this.#options.socket.pause();
    this.#options.mux.wake(this);
  }

  #hasEnough(): boolean {
    return this.#cycles.length >= WAITING_CYCLES_MAX || this.#waitingBytes > WAITING_BYTES_MAX;
  }

  /** What is written is still sent; nothing more is read. */
  #hangUp(): void {
    const { socket } = this.#options;
    socket.end();
    socket.resume();
    socket.setTimeout(HANG_UP_MS);
    this.#leave();
  }

  #leave(): void {
    if (this.#gone) return;
    this.#gone = true;
    this.#cycles.length = 0;
    this.#parts = [];
    this.#options.mux.remove(this);
    this.#options.onGone();
  }
}

function protocolError(text: string): WireError {
  return { severity: "FATAL", code: "08P01", message: `${text}; the connection is closed` };
}

type FirstPacket =
  /** Answered with N, not offered. Another first packet follows. */
  | { readonly kind: "encryption" }
  /** A running statement cannot be interrupted. The protocol has no answer. */
  | { readonly kind: "cancel" }
  | { readonly kind: "start"; readonly settings: Settings; readonly olderProtocol: boolean }
  | { readonly kind: "refused"; readonly error: WireError };

export function readFirstPacket(bytes: Buffer): FirstPacket {
  if (bytes.length < 8) return refused("08P01", "the first packet is too short");
  const code = bytes.readInt32BE(4);
  if (code === SSL_REQUEST || code === GSS_REQUEST) return { kind: "encryption" };
  if (code === CANCEL_REQUEST) return { kind: "cancel" };
  if (code >> 16 !== PROTOCOL_MAJOR) return refused("0A000", "only version 3 of PostgreSQL's protocol is supported");
  const parameters = startupParameters(bytes);
  const user = parameters.get("user") ?? "";
  const database = parameters.get("database") ?? user;
  if (database !== EMBEDDED_DATABASE) {
    return refused("3D000", `database "${database}" does not exist`, `It is named "${EMBEDDED_DATABASE}".`);
  }
  const settings = startupSettings(parameters);
  if (settings === null) return refused("22023", "options must have the form -c name=value");
  if (user !== EMBEDDED_USER) settings.set("session_authorization", user);
  return { kind: "start", settings, olderProtocol: (code & 0xffff) !== 0 };
}

/** The answer to a good start. `reported`: the values of a fresh session. */
export function greeting(reported: Settings, settings: Settings, olderProtocol: boolean): Buffer {
  const own = new Map([...settings].map(([name, value]) => [name.toLowerCase(), value]));
  const statuses = [...reported].map(([name, value]) => message("S", name, own.get(name.toLowerCase()) ?? value));
  // NegotiateProtocolVersion: minor version 0, no options.
  const negotiation = olderProtocol ? [message("v", Buffer.alloc(8))] : [];
  const key = backendKeyData(process.pid, randomInt(2 ** 31 - 1));
  return Buffer.concat([...negotiation, AUTHENTICATION_OK, ...statuses, key, readyForQuery("I")]);
}

function startupSettings(parameters: ReadonlyMap<string, string>): Map<string, string> | null {
  const settings = optionSettings(parameters.get("options") ?? "");
  if (settings === null) return null;
  for (const [name, value] of parameters) {
    const isUtf8 = name === "client_encoding" && /^'?utf-?8'?$/i.test(value);
    if (!isUtf8 && !IGNORED.has(name) && !name.startsWith("_pq_.")) settings.set(name, value);
  }
  return settings;
}

/** `-c name=value` and `--name=value`, separated by blanks; a backslash keeps the next character. */
function optionSettings(options: string): Map<string, string> | null {
  const words = (options.match(/(?:\\.|[^\\\s])+/gs) ?? []).map((word) => word.replace(/\\(.)/gs, "$1"));
  const settings = new Map<string, string>();
  for (let at = 0; at < words.length; at += 1) {
    const word = words[at] ?? "";
    const assignment = word === "-c" ? words[(at += 1)] : /^(?:-c|--)(.+)$/s.exec(word)?.[1];
    const equals = assignment?.indexOf("=") ?? -1;
    if (assignment === undefined || equals < 1) return null;
    settings.set(assignment.slice(0, equals), assignment.slice(equals + 1));
  }
  return settings;
}

function refused(code: string, text: string, hint?: string): FirstPacket {
  const error: WireError = { severity: "FATAL", code, message: text, ...(hint === undefined ? {} : { hint }) };
  return { kind: "refused", error };
}
