/**
 * Owns HTTP: authentication, rates, request ids, dates, the error envelope, the journal of calls, and the faults of a
 * test. Routes only return answers. A client that hangs up loses only its call. An unexpected error answers 500 in
 * OpenAI's envelope and is logged; the server continues.
 */
import { createReadStream } from "node:fs";
import type { ServerResponse } from "node:http";
import { Readable } from "node:stream";
import type { HttpBindings } from "@hono/node-server";
import { RESPONSE_ALREADY_SENT } from "@hono/node-server/utils/response";
import { Hono, type Context } from "hono";
import { routePath } from "hono/route";
import type { BodyRefusal } from "../../http/body-refusal.js";
import { CallerRates } from "../../http/caller-rates.js";
import { readJson } from "../../http/read-json.js";
import { serve, type HttpListener } from "../../http/serve.js";
import type { Call, Fault } from "../engine/faults.js";
import { errorBody, newId, refusal, SERVER_ERROR, type Answer } from "../protocol/wire.js";
import type { GatewaySettings } from "../settings.js";
import { ownerOf, type Owner } from "../storage/api-keys.js";
import type { CallLog } from "../storage/call-log.js";

/** A live chat completion may carry a long text; batches come as files. */
const JSON_BODY_BYTES_MAX = 16 * 1024 * 1024;
const PARAM_CHARS_MAX = 200;
const NO_ROUTE = "no route";
/** One allowance for all callers of a gateway without keys. */
const ANY_CALLER = "any";
const NOT_JSON =
  "We could not parse the JSON body of your request. (HINT: This likely means you aren't using your HTTP library " +
  "correctly. The OpenAI API expects a JSON payload, but what was sent was not valid JSON.)";

export interface HttpParts {
  readonly settings: GatewaySettings;
  readonly calls: CallLog;
}

interface GatewayEnv {
  readonly Bindings: HttpBindings;
  /** `known`: the call came with a key. */
  readonly Variables: { requestId: string; known: { readonly caller: Owner } | null };
}
export type GatewayContext = Context<GatewayEnv>;

/** `caller`: the owner of the files and batches that the call sees. */
export type Effect = (context: GatewayContext, caller: Owner) => Answer | Promise<Answer>;

export class HttpServer {
  readonly app = new Hono<GatewayEnv>();
  readonly #parts: HttpParts;
  readonly #rates: CallerRates;
  #listener: HttpListener | null = null;

