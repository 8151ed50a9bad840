/**
 * Owns a listening server: a `fetch` function behind sockets, with limits on what a client may hold. Knows no route.
 * What never becomes a `Request` (a malformed head, one too large, a body too slow) is answered here. No error's text
 * reaches a client. `close` ends within its grace, whatever handlers and clients do.
 */
import http from "node:http";
import type { IncomingMessage, ServerResponse } from "node:http";
import https from "node:https";
import type { AddressInfo } from "node:net";
import type { Duplex } from "node:stream";
import { setImmediate as soon } from "node:timers/promises";
import { getRequestListener, RequestError, type HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Connections } from "./connections.js";
import { HTTP_LIMITS_DEFAULT, type HttpLimits } from "./limits.js";
import { problem } from "./problem.js";

/** The header of `RESPONSE_ALREADY_SENT`: a handler has written to `env.outgoing` itself. */
const ALREADY_SENT = "x-hono-already-sent";
/** What Node finds wrong before a request is one, and while a body is on its way. */
const BROKEN: Readonly<Record<string, readonly [status: number, message: string]>> = {
  HPE_HEADER_OVERFLOW: [431, "The request's head is larger than the limit"],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [413, "The request's chunk extensions are too large."],
  ERR_HTTP_REQUEST_TIMEOUT: [408, "The request's head did not arrive in time."],
};

export interface ServeOptions {
  /** Answers each call; Hono's `app.fetch`. A rejection is logged and answered with 500. */
  readonly fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>;
  readonly host: string;
  /** 0: a free port. */
  readonly port: number;
  readonly tls?: { readonly key: string | Buffer; readonly cert: string | Buffer } | null;
  readonly limits?: Partial<HttpLimits>;
  /** The answer to what never reaches `fetch`, or fails there. Default: problem+json. */
  readonly explain?: (status: number, message: string) => Response;
  /** Gets errors of `fetch` and of response bodies. */
  readonly log: (message: string) => void;
}

export interface HttpListener {
  readonly port: number;
  /** Open connections. */
  connections(): number;
  /**
   * Stops listening, waits up to `graceMs` for present calls, then disconnects all clients; their `request.signal`
   * aborts. Repeatable: a later call may only shorten the wait.
   */
  close(graceMs: number): Promise<void>;
}

/** Listens when it resolves. Rejects with Node's error if it cannot, such as `EADDRINUSE`. */
export async function serve(options: ServeOptions): Promise<HttpListener> {
  const limits = { ...HTTP_LIMITS_DEFAULT, ...options.limits };
  const explain = options.explain ?? explainByProblem;
  const server = createServer(options.tls ?? null, limits);
  const connections = new Connections({ server, limits, refuseSlow: (response) => void refuseSlow(response, explain) });
  server.on("request", listenerOf(options, explain));
  server.on("clientError", (error: NodeJS.ErrnoException, socket) => {
    void answerBrokenHead({ error, socket, explain, connections, limits });
  });
  const port = await listen(server, options);
  let closed: Promise<void> | null = null;
  let hurry: () => void = () => undefined;
  return {
    port,
    connections: () => connections.count,
    close: (graceMs) => {
      closed ??= new Promise((resolve) => {
        hurry = () => connections.destroy();
        server.close(() => {
          connections.destroy();
          resolve();
        });
        connections.drain();
      });
      if (graceMs > 0) setTimeout(() => hurry(), graceMs).unref();
      else hurry();
      return closed;
    },
  };
}

function createServer(tls: (ServeOptions["tls"] & {}) | null, limits: HttpLimits): http.Server {
  const options = {
    maxHeaderSize: limits.headBytesMax,
    headersTimeout: limits.headMs,
    keepAliveTimeout: limits.keepAliveMs,
    connectionsCheckingInterval: limits.checkMs,
    // A body of any length may come as long as it comes fast enough: see Connections.
    requestTimeout: 0,
  };
  if (tls === null) return http.createServer(options);
  return https.createServer({ ...options, ...tls, handshakeTimeout: limits.headMs });
}

function listen(server: http.Server, { host, port }: ServeOptions): Promise<number> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen({ host, port }, () => {
      server.off("error", reject);
      resolve((server.address() as AddressInfo).port);
    });
  });
}

type Explain = NonNullable<ServeOptions["explain"]>;

function explainByProblem(status: number, detail: string): Response {
  return problem({ status, detail });
}

type Listener = (incoming: IncomingMessage, outgoing: ServerResponse) => void;

