/**
 * Owns the open connections of a server and ends those that a client does not use: idle ones, silent ones, bodies that
 * trickle in. A connection holds at most one call. Ending one loses only what that client was sending.
 */
import type { IncomingMessage, Server, ServerResponse } from "node:http";
import https from "node:https";
import type { Socket } from "node:net";
import type { Duplex } from "node:stream";
import type { HttpLimits } from "./limits.js";

/** Probes that find a client that vanished without closing its connection. */
const PROBE_AFTER_MS = 30_000;
/** A client that has its answer may send this much longer, so that it reads the answer and not a reset. */
const LINGER_MS = 2_000;

interface Call {
  readonly request: IncomingMessage;
  readonly response: ServerResponse;
  bytesSeen: number;
  /** How long the server would still wait for the body at this instant. */
  allowanceMs: number;
  answeredAt: number | null;
}

export interface ConnectionParts {
  readonly server: Server;
  readonly limits: HttpLimits;
  /** Answers a call whose body comes too slowly, and closes its connection. */
  readonly refuseSlow: (response: ServerResponse) => void;
}

export class Connections {
  readonly #parts: ConnectionParts;
  /** All, also while they shake hands. Over TLS, calls come on other sockets than these. */
  readonly #sockets = new Set<Socket>();
  /** Those on which calls come. */
  readonly #ready = new Set<Socket>();
  readonly #calls = new Map<Duplex, Call>();
  /** Connections before their first call and between two. Longest waiting first. */
  readonly #idle = new Set<Socket>();
  readonly #check: NodeJS.Timeout;
  #isClosing = false;

  constructor(parts: ConnectionParts) {
    this.#parts = parts;
    const { server, limits } = parts;
    server.on("connection", (socket) => this.#open(socket));
    server.on(server instanceof https.Server ? "secureConnection" : "connection", (socket: Socket) => {
      if (socket.destroyed) return;
      this.#ready.add(socket);
      this.#idle.add(socket);
      socket.once("close", () => this.#forget(socket));
    });
    server.prependListener("request", (request, response) => this.#begin(request, response));
    server.timeout = limits.idleMs;
    server.on("timeout", (socket) => this.#timedOut(socket));
    this.#check = setInterval(() => this.#checkCalls(), limits.checkMs);
    this.#check.unref();
  }

  get count(): number {
    return this.#sockets.size;
  }

  /** The connection's present call. */
  callOf(socket: Duplex): { readonly request: IncomingMessage; readonly response: ServerResponse } | undefined {
    return this.#calls.get(socket);
  }

  /** From now on each connection ends with its present call. */
  drain(): void {
    this.#isClosing = true;
    for (const socket of this.#ready) if (!this.#calls.has(socket)) socket.destroy();
  }

  /** Ends all at once. */
  destroy(): void {
    clearInterval(this.#check);
    for (const socket of this.#sockets) socket.destroy();
  }

  #open(socket: Socket): void {
    if (this.#sockets.size >= this.#parts.limits.connectionsMax && !this.#makeRoom()) {
      socket.destroy();
      return;
    }
    socket.setKeepAlive(true, PROBE_AFTER_MS);
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
  }

  #forget(socket: Socket): void {
    this.#ready.delete(socket);
    this.#idle.delete(socket);
    this.#calls.delete(socket);
  }

  /** Closes the connection that has waited longest for its next call. */
  #makeRoom(): boolean {
    const [longest] = this.#idle;
    if (longest === undefined) return false;
    longest.destroy();
    this.#sockets.delete(longest);
    this.#forget(longest);
    return true;
  }

  #begin(request: IncomingMessage, response: ServerResponse): void {
    const socket = request.socket;
    const { bodyGraceMs: allowanceMs } = this.#parts.limits;
    const call = { request, response, bytesSeen: socket.bytesRead, allowanceMs, answeredAt: null };
    this.#idle.delete(socket);
    this.#calls.set(socket, call);
    if (this.#isClosing) response.shouldKeepAlive = false;
    response.once("finish", () => this.#answered(socket, call));
  }

  #answered(socket: Socket, call: Call): void {
    if (this.#calls.get(socket) !== call) return;
    call.answeredAt = performance.now();
    const end = (): void => {
      if (this.#calls.get(socket) !== call) return;
      this.#calls.delete(socket);
      if (this.#isClosing) socket.destroySoon();
      else if (!socket.destroyed) this.#idle.add(socket);
    };
    if (call.request.complete) end();
    else call.request.once("end", end);
  }

  /** The connection was silent. That is the client's fault unless the server owes the next byte. */
  #timedOut(socket: Socket): void {
    const call = this.#calls.get(socket);
    const waitsForUs = call !== undefined && !isDue(call) && socket.writableLength === 0;
    if (waitsForUs && call.answeredAt === null) socket.setTimeout(this.#parts.limits.idleMs);
    else socket.destroy();
  }

  #checkCalls(): void {
    for (const call of this.#calls.values()) {
      const lingers = call.answeredAt !== null && performance.now() - call.answeredAt > LINGER_MS;
      if (lingers) call.request.socket.destroy();
      else if (call.answeredAt === null && isDue(call)) this.#checkBody(call);
    }
  }

  #checkBody(call: Call): void {
    const { bodyGraceMs, bodyBytesPerSecondMin, checkMs } = this.#parts.limits;
    const { bytesRead } = call.request.socket;
    const earnedMs = ((bytesRead - call.bytesSeen) / bodyBytesPerSecondMin) * 1_000;
    call.bytesSeen = bytesRead;
    call.allowanceMs = Math.min(bodyGraceMs, call.allowanceMs + earnedMs - checkMs);
    if (call.allowanceMs < 0) this.#parts.refuseSlow(call.response);
  }
}

/** The next bytes must come from the client: its body is incomplete, and the server has taken what came. */
function isDue({ request }: Call): boolean {
  return !request.complete && !request.isPaused() && request.readableLength < request.readableHighWaterMark;
}