  constructor(parts: HttpParts) {
    this.#parts = parts;
    this.#rates = new CallerRates({ callsPerMinute: parts.settings.limits.callsPerMinute });
    this.app.use("*", async (context, next) => (await this.#receive(context)) ?? next());
    this.app.notFound((context) => this.#send(context, unknownUrl(context)));
    this.app.onError((error, context) => this.#send(context, this.#answerTo(error)));
  }

  /** `effect` is on disk when it returns. */
  route(method: "GET" | "POST" | "DELETE", url: string, effect: Effect): void {
    this.app.on(method, url, async (context) => {
      const { known } = context.var;
      if (known === null) throw new Error("a call that was not authorized");
      const answer = await effect(context, known.caller);
      const fault = await this.#parts.settings.faults.afterEffect(callOf(context), answer);
      return this.#send(context, answer, fault);
    });
  }

  /** Returns the port. */
  async listen(): Promise<number> {
    const { host, port, tls, log, clock } = this.#parts.settings;
    const explain = (status: number, message: string): Response => {
      const body = status < 500 ? errorBody(message) : SERVER_ERROR;
      const headers = { "x-request-id": newId("req_"), date: new Date(clock.nowMs()).toUTCString() };
      return responseOf({ kind: "json", status, body }, headers);
    };
    const fetch = (request: Request, env: HttpBindings) => this.app.fetch(request, env);
    this.#listener = await serve({ fetch, host, port, tls, explain, log });
    return this.#listener.port;
  }

  /** Disconnects all clients. */
  async close(): Promise<void> {
    await this.#listener?.close(0);
  }

  /** Answers what needs no effect: calls without a key, above the rate, or with a scripted fault. */
  async #receive(context: GatewayContext): Promise<Response | null> {
    context.set("requestId", newId("req_"));
    context.set("known", null);
    const known = this.#authorize(context.req.header("authorization"));
    if ("refused" in known) return this.#send(context, known.refused);
    context.set("known", known);
    const waitMs = this.#rates.take(known.caller ?? ANY_CALLER, this.#parts.settings.clock.nowMs());
    if (waitMs !== null) return this.#send(context, tooManyCalls(this.#parts.settings, waitMs));
    const fault = await this.#parts.settings.faults.beforeEffect(callOf(context));
    if (fault !== undefined) return this.#send(context, refusal(500, "A scripted fault without a reply."), fault);
    return callOf(context).route === NO_ROUTE ? this.#send(context, unknownUrl(context)) : null;
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

  #send(context: GatewayContext, answer: Answer, fault?: Fault): Response {
    const changed: Answer = fault?.kind === "reply" ? { ...fault, kind: "json" } : answer;
    this.#note(context, fault?.kind === "drop" ? null : changed.status);
    const date = new Date(this.#parts.settings.clock.nowMs()).toUTCString();
    const headers = { "x-request-id": context.var.requestId, date };
    if (fault === undefined || fault.kind === "reply") return responseOf(changed, headers);
    return sendBroken(context.env.outgoing, changed, { fault, headers });
  }

  /** Only calls with a key: others could fill the disk. */
  #note(context: GatewayContext, status: number | null): void {
    if (context.var.known === null) return;
    const { method, route, path, requestId } = callOf(context);
    this.#parts.calls.note({ requestId, method, route, path, status });
  }

  #answerTo(error: unknown): Answer {
    this.#parts.settings.log(error instanceof Error ? (error.stack ?? error.message) : String(error));
    return { kind: "json", status: 500, body: SERVER_ERROR };
  }
}

function callOf(context: GatewayContext): Call {
  const { req } = context;
  const length = req.header("content-length");
  return {
    method: req.method,
    route: routeOf(context),
    path: req.path,
    query: queryOf(context),
    requestId: context.var.requestId,
    contentLength: length === undefined ? null : Number(length),
  };
}

/** HEAD is no GET here, as at OpenAI. */
function routeOf(context: GatewayContext): string {
  const { method, path } = context.req;
  const found = routePath(context, -1);
  const isTooLong = path.split("/").some((part) => part.length > PARAM_CHARS_MAX);
  return found.endsWith("*") || isTooLong || method === "HEAD" ? NO_ROUTE : found;
}

/** A name that occurs more than once has a list. */
export function queryOf({ req }: GatewayContext): Readonly<Record<string, unknown>> {
  const all = Object.entries(req.queries());
  return Object.fromEntries(all.map(([name, values]) => [name, values.length === 1 ? values[0] : values]));
}

function unknownUrl({ req }: GatewayContext): Answer {
  return refusal(404, `Invalid URL (${req.method} ${req.path})`);
}

function tooManyCalls({ limits, organization }: GatewaySettings, waitMs: number): Answer {
  const { callsPerMinute: max } = limits;
  const seconds = Math.ceil(waitMs / 1_000);
  const message =
    `Rate limit reached in organization ${organization} on requests per min (RPM): Limit ${max}, Used ${max}, ` +
    `Requested 1. Please try again in ${seconds}s.`;
  const headers = { "retry-after": String(seconds) };
  return refusal(429, message, { type: "requests", code: "rate_limit_exceeded", headers });
}

/** The body of a JSON call, or the refusal of one that is not a JSON object. An absent body is `{}`. */
export async function jsonBodyOf({
  req,
}: GatewayContext): Promise<{ readonly body: Record<string, unknown> } | { readonly refused: Answer }> {
  const read = await readJson(req.raw, { bytesMax: JSON_BODY_BYTES_MAX });
  if (read === null) return { body: {} };
  if ("refused" in read) return { refused: bodyRefusal(read.refused) };
  const { value } = read;
  if (typeof value === "object" && value !== null && !Array.isArray(value)) return { body: { ...value } };
  return { refused: refusal(400, NOT_JSON) };
}

export function bodyRefusal({ code, status, message }: BodyRefusal): Answer {
  return code === "json_malformed" ? refusal(400, NOT_JSON) : refusal(status, message);
}

export function pathParam({ req }: GatewayContext, name: string): string {
  return req.param(name) ?? "";
}

type Headers = Readonly<Record<string, string>>;

function responseOf(answer: Answer, headers: Headers): Response {
  const init = { status: answer.status, headers: { ...headers, ...headersOf(answer) } };
  if (answer.kind === "json") return new Response(JSON.stringify(answer.body), init);
  return new Response(ReadableStream.from(createReadStream(answer.path)), init);
}

function headersOf(answer: Answer): Headers {
  if (answer.kind === "json") return { "content-type": "application/json", ...answer.headers };
  return {
    "content-type": "application/octet-stream",
    "content-length": String(answer.bytes),
    "content-disposition": `attachment; filename="${answer.filename.replaceAll(/[^\w.-]/g, "_")}"`,
  };
}

interface Breaking {
  readonly fault: Exclude<Fault, { kind: "reply" }>;
  readonly headers: Headers;
}

/** Headers announce the whole body; only `afterBytes` of it follow. */
function sendBroken(outgoing: ServerResponse, answer: Answer, { fault, headers }: Breaking): Response {
  if (fault.kind === "drop") {
    outgoing.destroy();
    return RESPONSE_ALREADY_SENT;
  }
  const text = answer.kind === "json" ? Buffer.from(JSON.stringify(answer.body)) : null;
  const bytes = text?.length ?? (answer.kind === "file" ? answer.bytes : 0);
  outgoing.writeHead(answer.status, { ...headers, ...headersOf(answer), "content-length": String(bytes) });
  const end = Math.min(fault.afterBytes, bytes);
  if (end === 0) outgoing.flushHeaders();
  const sent = piece(answer, text, end);
  sent.pipe(outgoing, { end: false });
  // Ended, not destroyed: what was written still reaches the client.
  if (fault.kind === "cut") sent.once("end", () => outgoing.socket?.end());
  return RESPONSE_ALREADY_SENT;
}

function piece(answer: Answer, text: Buffer | null, end: number): Readable {
  if (text !== null || end === 0) return Readable.from(end === 0 ? [] : [text?.subarray(0, end)]);
  return createReadStream(answer.kind === "file" ? answer.path : "", { end: end - 1 });
}
