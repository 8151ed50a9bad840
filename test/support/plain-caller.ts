/**
 * How the adapter of "plain" makes a call: over `fetch`, with a time-out over the whole reply, retries of reads
 * alone, and exactly one request for everything else. No error holds the key: causes are not kept, and words are
 * redacted.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { isOverfull } from "../../src/model/json/json-values.js";
import { RowmillError } from "../../src/model/errors.js";
import { ProviderError, type ProviderErrorKind } from "../../src/model/provider/provider.js";
import type { Refusal } from "../../src/model/batch/refusal.js";
import { storableText } from "../../src/model/words/storable-text.js";

export interface PlainTimeouts {
  /** A whole small call. */
  readonly callMs: number;
  readonly createMs: number;
  /** Without a byte of the results. */
  readonly stallMs: number;
  /** Before the first retry; doubles with each. */
  readonly backoffMs: number;
}

export interface CallerOptions {
  readonly url: string;
  readonly key: string;
  readonly timeouts: PlainTimeouts;
}

export interface PlainCallPlan {
  /** After "did not": `list batches`. */
  readonly what: string;
  readonly method: "GET" | "POST" | "DELETE";
  readonly path: string;
  readonly body?: Blob;
  /** May have taken effect, whatever became of the reply, and must not be made twice. */
  readonly unrepeatable?: boolean;
  readonly once?: boolean;
  readonly signal?: AbortSignal | undefined;
}

const RETRIES_MAX = 3;
const REPLY_BYTES_MAX = 8 * 1024 * 1024;
const RETRY_AFTER_MS_MAX = 5 * 60_000;
/** A longer wait is left to who calls. */
const WAIT_IN_CALL_MS_MAX = 20_000;
const WORDS_MAX = 1_000;
const CAUSES_MAX = 5;
const NEVER_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"]);

interface Trouble {
  readonly ended: "timeout" | "interrupted" | null;
  readonly timeoutMs: number;
}

export class PlainCaller {
  private readonly options: CallerOptions;
  private seconds: number | null = null;

  constructor(options: CallerOptions) {
    this.options = options;
  }

  get clockSeconds(): number | null {
    return this.seconds;
  }

  /** What the vendor answered, as JSON. @throws ProviderError */
  json(plan: PlainCallPlan): Promise<unknown> {
    return this.call(plan, async (response) => parse(await boundedText(response)));
  }

  /** The reply with its body unread; `hangUp` ends it. @throws ProviderError */
  stream(plan: PlainCallPlan): Promise<{ readonly response: Response; readonly hangUp: () => void }> {
    return this.call(plan, (response, hangUp) => Promise.resolve({ response, hangUp }));
  }

  redact(text: string): string {
    const { key } = this.options;
    const clean = key === "" ? text : text.replaceAll(key, "[key]");
    return storableText(clean.slice(0, WORDS_MAX));
  }

  private async call<T>(plan: PlainCallPlan, read: (response: Response, hangUp: () => void) => Promise<T>): Promise<T> {
    const triesMax = plan.method === "GET" && plan.once !== true ? 1 + RETRIES_MAX : 1;
    for (let tries = 1; ; tries += 1) {
      try {
        return await this.callOnce(plan, read);
      } catch (error) {
        const waitMs = tries < triesMax ? this.waitBefore(error, tries) : null;
        if (waitMs === null || plan.signal?.aborted === true) throw error;
        await sleep(waitMs, undefined, plan.signal === undefined ? {} : { signal: plan.signal }).catch(() => {
          throw error;
        });
      }
    }
  }

  private waitBefore(error: unknown, tries: number): number | null {
    if (!(error instanceof ProviderError) || error.kind !== "retryable" || isRedirect(error.status)) return null;
    const waitMs = error.retryAfterMs ?? this.options.timeouts.backoffMs * 2 ** (tries - 1);
    return waitMs <= WAIT_IN_CALL_MS_MAX ? waitMs : null;
  }

  private async callOnce<T>(
    plan: PlainCallPlan,
    read: (response: Response, hangUp: () => void) => Promise<T>,
  ): Promise<T> {
    const { what, signal } = plan;
    if (signal?.aborted === true)
      throw new ProviderError("retryable", `the call to plain "${what}" was interrupted before it was made`);
    const timeoutMs = plan.unrepeatable === true ? this.options.timeouts.createMs : this.options.timeouts.callMs;
    const controller = new AbortController();
    let ended: Trouble["ended"] = null;
    const end = (why: NonNullable<Trouble["ended"]>) => {
      ended ??= why;
      controller.abort();
    };
    const interrupt = () => end("interrupted");
    const timer = setTimeout(() => end("timeout"), timeoutMs);
    signal?.addEventListener("abort", interrupt, { once: true });
    try {
      const response = await this.send(plan, controller.signal);
      if (!response.ok) throw this.statusError(plan, response, await boundedText(response));
      return await read(response, () => controller.abort());
    } catch (error) {
      throw this.read(error, plan, { ended, timeoutMs });
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener("abort", interrupt);
    }
  }