function listenerOf({ fetch, log }: ServeOptions, explain: Explain): Listener {
  const answer = async (request: Request, env: HttpBindings): Promise<Response> => {
    try {
      return await fetch(request, env);
    } catch (error) {
      log(textOf(error));
      return explain(500, "The server had an error while it processed your request.");
    }
  };
  const listener = getRequestListener(
    async (request, env) => {
      if (!isHttp1(env)) throw new TypeError("The server speaks HTTP/1.1 only.");
      const response = await answer(request, env);
      if (!response.headers.has(ALREADY_SENT)) await sendResponse(response, env.outgoing);
      return RESPONSE_ALREADY_SENT;
    },
    {
      overrideGlobalObjects: false,
      // HTTP/1.0 names no host.
      hostname: "localhost",
      errorHandler: (error) => {
        if (error instanceof RequestError) return explain(400, `${error.message}.`);
        // The response has begun, and was cut.
        log(textOf(error));
        return RESPONSE_ALREADY_SENT;
      },
    },
  );
  return (incoming, outgoing) => {
    listener(incoming, outgoing).catch((error: unknown) => log(textOf(error)));
  };
}

function isHttp1(env: object): env is HttpBindings {
  return "outgoing" in env && env.outgoing instanceof http.ServerResponse;
}

function textOf(error: unknown): string {
  return error instanceof Error ? (error.stack ?? error.message) : String(error);
}

interface BrokenHead {
  readonly error: NodeJS.ErrnoException;
  readonly socket: Duplex;
  readonly explain: Explain;
  readonly connections: Connections;
  readonly limits: HttpLimits;
}

async function answerBrokenHead({ error, socket, explain, connections, limits }: BrokenHead): Promise<void> {
  const call = connections.callOf(socket);
  if (call?.request.complete === true && !call.response.headersSent) {
    // What follows a whole request is broken: that request still gets its answer.
    call.response.shouldKeepAlive = false;
    return;
  }
  if (error.code === "ECONNRESET" || !socket.writable || call?.response.headersSent === true) {
    socket.destroy();
    return;
  }
  const [status, message] = BROKEN[error.code ?? ""] ?? [400, "The request is not valid HTTP."];
  const text = status === 431 ? `${message} of ${limits.headBytesMax} bytes.` : message;
  socket.end(await rawAnswer(explain(status, text)), () => socket.destroy());
}

async function rawAnswer(response: Response): Promise<string> {
  const body = await response.text();
  const headers = { ...Object.fromEntries(response.headers), "content-length": Buffer.byteLength(body) };
  const lines = Object.entries({ ...headers, connection: "close" }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `HTTP/1.1 ${response.status} ${http.STATUS_CODES[response.status] ?? ""}\r\n${lines.join("")}\r\n${body}`;
}

async function refuseSlow(outgoing: ServerResponse, explain: Explain): Promise<void> {
  if (outgoing.headersSent) {
    outgoing.destroy();
    return;
  }
  const response = explain(408, "The request's body came too slowly.");
  outgoing.writeHead(response.status, { ...Object.fromEntries(response.headers), connection: "close" });
  outgoing.end(await response.text());
}

type Reader = ReadableStreamDefaultReader<Uint8Array>;

/**
 * As fast as the client reads it. A body that fails cuts the connection, so that the client sees a broken answer and
 * not a short one, and rejects; a client that leaves cancels the body. A call that was answered in the meantime, or
 * whose client left, gets nothing.
 */
async function sendResponse(response: Response, outgoing: ServerResponse): Promise<void> {
  if (outgoing.destroyed || outgoing.headersSent) {
    await response.body?.cancel();
    return;
  }
  const headers = headersOf(response.headers);
  if (response.body === null || outgoing.req.method === "HEAD") {
    outgoing.writeHead(response.status, headers).end();
    await response.body?.cancel();
    return;
  }
  const reader = response.body.getReader();
  const leave = (): void => void reader.cancel().catch(() => undefined);
  outgoing.once("close", leave);
  try {
    await sendBody(reader, outgoing, () => outgoing.writeHead(response.status, headers));
  } catch (error) {
    outgoing.destroy();
    throw error;
  } finally {
    outgoing.off("close", leave);
  }
}

/** A body of one piece that is there at once gets its length; others are sent piece by piece. */
async function sendBody(reader: Reader, outgoing: ServerResponse, writeHead: () => void): Promise<void> {
  const reading = reader.read();
  const first = await Promise.race([reading, soon(null)]);
  const next = first === null ? reading : reader.read();
  if (first?.value !== undefined && (await Promise.race([next, soon(null)]))?.done === true) {
    if (!outgoing.hasHeader("content-length")) outgoing.setHeader("content-length", first.value.byteLength);
    writeHead();
    outgoing.end(first.value);
    return;
  }
  writeHead();
  if (first?.value !== undefined) outgoing.write(first.value);
  else outgoing.flushHeaders();
  for (let piece = await next; !piece.done && !outgoing.destroyed; piece = await reader.read())
    if (!outgoing.write(piece.value)) await drained(outgoing);
  outgoing.end();
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      outgoing.off("drain", end).off("close", end);
      resolve();
    };
    outgoing.once("drain", end).once("close", end);
    if (outgoing.destroyed) end();
  });
}

function headersOf(headers: Headers): Record<string, string | string[]> {
  const cookies = headers.getSetCookie();
  const all = Object.fromEntries(headers);
  return cookies.length === 0 ? all : { ...all, "set-cookie": cookies };
}
