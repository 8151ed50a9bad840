/**
 * An HTTP server of an invented vendor of batches, "plain": the requests come with the create, nothing of ours is
 * shown in its list, and a lost reply leaves only time and number of requests to go by. Close to what is recorded of
 * Anthropic's Message Batches; its words are its own. It breaks on purpose (`plain-faults.ts`), and its journal says
 * what was executed (`plain-batches.ts`).
 *
 * All state is in its memory: clients may die and come back, the server lives with the test, or in a child
 * (`plain-stand-in-process.mjs`).
 */
import { once } from "node:events";
import http from "node:http";
import {
  PlainBatches,
  type PlainBatch,
  type PlainBatchesOptions,
  type PlainExecution,
  type PlainRequest,
} from "./plain-batches.js";
import {
  PlainFaultScript,
  type PlainCall,
  type PlainFault,
  type PlainFaultStep,
  type PlainMishap,
} from "./plain-faults.js";

export interface PlainStandInOptions extends PlainBatchesOptions {
  /** 0: a free one. */
  readonly port?: number;
  /** Key → workspace; two keys may have one workspace. Default: `PLAIN_KEY` alone. */
  readonly keys?: Readonly<Record<string, string>>;
  readonly requestsMin?: number;
  readonly requestsMax?: number;
  readonly bytesMax?: number;
  /** Requests of a workspace that have not ended; a create that would make them more is refused. */
  readonly openMax?: number;
  /** Whether the list shows a batch yet. Default: always. */
  readonly shows?: (batch: PlainBatch) => boolean;
  readonly models?: readonly string[];
  readonly faults?: readonly PlainFaultStep[];
  readonly mishap?: PlainMishap;
}

export const PLAIN_KEY = "plain-key-0123456789abcdef";
const PLAIN_MODELS = ["plain-large", "plain-small"] as const;

export interface PlainStandIn {
  readonly url: string;
  readonly batches: PlainBatches;
  readonly faults: PlainFaultScript;
  /** HTTP calls that arrived, by kind. */
  readonly calls: ReadonlyMap<PlainCall, number>;
  /** Another client of the same workspace makes a batch of this many requests. */
  createForeign(requests: number, workspace?: string): PlainBatch;
  readonly executions: readonly PlainExecution[];
  /** How often each prompt was asked, over all batches of a workspace's clients, foreign ones left out. */
  executedByPrompt(): ReadonlyMap<string, number>;
  close(): Promise<void>;
}

const BODY_BYTES_MAX = 300_000_000;
const PAGE_SIZE_DEFAULT = 20;
const PAGE_SIZE_MAX = 1_000;
const FOREIGN_PROMPT = "Of somebody else.";

