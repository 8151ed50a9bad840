/**
 * Owns HTTP: authentication, request ids, dates, the error envelope, the journal of calls, and sending answers with the
 * faults of a test. Routes only return answers. A client that hangs up loses only its call. An unexpected error answers
 * 500 in OpenAI's envelope and is logged; the server continues.
 */
import { createReadStream } from "node:fs";
import http from "node:http";
import https from "node:https";
import { Readable } from "node:stream";
import fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { ownerOf, type Owner } from "../storage/api-keys.js";
import type { Call, Fault } from "../engine/faults.js";
import type { Journal } from "../storage/journal.js";
import { parseJson } from "../protocol/json.js";
import type { GatewaySettings } from "../settings.js";
import { newId, refusal, SERVER_ERROR, type Answer } from "../protocol/wire.js";

/** A live chat completion may carry a long text; batches come as files. */
const JSON_BODY_BYTES_MAX = 16 * 1024 * 1024;
/** A whole upload of 200 MB over a slow line must fit. */
const REQUEST_TIMEOUT_MS = 10 * 60_000;
const KEEP_ALIVE_TIMEOUT_MS = 72_000;
const HEAD_BYTES_MAX = 16 * 1024;
const PARAM_CHARS_MAX = 200;
const JOURNAL_PATH_CHARS_MAX = 200;
const NO_ROUTE = "no route";

export interface HttpParts {
  readonly settings: GatewaySettings;
  readonly journal: Journal;
}

/** `caller`: the owner of the files and batches that the call sees. */
export type Effect = (request: FastifyRequest, caller: Owner) => Answer | Promise<Answer>;

export class HttpServer {
  readonly app: FastifyInstance;
  readonly #parts: HttpParts;
  /** The calls that came with a key. */
  readonly #known = new WeakMap<FastifyRequest, { readonly caller: Owner }>();