  private async send({ method, path, body }: PlainCallPlan, signal: AbortSignal): Promise<Response> {
    const headers: Record<string, string> = { "x-plain-key": this.options.key };
    if (body !== undefined) headers["content-type"] = "application/json";
    // With a window or redirects `fetch` copies the body that it sends, in case it must be sent again.
    const how = { method, headers, signal, redirect: "error", window: null } as const;
    const response = await fetch(`${this.options.url}${path}`, body === undefined ? how : { ...how, body });
    const date = Date.parse(response.headers.get("date") ?? "");
    if (!Number.isNaN(date)) this.seconds = Math.floor(date / 1_000);
    return response;
  }

  private read(error: unknown, plan: PlainCallPlan, { ended, timeoutMs }: Trouble): RowmillError {
    if (error instanceof RowmillError) return error;
    const { what } = plan;
    const kind = unsure(plan);
    if (ended === "interrupted") return new ProviderError(kind, `the call to plain "${what}" was interrupted`);
    if (ended === "timeout")
      return new ProviderError(
        kind,
        `the call to plain "${what}" was given up after ${timeoutMs} ms without a full reply`,
      );
    if (error instanceof UnreadableReply)
      return new ProviderError(kind, `plain's reply to "${what}" cannot be read: ${error.message}`);
    const causes = causesOf(error);
    if (causes.some(({ name }) => name === "NotReadableError"))
      return new RowmillError("spool_failed", "the file to send changed or went away while it was read");
    if (causes.some(({ message }) => message === "unexpected redirect"))
      // Which redirect, `fetch` does not say, and a 303 may come after the effect.
      return new ProviderError(kind, `plain did not ${what}: its address redirects`, { status: 302 });
    const code = causes.map((cause) => (cause as NodeJS.ErrnoException).code).find((found) => found !== undefined);
    const isUnsent = code !== undefined && NEVER_SENT.has(code);
    return new ProviderError(
      isUnsent ? "retryable" : kind,
      `could not ${what}: no reply from ${this.options.url} (${code ?? "the connection broke"})`,
    );
  }

  private statusError(plan: PlainCallPlan, response: Response, text: string): ProviderError {
    const { status, headers } = response;
    const said = wordsOf(text);
    const words = this.redact(said.message);
    const code = said.kind === null ? null : this.redact(said.kind);
    return new ProviderError(
      statusKind(status, said.kind, plan),
      `plain did not ${plan.what} (HTTP ${status}${code === null ? "" : `, ${code}`}): ${words}`,
      { status, providerCode: code, retryAfterMs: retryAfterMs(headers), refusal: refusalOf(status, said) },
    );
  }
}

/** A reply that was received but does not say what it must. */
export class UnreadableReply extends Error {
  override readonly name = "UnreadableReply";
}

function unsure(plan: PlainCallPlan): ProviderErrorKind {
  return plan.unrepeatable === true ? "ambiguous" : "retryable";
}

function isRedirect(status: number | null): boolean {
  return status !== null && status >= 300 && status < 400;
}

function statusKind(status: number, code: string | null, plan: PlainCallPlan): ProviderErrorKind {
  if (status === 429) return code === "queue_full" ? "capacity" : "retryable";
  if (status === 401 || status === 402 || status === 403) return "account";
  if (status === 404 || status === 410) return "notFound";
  if (status === 405 || status === 501) return "unsupported";
  if (status === 408 || status >= 500 || isRedirect(status)) return unsure(plan);
  return status === 425 ? "retryable" : "refused";
}

interface Words {
  readonly kind: string | null;
  readonly message: string;
  readonly limit: number | null;
  /** From 0: the request that it is about. */
  readonly index: number | null;
}

function wordsOf(text: string): Words {
  let json: unknown = null;
  try {
    json = isOverfull(text) ? null : JSON.parse(text);
  } catch {
    json = null;
  }
  const error = recordOf(recordOf(json)?.["error"]);
  const { kind, message, limit, index } = error ?? {};
  return {
    kind: typeof kind === "string" ? kind : null,
    message: typeof message === "string" ? message : text,
    limit: typeof limit === "number" ? limit : null,
    index: typeof index === "number" ? index : null,
  };
}

function refusalOf(status: number, { kind, limit, index }: Words): Refusal & { line?: number | null } {
  if (status === 413) return { about: "size", limit };
  if (kind === "bad_request") return { about: "line", limit: null, line: index === null ? null : index + 1 };
  return { about: kind === "bad_model" ? "definition" : "other", limit: null };
}

function retryAfterMs(headers: Headers): number | null {
  const text = headers.get("retry-after")?.trim() ?? "";
  return /^\d+$/.test(text) ? Math.min(Number(text) * 1_000, RETRY_AFTER_MS_MAX) : null;
}

export function recordOf(json: unknown): Readonly<Record<string, unknown>> | null {
  return typeof json === "object" && json !== null && !Array.isArray(json) ? (json as Record<string, unknown>) : null;
}

function parse(text: string): unknown {
  if (isOverfull(text)) throw new UnreadableReply("it holds too many values");
  try {
    return JSON.parse(text);
  } catch {
    throw new UnreadableReply("it is not JSON");
  }
}

async function boundedText(response: Response): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of response.body ?? []) {
    bytes += part.length;
    if (bytes > REPLY_BYTES_MAX) throw new UnreadableReply(`it has more than ${REPLY_BYTES_MAX} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

function causesOf(error: unknown): readonly Error[] {
  const causes: Error[] = [];
  for (let next = error; next instanceof Error && causes.length < CAUSES_MAX; next = next.cause) causes.push(next);
  return causes;
}