export async function startPlainStandIn(options: PlainStandInOptions = {}): Promise<PlainStandIn> {
  const batches = new PlainBatches(options);
  const faults = new PlainFaultScript(options.mishap);
  faults.add(...(options.faults ?? []));
  const calls = new Map<PlainCall, number>();
  const desk = new Desk(options, batches);
  const server = http.createServer((request, response) => {
    const reply = new PlainReply(response, options.clock ?? Date.now);
    serve({ desk, faults, calls }, request, reply).catch((error: unknown) => {
      if (!response.destroyed) reply.json(500, { error: { kind: "broke", message: String(error) } });
    });
  });
  await once(server.listen(options.port ?? 0, "127.0.0.1"), "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return {
    url: `http://127.0.0.1:${address.port}`,
    batches,
    faults,
    calls,
    createForeign: (requests, workspace = "default") => batches.create(workspace, foreignRequests(requests)),
    executions: batches.executions,
    executedByPrompt: () => executedByPrompt(batches.executions),
    close: async () => {
      batches.close();
      const closed = once(server, "close");
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
}

function foreignRequests(requests: number): readonly PlainRequest[] {
  const ask = { model: "plain-small", max_output: 10, system: null, prompt: FOREIGN_PROMPT };
  return Array.from({ length: requests }, (_, index) => ({ id: `foreign-${index}`, ask }));
}

function executedByPrompt(executions: readonly PlainExecution[]): ReadonlyMap<string, number> {
  const times = new Map<string, number>();
  for (const { ask } of executions) {
    if (ask.prompt !== FOREIGN_PROMPT) times.set(ask.prompt, (times.get(ask.prompt) ?? 0) + 1);
  }
  return times;
}

interface Routed {
  readonly call: PlainCall;
  readonly id: string;
}

interface Place {
  readonly desk: Desk;
  readonly faults: PlainFaultScript;
  readonly calls: Map<PlainCall, number>;
}

async function serve({ desk, faults, calls }: Place, request: http.IncomingMessage, reply: PlainReply): Promise<void> {
  const url = new URL(request.url ?? "/", "http://plain");
  const { call, id } = route(request.method ?? "", url.pathname);
  calls.set(call, (calls.get(call) ?? 0) + 1);
  const arrivedAtMs = desk.now();
  const body = await readBody(request);
  if (call === "faults") {
    faults.add(...(JSON.parse(body) as PlainFaultStep[]));
    reply.json(200, {});
    return;
  }
  const act = () => desk.answer({ call, id, url, body, arrivedAtMs, key: headerOf(request, "x-plain-key") });
  const before = faults.next(call, "before");
  if (before?.kind === "late") {
    reply.drop();
    void desk.actLater(before.after, act);
    return;
  }
  if (before !== null) return send(reply, await said(before, null));
  const answer = act();
  send(reply, await said(faults.next(call, "after"), answer));
}

interface Said {
  readonly answer: PlainAnswered;
  readonly fault: PlainFault | null;
}

function said(fault: PlainFault | null, answer: PlainAnswered | null): Promise<Said> {
  if (fault?.kind === "reply") {
    const { status, body = {}, headers = {} } = fault;
    return Promise.resolve({ answer: { status, body, headers }, fault: null });
  }
  return Promise.resolve({ answer: answer ?? { status: 500, body: {} }, fault });
}

function send(reply: PlainReply, { answer, fault }: Said): void {
  if (fault?.kind === "drop" || fault?.kind === "late") reply.drop();
  else if (fault?.kind === "cut" || fault?.kind === "stall") reply.part(answer, fault);
  else reply.whole(answer);
}

function route(method: string, path: string): Routed {
  const [root = "", id = "", more = "", ...rest] = path.split("/").slice(1);
  const named = `${method} /${root}${id === "" ? "" : "/:id"}${more === "" ? "" : `/${more}`}`;
  const call = rest.length === 0 ? ROUTES[named] : undefined;
  return { call: call ?? "none", id };
}

const ROUTES: Readonly<Record<string, PlainCall>> = {
  "POST /batches": "create",
  "GET /batches": "list",
  "GET /batches/:id": "get",
  "GET /batches/:id/results": "results",
  "POST /batches/:id/stop": "stop",
  "DELETE /batches/:id": "delete",
  "GET /models": "models",
  "GET /journal": "journal",
  "POST /faults": "faults",
};

function headerOf(request: http.IncomingMessage, name: string): string {
  const value = request.headers[name];
  return typeof value === "string" ? value : "";
}

async function readBody(request: http.IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let bytes = 0;
  for await (const part of request) {
    bytes += (part as Buffer).length;
    if (bytes > BODY_BYTES_MAX) throw new Error("The body is too large for the stand-in.");
    parts.push(part as Buffer);
  }
  return Buffer.concat(parts).toString("utf8");
}

interface Asked extends Routed {
  readonly url: URL;
  readonly body: string;
  readonly arrivedAtMs: number;
  readonly key: string;
}

/** What each call does and answers. */
class Desk {
  private readonly options: PlainStandInOptions;
  private readonly batches: PlainBatches;

  constructor(options: PlainStandInOptions, batches: PlainBatches) {
    this.options = options;
    this.batches = batches;
  }

  now(): number {
    return this.batches.now();
  }

  answer(asked: Asked): PlainAnswered {
    if (asked.call === "journal") return { status: 200, body: { executions: this.batches.executions } };
    const workspace = (this.options.keys ?? { [PLAIN_KEY]: "default" })[asked.key];
    if (workspace === undefined) return refused(401, "who_are_you", `The key "${asked.key}" is not known.`);
    switch (asked.call) {
      case "create":
        return this.create(asked, workspace);
      case "list":
        return this.list(asked.url.searchParams, workspace);
      case "models":
        return { status: 200, body: { models: this.options.models ?? PLAIN_MODELS } };
      case "none":
      case "faults":
        return refused(404, "not_found", "There is no such address.");
      default:
        return this.answerOf(asked, this.batches.find(workspace, asked.id));
    }
  }

  async actLater(after: number | Promise<unknown>, act: () => void): Promise<void> {
    if (typeof after === "number") return this.batches.later(act, after);
    await after;
    act();
  }

  private create({ body, arrivedAtMs }: Asked, workspace: string): PlainAnswered {
    const { requestsMin = 1, requestsMax = 100_000, bytesMax = 256_000_000, openMax = Infinity } = this.options;
    const bytes = Buffer.byteLength(body);
    if (bytes > bytesMax)
      return refused(413, "too_large", `A batch may have ${bytesMax} bytes, not ${bytes}.`, {
        limit: bytesMax,
      });
    const requests = readRequests(body);
    if ("status" in requests) return requests;
    const { length } = requests;
    if (length < requestsMin || length > requestsMax)
      return refused(400, "bad_number", `A batch may have ${requestsMin} to ${requestsMax} requests, not ${length}.`);
    if (this.batches.open(workspace) + length > openMax)
      return refused(429, "queue_full", "Too many requests are queued in this workspace.");
    return { status: 200, body: shown(this.batches.create(workspace, requests, arrivedAtMs)) };
  }

  private list(query: URLSearchParams, workspace: string): PlainAnswered {
    const size = Math.min(Number(query.get("limit") ?? PAGE_SIZE_DEFAULT), PAGE_SIZE_MAX);
    const listed = this.batches.listed(workspace).filter((batch) => this.options.shows?.(batch) ?? true);
    const [after, before] = [query.get("after"), query.get("before")];
    // A batch that is gone since it ended a page still has its place.
    const older = after === null ? listed : listed.filter((batch) => this.isOlder(batch.id, after));
    const newer = before === null ? older : older.filter((batch) => this.isOlder(before, batch.id)).slice(-size);
    const page = newer.slice(0, size);
    const more =
      (before === null ? older.length : older.filter((batch) => this.isOlder(before, batch.id)).length) > size;
    return {
      status: 200,
      body: { batches: page.map(shown), more, first: page[0]?.id ?? null, last: page.at(-1)?.id ?? null },
    };
  }

  private isOlder(id: string, than: string): boolean {
    const at = (wanted: string) => this.batches.all.findIndex((batch) => batch.id === wanted);
    return at(id) < at(than);
  }

  private answerOf({ call, id }: Asked, batch: PlainBatch | null): PlainAnswered {
    if (batch === null) return refused(404, "not_found", `There is no batch ${id}.`);
    if (batch.isDeleted)
      return call === "results"
        ? refused(410, "gone", `The results of ${id} were deleted.`)
        : refused(404, "not_found", `There is no batch ${id}.`);
    const isFinished = batch.state === "finished";
    if (call === "results") {
      if (!isFinished) return refused(409, "not_finished", `The batch ${id} has not finished.`);
      return { status: 200, body: batch.results.map((line) => `${JSON.stringify(line)}\n`).join("") };
    }
    if (call === "stop") {
      if (isFinished) return refused(409, "finished", `The batch ${id} has finished.`);
      this.batches.stop(batch);
    }
    if (call === "delete") {
      if (!isFinished) return refused(409, "not_finished", `The batch ${id} has not finished.`);
      batch.isDeleted = true;
    }
    return { status: 200, body: shown(batch) };
  }
}

/** As replies and the list show it. */
function shown(batch: PlainBatch): object {
  const { id, state, counts } = batch;
  const isFinished = state === "finished";
  return {
    id,
    state,
    made_at: instant(batch.madeAtMs),
    stop_asked_at: batch.stopAskedAtMs === null ? null : instant(batch.stopAskedAtMs),
    finished_at: batch.endedAtMs === null ? null : instant(batch.endedAtMs),
    counts: { ...counts },
    results: isFinished ? `/batches/${id}/results` : null,
  };
}

/** RFC 3339 with microseconds and an offset, as Python writes it. */
function instant(ms: number): string {
  return new Date(ms).toISOString().replace("Z", "000+00:00");
}

function readRequests(body: string): readonly PlainRequest[] | PlainAnswered {
  let requests: unknown;
  try {
    requests = (JSON.parse(body) as { requests?: unknown } | null)?.requests;
  } catch {
    return refused(400, "no_json", "The body is not JSON.");
  }
  if (!Array.isArray(requests)) return refused(400, "no_requests", "There are no requests.");
  const ids = new Set<string>();
  for (const [index, request] of (requests as Partial<PlainRequest>[]).entries()) {
    const problem = problemOf(request, ids);
    if (problem !== null) return refused(400, "bad_request", `requests[${index}]: ${problem}`, { index });
  }
  return requests as PlainRequest[];
}

function problemOf({ id, ask }: Partial<PlainRequest>, ids: Set<string>): string | null {
  if (typeof id !== "string" || !/^[\w-]{1,64}$/.test(id)) return "id must have 1 to 64 letters, digits, _ or -.";
  if (ids.has(id)) return `id ${id} stands twice.`;
  ids.add(id);
  if (typeof ask?.prompt !== "string" || typeof ask.model !== "string") return "ask needs a model and a prompt.";
  if (!Number.isInteger(ask.max_output) || ask.max_output < 1) return "max_output must be a whole number from 1.";
  return ask.prompt.includes("[[demo:bad-line]]") ? "this cannot be asked." : null;
}

interface PlainAnswered {
  readonly status: number;
  /** Lines, or JSON. */
  readonly body: object | string;
  readonly headers?: Readonly<Record<string, string>>;
}

/** How the stand-in of "plain" answers, and breaks off. */
class PlainReply {
  private readonly response: http.ServerResponse;
  private readonly clock: () => number;

  constructor(response: http.ServerResponse, clock: () => number) {
    this.response = response;
    this.clock = clock;
    response.sendDate = false;
  }

  json(status: number, body: object): void {
    this.whole({ status, body });
  }

  whole(answer: PlainAnswered): void {
    this.response.end(this.begin(answer));
  }

  /** The headers announce the whole body. */
  part(answer: PlainAnswered, { kind, afterBytes }: { kind: "cut" | "stall"; afterBytes: number }): void {
    const bytes = this.begin(answer).subarray(0, afterBytes);
    this.response.flushHeaders();
    const end = () => {
      if (kind === "cut") this.drop();
    };
    if (bytes.length === 0) end();
    else this.response.write(bytes, end);
  }

  drop(): void {
    this.response.destroy();
  }

  private begin({ status, body, headers = {} }: PlainAnswered): Buffer {
    const isText = typeof body === "string";
    const bytes = Buffer.from(isText ? body : JSON.stringify(body));
    this.response.writeHead(status, {
      "content-type": isText ? "application/x-plain-lines" : "application/json",
      "content-length": String(bytes.length),
      date: new Date(this.clock()).toUTCString(),
      ...headers,
    });
    return bytes;
  }
}

function refused(status: number, kind: string, message: string, more: object = {}): PlainAnswered {
  return { status, body: { error: { kind, message, ...more } } };
}