  constructor(parts: HttpParts) {
    this.#parts = parts;
    this.app = createApp(parts.settings);
    this.app.removeAllContentTypeParsers();
    this.app.addContentTypeParser("*", { parseAs: "string" }, (_request, body, done) => done(null, body));
    this.app.addHook("onRequest", (request, reply) => this.#receive(request, reply));
    this.app.setNotFoundHandler((request, reply) => this.#send(request, reply, unknownUrl(request)));
    this.app.setErrorHandler((error, request, reply) => this.#send(request, reply, this.#answerTo(error)));
  }

  /** `effect` is on disk when it returns. */
  route(method: "GET" | "POST" | "DELETE", url: string, effect: Effect): void {
    this.app.route({
      method,
      url,
      handler: async (request, reply) => {
        const known = this.#known.get(request);
        if (known === undefined) throw new Error("a call that was not authorized");
        const answer = await effect(request, known.caller);
        const fault = await this.#parts.settings.faults.afterEffect(callOf(request), answer);
        return this.#send(request, reply, answer, fault);
      },
    });
  }

  async #receive(request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply | undefined> {
    reply.header("x-request-id", request.id);
    reply.header("date", new Date(this.#parts.settings.clock.nowMs()).toUTCString());
    const known = this.#authorize(request.headers.authorization);
    if ("refused" in known) return this.#send(request, reply, known.refused);
    this.#known.set(request, known);
    const fault = await this.#parts.settings.faults.beforeEffect(callOf(request));
    if (fault === undefined) return undefined;
    return this.#send(request, reply, refusal(500, "A scripted fault without a reply."), fault);
  }

  #authorize(header: string | undefined): { readonly caller: Owner } | { readonly refused: Answer } {
    const key = /^Bearer\s+(\S+)\s*$/i.exec(header ?? "")?.[1];
    if (key === undefined) {
      const message =
        "You didn't provide an API key. You need to provide your API key in an Authorization header using " +
        "Bearer auth (i.e. Authorization: Bearer YOUR_KEY).";
      return { refused: refusal(401, message) };
    }
    const { keys } = this.#parts.settings;
    if (keys === null) return { caller: null };
    const caller = ownerOf(key, keys);
    if (caller !== null) return { caller };
    // Without the key, unlike OpenAI's text: it may be a real one that was sent here by mistake.
    return { refused: refusal(401, "Incorrect API key provided.", { code: "invalid_api_key" }) };
  }

  #send(request: FastifyRequest, reply: FastifyReply, answer: Answer, fault?: Fault): FastifyReply {
    const changed: Answer = fault?.kind === "reply" ? { ...fault, kind: "json" } : answer;
    this.#note(request, fault?.kind === "drop" ? null : changed.status);
    if (fault === undefined || fault.kind === "reply") return sendWhole(reply, changed);
    sendBroken(reply, changed, fault);
    return reply;
  }

  /** Only calls with a key: others could fill the disk. */
  #note(request: FastifyRequest, status: number | null): void {
    if (!this.#known.has(request)) return;
    const { method, route, requestId, ...call } = callOf(request);
    const at = this.#parts.settings.clock.nowMs();
    const path = call.path.slice(0, JOURNAL_PATH_CHARS_MAX);
    this.#parts.journal.append({ kind: "call", at, requestId, method, route, path, status });
  }

  #answerTo(error: unknown): Answer {
    const { statusCode, message } = describeError(error);
    if (statusCode < 500) return refusal(statusCode, message);
    this.#parts.settings.log(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return { kind: "json", status: 500, body: SERVER_ERROR };
  }
}

function createApp({ tls }: GatewaySettings): FastifyInstance {
  return fastify({
    bodyLimit: JSON_BODY_BYTES_MAX,
    forceCloseConnections: true,
    routerOptions: { maxParamLength: PARAM_CHARS_MAX },
    exposeHeadRoutes: false,
    genReqId: () => newId("req_"),
    serverFactory: (handler) => {
      const options = { maxHeaderSize: HEAD_BYTES_MAX, requestTimeout: REQUEST_TIMEOUT_MS };
      const server =
        tls === null ? http.createServer(options, handler) : https.createServer({ ...options, ...tls }, handler);
      server.keepAliveTimeout = KEEP_ALIVE_TIMEOUT_MS;
      return server;
    },
  });
}

function callOf(request: FastifyRequest): Call {
  const length = request.headers["content-length"];
  const path = request.url.split("?", 1)[0] ?? "";
  return {
    method: request.method,
    route: request.routeOptions.url ?? NO_ROUTE,
    path,
    query: request.query as Readonly<Record<string, unknown>>,
    requestId: request.id,
    contentLength: length === undefined ? null : Number(length),
  };
}

function unknownUrl(request: FastifyRequest): Answer {
  const { method, path } = callOf(request);
  return refusal(404, `Invalid URL (${method} ${path})`);
}

/** Fastify's errors have a status: body too large, malformed multipart, a client that hung up. */
function describeError(error: unknown): { statusCode: number; message: string } {
  if (!(error instanceof Error)) return { statusCode: 500, message: String(error) };
  const statusCode = "statusCode" in error && typeof error.statusCode === "number" ? error.statusCode : 500;
  return { statusCode, message: error.message };
}

function sendWhole(reply: FastifyReply, answer: Answer): FastifyReply {
  void reply.code(answer.status).headers(headersOf(answer));
  if (answer.kind === "json") return reply.send(JSON.stringify(answer.body));
  return reply.send(createReadStream(answer.path));
}

function headersOf(answer: Answer): Record<string, string> {
  if (answer.kind === "json") return { "content-type": "application/json", ...answer.headers };
  return {
    "content-type": "application/octet-stream",
    "content-length": String(answer.bytes),
    "content-disposition": `attachment; filename="${answer.filename.replaceAll(/[^\w.-]/g, "_")}"`,
  };
}

/** Headers announce the whole body; only `afterBytes` of it follow. */
function sendBroken(reply: FastifyReply, answer: Answer, fault: Exclude<Fault, { kind: "reply" }>): void {
  reply.hijack();
  const { raw } = reply;
  if (fault.kind === "drop") {
    raw.destroy();
    return;
  }
  const text = answer.kind === "json" ? Buffer.from(JSON.stringify(answer.body)) : null;
  const bytes = text?.length ?? (answer.kind === "file" ? answer.bytes : 0);
  const own = Object.entries(reply.getHeaders()).map(([name, value]) => [name, String(value)]);
  raw.writeHead(answer.status, { ...Object.fromEntries(own), ...headersOf(answer), "content-length": String(bytes) });
  const end = Math.min(fault.afterBytes, bytes);
  if (end === 0) raw.flushHeaders();
  const sent = piece(answer, text, end);
  sent.pipe(raw, { end: false });
  // Ended, not destroyed: what was written still reaches the client.
  if (fault.kind === "cut") sent.once("end", () => raw.socket?.end());
}

function piece(answer: Answer, text: Buffer | null, end: number): Readable {
  if (text !== null || end === 0) return Readable.from(end === 0 ? [] : [text?.subarray(0, end)]);
  return createReadStream(answer.kind === "file" ? answer.path : "", { end: end - 1 });
}

/** The body of a JSON call, or the refusal of one that is not a JSON object. An absent body is `{}`. */
export function jsonBodyOf(
  request: FastifyRequest,
): { readonly body: Record<string, unknown> } | { readonly refused: Answer } {
  const text = typeof request.body === "string" && request.body !== "" ? request.body : "{}";
  const body = parseJson(text);
  if (typeof body === "object" && body !== null && !Array.isArray(body)) return { body: { ...body } };
  const message =
    "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library " +
    "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)";
  return { refused: refusal(400, message) };
}

export function pathParam(request: FastifyRequest, name: string): string {
  const { params } = request;
  const value =
    typeof params === "object" && params !== null ? Object.entries(params).find(([key]) => key === name)?.[1] : "";
  return typeof value === "string" ? value : "";
}
