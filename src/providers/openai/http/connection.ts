/**
 * Owns the SDK client and what all calls share: base URL, time-outs, retries, the clock of the last reply, and lists
 * page by page. The SDK is used for the wire, but not its retries (three POSTs for one batch whose reply was lost:
 * measured), its time-outs (they end with the headers) or its logging. A crash in here loses nothing: the caller
 * recorded the intent before.
 */
import type { OpenAI } from "openai";
import { setTimeout as sleep } from "node:timers/promises";
import { commonjs } from "../../../model/commonjs.js";
import { RowmillError } from "../../../model/errors.js";
import { JSON_VALUES_MAX, ValueCounter } from "../../../model/json/json-values.js";
import { isLoopback, NO_PROXIES, proxyFor, type Proxies } from "../../../model/provider/proxy.js";
import { errorReader, UnreadableReply, isRedirect, type ErrorReader } from "./errors.js";
import { fetchThrough } from "./proxy.js";
import { readPage } from "../wire.js";
import { ProviderError, type CallOptions } from "../../../model/provider/provider.js";

/** Of a reply that is held in memory: a page of a list, a batch with the errors of its lines. */
const REPLY_BYTES_MAX = 8 * 1024 * 1024;

interface OpenAITimeouts {
  /** A whole small call, its reply included. */
  readonly callMs: number;
  /** The create of a batch, whose effect is searched for that much longer. */
  readonly createMs: number;
  /** A whole upload: 200 MB at 3 Mbit/s. */
  readonly uploadMs: number;
  /** Without a byte of a file's content. */
  readonly stallMs: number;
  /** Before the first retry; doubles with each. */
  readonly backoffMs: number;
}

const OPENAI_TIMEOUTS_DEFAULT: OpenAITimeouts = {
  callMs: 60_000,
  createMs: 60_000,
  uploadMs: 600_000,
  stallMs: 60_000,
  backoffMs: 500,
};

