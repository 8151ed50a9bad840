/**
 * Owns the SDK client and what all calls share: base URL, time-outs, the clock of the last reply, and reading
 * lists page by page. The SDK is used for the wire, but neither its retries (three POSTs for one batch whose
 * reply was lost: measured), nor its time-outs (they end with the headers), nor its logging.
 */
import OpenAI from "openai";
import { RowmillError } from "../model/errors.js";
import { caller, type Caller } from "./openai-call.js";
import { errorReader } from "./openai-errors.js";
import { readPage } from "./openai-wire.js";
import type { CallOptions } from "./provider.js";

export const OPENAI_BASE_URL_DEFAULT = "https://api.openai.com/v1";

export interface OpenAITimeouts {
  /** A whole small call, its reply included. */
  readonly callMs: number;
  /** The create of a batch: what it may have done is looked for so much longer. */
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
  readonly timeouts?: Partial<OpenAITimeouts> | undefined;
  readonly fetch?: typeof globalThis.fetch | undefined;
}

/** Everything that the calls need. */
export interface Connection {
  readonly client: OpenAI;
  readonly call: Caller;
  readonly timeouts: OpenAITimeouts;
  /** The Date header of the last reply, seconds since the epoch; null before any. */
  readonly clockSeconds: () => number | null;
}

/**
 * Makes no call by itself. Of the environment only the SDK's own OPENAI_CUSTOM_HEADERS is read: an
 * organisation or project that is not given is not sent.
 */
export function connect(options: OpenAIOptions, baseURL: string): Connection {
  const clock: { seconds: number | null } = { seconds: null };
  const timeouts = { ...OPENAI_TIMEOUTS_DEFAULT, ...options.timeouts };
  const send = options.fetch ?? globalThis.fetch;
  const client = new OpenAI({
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
      return response;
    },
  });
  const errors = errorReader({ apiKey: options.apiKey, baseUrl: baseURL });
  return { client, timeouts, call: caller(errors, timeouts.backoffMs), clockSeconds: () => clock.seconds };
}

export interface ListPlan<T> extends CallOptions {
  readonly path: "/files" | "/batches";
  readonly query: Readonly<Record<string, string | number>>;
  readonly read: (json: unknown) => T;
  readonly pagesMax: number;
}

/**
 * Gives page after page to `take` until it says no or the list ends. Not by the SDK's own pages: they make
 * an empty list of any reply that has no data. False when there was more than `pagesMax`, or the server gave
 * the same page for ever.
 */
export async function eachPage<T extends { readonly id: string }>(
  { client, call, timeouts }: Connection,
  { path, query, read, pagesMax, ...options }: ListPlan<T>,
  take: (items: readonly T[]) => boolean,
): Promise<boolean> {
  const plan = { what: `list ${path.slice(1)}`, timeoutMs: timeouts.callMs, ...options };
  let after: string | null = null;
  for (let page = 0; page < pagesMax; page += 1) {
    const pageQuery: object = after === null ? query : { ...query, after };
    const { items, hasMore } = await call(plan, async (signal) => {
      const { data, ...rest } = readPage(await client.get(path, { query: pageQuery, signal }));
      return { ...rest, items: data.map(read) };
    });
    const lastId = items.at(-1)?.id;
    if (!take(items) || hasMore === false || lastId === undefined) return true;
    // A server that does not say whether there is more may have no pages at all: then that was the whole list.
    if (lastId === after) return hasMore === null;
    after = lastId;
  }
  return false;
}

/**
 * Scheme, host and path, without a slash at the end.
 * @throws RowmillError `config_invalid` for what is no http address, or holds a password.
 */
export function cleanBaseUrl(text: string): string {
  let url: URL;
  try {
    url = new URL(text);
  } catch {
    // Without the cause, which quotes the text: it may hold a password.
    throw new RowmillError("config_invalid", "OPENAI_BASE_URL is not a URL; write it as https://host/v1");
  }
  const extras = [url.username, url.password, url.search, url.hash].some((part) => part !== "");
  if (!["http:", "https:"].includes(url.protocol) || extras) {
    throw new RowmillError(
      "config_invalid",
      "OPENAI_BASE_URL must be an http or https address and a path, without user name, password or query",
    );
  }
  return `${url.origin}${url.pathname}`.replace(/\/+$/, "");
}