export interface OpenAIOptions {
  readonly apiKey: string;
  /** With the version, such as `https://api.openai.com/v1`. */
  readonly baseURL?: string | undefined;
  readonly organization?: string | undefined;
  readonly project?: string | undefined;
  /** Sends the key over plain http to other machines. */
  readonly allowHttp?: boolean;
  /** None by default. */
  readonly proxies?: Proxies;
  readonly timeouts?: Partial<OpenAITimeouts> | undefined;
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** Everything that the calls need. */
export interface Connection {
  /** Loads the SDK at the first call: most commands make none. */
  readonly client: OpenAI;
  readonly call: Caller;
  readonly timeouts: OpenAITimeouts;
  /** The Date header of the last reply, seconds since the epoch; null before any. */
  readonly clockSeconds: () => number | null;
}

/**
 * Makes no call. Of the environment only the SDK's own OPENAI_CUSTOM_HEADERS is read: an organization or project that
 * is not given is not sent.
 * @throws RowmillError `config_invalid` for a key that would go over plain http to another machine.
 */
export function connect(options: OpenAIOptions, baseURL: string): Connection {
  if (options.allowHttp !== true) requireSafe(new URL(baseURL));
  const clock: { seconds: number | null } = { seconds: null };
  const timeouts = { ...OPENAI_TIMEOUTS_DEFAULT, ...options.timeouts };
  const proxies = options.proxies ?? NO_PROXIES;
  const send = fetchThrough(proxies, options.fetch ?? globalThis.fetch);
  const open = () => {
    const { OpenAI } = commonjs("openai") as typeof import("openai");
    return new OpenAI({
      apiKey: options.apiKey,
      baseURL,
      // Null, not absent: the SDK would read the environment.
      organization: options.organization || null,
      project: options.project || null,
      adminAPIKey: null,
      webhookSecret: null,
      maxRetries: 0,
      timeout: Math.max(timeouts.callMs, timeouts.uploadMs),
      logLevel: "off",
      // A redirect would turn a POST into a GET, or post twice.
      fetchOptions: { redirect: "manual" },
      fetch: async (url, init) => {
        const response = await send(url, init);
        const date = Date.parse(response.headers.get("date") ?? "");
        if (!Number.isNaN(date)) clock.seconds = Math.floor(date / 1_000);
        return isStreamed(url, response) ? response : bounded(response);
      },
    });
  };
  const proxy = proxyFor(new URL(baseURL), proxies);
  const errors = errorReader({ apiKey: options.apiKey, baseUrl: baseURL, proxy });
  let client: OpenAI | null = null;
  return {
    get client() {
      return (client ??= open());
    },
    timeouts,
    call: caller(errors, timeouts.backoffMs),
    clockSeconds: () => clock.seconds,
  };
}

function requireSafe({ protocol, hostname, host }: URL): void {
  if (protocol !== "http:" || isLoopback(hostname)) return;
  throw new RowmillError(
    "config_invalid",
    `OPENAI_BASE_URL uses plain http to ${host}: anyone on the network could read the API key and your rows.`,
    { hints: ["Use https.", "If you trust the network (another container, vLLM, Ollama): set ROWMILL_ALLOW_HTTP=1"] },
  );
}

/** The content of a file is read line by line, and bounded there. */
function isStreamed(url: unknown, response: Response): boolean {
  return response.ok && String(url).endsWith("/content");
}

/** The SDK reads such a reply as a whole, also that of an error. */
function bounded({ body, status, statusText, headers }: Response): Response {
  let bytes = 0;
  const values = new ValueCounter();
  const count = new TransformStream<Uint8Array, Uint8Array>({
    transform: (chunk, controller) => {
      bytes += chunk.length;
      for (const byte of chunk) values.add(byte);
      if (bytes > REPLY_BYTES_MAX) controller.error(new UnreadableReply(`it is longer than ${REPLY_BYTES_MAX} bytes`));
      else if (values.isOverfull) controller.error(new UnreadableReply(`it holds more than ${JSON_VALUES_MAX} values`));
      else controller.enqueue(chunk);
    },
  });
  return new Response(body?.pipeThrough(count) ?? null, { status, statusText, headers });
}

export interface ListPlan<T> extends CallOptions {
  readonly path: "/files" | "/batches";
  readonly query: Readonly<Record<string, string | number>>;
  /** Must not throw: one broken entry of other code must not spoil the list. An unreadable id is "". */
  readonly read: (json: unknown) => T;
  readonly pagesMax: number;
}

/**
 * Page after page. Not by the SDK's own pages, which make an empty list of any reply without data. Returns false when
 * the list did not end within `pagesMax`, or the server repeats a page and announces more.
 */
export async function* eachPage<T extends { readonly id: string }>(
  { client, call, timeouts }: Connection,
  { path, query, read, pagesMax, ...options }: ListPlan<T>,
): AsyncGenerator<readonly T[], boolean> {
  const plan = { what: `list ${path.slice(1)}`, timeoutMs: timeouts.callMs, ...options };
  const readAfter = (after: string | null) =>
    call(plan, async (signal) => {
      const pageQuery: object = after === null ? query : { ...query, after };
      const { data, hasMore } = readPage(await client.get(path, { query: pageQuery, signal }));
      return { hasMore, items: data.map(read) };
    });
  let { items, hasMore } = await readAfter(null);
  for (let page = 1; ; page += 1) {
    const last = items.findLast(({ id }) => id !== "");
    yield items;
    if (hasMore === false) return true;
    // Without an id there is no cursor for the next page.
    if (last === undefined) return items.length === 0 || hasMore === null;
    if (page === pagesMax) return false;
    // A server that does not say whether there is more may have no pages: then this was the whole list.
    const mayBeWhole = hasMore === null;
    const seen = new Set(items.map(({ id }) => id));
    try {
      ({ items, hasMore } = await readAfter(last.id));
    } catch (error) {
      if (mayBeWhole && saysNo(error)) return true;
      throw error;
    }
    if (items.every(({ id }) => seen.has(id))) return hasMore !== true;
  }
}

/** The server does not do that, or not with this thing. */
export function saysNo(error: unknown): boolean {
  return error instanceof ProviderError && ["refused", "unsupported"].includes(error.kind);
}

/** Calls after the first one. */
export const RETRIES_MAX = 3;
/** The caller handles a longer wait, and does not hold a worker. */
const WAIT_IN_CALL_MS_MAX = 20_000;

interface CallPlan {
  /** For messages, after "could not": `list batches`. */
  readonly what: string;
  readonly timeoutMs: number;
  /** Exactly one request is sent; an uncertain end is `ambiguous`. */
  readonly unrepeatable?: boolean;
  readonly signal?: AbortSignal | undefined;
}

/** `run` hands its signal to the SDK, reads the whole reply, and runs once a try. @throws what `ErrorReader` makes */
type Caller = <T>(plan: CallPlan, run: (signal: AbortSignal) => Promise<T>) => Promise<T>;

function caller(errors: ErrorReader, backoffMs: number): Caller {
  return async (plan, run) => {
    const triesMax = plan.unrepeatable === true ? 1 : 1 + RETRIES_MAX;
    for (let tries = 1; ; tries += 1) {
      try {
        return await callOnce(plan, errors, run);
      } catch (error) {
        const waitMs = tries < triesMax ? waitBefore(error, tries, backoffMs) : null;
        if (waitMs === null || plan.signal?.aborted === true) throw error;
        await sleep(waitMs, undefined, plan.signal === undefined ? {} : { signal: plan.signal }).catch(() => {
          throw error;
        });
      }
    }
  };
}

async function callOnce<T>(plan: CallPlan, errors: ErrorReader, run: (signal: AbortSignal) => Promise<T>): Promise<T> {
  const { what, timeoutMs, signal } = plan;
  if (signal?.aborted === true) {
    throw new ProviderError("retryable", `could not ${what}: interrupted before the call`);
  }
  const controller = new AbortController();
  let ended: "timeout" | "interrupted" | null = null;
  const end = (why: "timeout" | "interrupted") => {
    ended ??= why;
    controller.abort();
  };
  const interrupt = () => end("interrupted");
  const timer = setTimeout(() => end("timeout"), timeoutMs);
  signal?.addEventListener("abort", interrupt, { once: true });
  try {
    return await run(controller.signal);
  } catch (error) {
    throw errors.read(error, { what, timeoutMs, unrepeatable: plan.unrepeatable === true, ended });
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", interrupt);
  }
}

/** Null: no further try in this call. */
function waitBefore(error: unknown, tries: number, backoffMs: number): number | null {
  if (!(error instanceof ProviderError) || error.kind !== "retryable" || isRedirect(error.status)) return null;
  const spread = 0.75 + Math.random() * 0.5;
  const waitMs = error.retryAfterMs ?? backoffMs * 2 ** (tries - 1) * spread;
  return waitMs <= WAIT_IN_CALL_MS_MAX ? waitMs : null;
}
