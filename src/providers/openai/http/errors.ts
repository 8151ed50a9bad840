/**
 * Turns whatever goes wrong in a call to OpenAI into a `ProviderError`, whose kind says what may be done next. Pure. No
 * message, cause or field holds the API key: OpenAI's own 401 echoes a part of it, so the SDK's errors are never kept
 * as causes, and their words are redacted.
 */
import { isCertificateCode, TRUST_FIX } from "../../../model/words/certificate-text.js";
import type { APIError } from "openai";
import { commonjs } from "../../../model/commonjs.js";
import { storableText } from "../../../model/words/storable-text.js";
import { RowmillError } from "../../../model/errors.js";
import { cappedMs, isNumber, retryAfterMs as askedMs } from "../../../model/retry-after.js";
import { proxyText, type Proxy } from "../../../model/provider/proxy.js";
import { refusedByProxy } from "./proxy.js";
import type { Refusal } from "../../../model/batch/refusal.js";
import { judgeRefusal, MISSING_FILE, NO_CAPACITY } from "./refusal.js";
import { ProviderError, type ProviderErrorKind } from "../../../model/provider/provider.js";

/** A provider has asked us to wait for hours. */
export const RETRY_AFTER_MS_MAX = 5 * 60_000;
const MESSAGE_CHARACTERS_MAX = 1_000;
const CAUSES_MAX = 5;

/** A reply that lacks what it must say. */
export class UnreadableReply extends Error {
  override readonly name = "UnreadableReply";
}

export interface FailedCall {
  /** For the message: `create the batch`. */
  readonly what: string;
  /** A create: if it was received, it may have taken effect. */
  readonly unrepeatable: boolean;
  /** Why we ended the call ourselves, if we did. */
  readonly ended: "timeout" | "interrupted" | null;
  readonly timeoutMs: number;
}

/** Node's codes for calls that were never sent. */
const NEVER_SENT = new Set(["ECONNREFUSED", "ENOTFOUND", "EAI_AGAIN"]);
const ACCOUNT_CODES = /^(?:insufficient_quota|invalid_api_key|account_deactivated|billing_)/;

export interface ErrorReader {
  /** Never throws; a `ProviderError` is returned as it is. */
  read(error: unknown, call: FailedCall): RowmillError;
}

interface ReaderOptions {
  readonly apiKey: string;
  readonly baseUrl: string;
  /** That the calls go through. */
  readonly proxy: Proxy | null;
}

export function errorReader(connection: ReaderOptions): ErrorReader {
  const redact = redactor(connection.apiKey);
  return {
    read(error, call) {
      if (error instanceof RowmillError) return error;
      const { APIError, APIUserAbortError } = commonjs("openai") as typeof import("openai");
      if (call.ended !== null || error instanceof APIUserAbortError) return endedError(call, connection.proxy);
      if (error instanceof APIError && typeof error.status === "number")
        return statusError(error, call, { redact, proxy: connection.proxy });
      if (error instanceof UnreadableReply || error instanceof SyntaxError) {
        return new ProviderError(
          unsure(call),
          `could not ${call.what}: OpenAI's reply is unreadable: ${redact(error.message)}`,
        );
      }
      return connectionError(error, call, connection);
    },
  };
}

/** Takes the key, masked keys, and what looks like a key out of a text, and bounds its length. */
export function redactor(apiKey: string): (text: string) => string {
  return (text) => {
    const withoutKey = apiKey === "" ? text : text.replaceAll(apiKey, "[key]");
    const clean = withoutKey
      .replaceAll(/(?:Bearer\s+)?\bsk-[\w*-]+/gi, "[key]")
      .replaceAll(/(api[ _-]?key(?:\s+provided)?\s*[:=]\s*)\S+?(?=[.,;]?(?:\s|$))/gi, "$1[key]")
      .replaceAll(/[\w-]*\*{3,}[\w*-]*/g, "[key]");
    // Cut first: the cut may go through a pair.
    return storableText(clean.slice(0, MESSAGE_CHARACTERS_MAX));
  };
}

/** How long the provider asked us to wait, capped: by `retry-after-ms` or `retry-after`. Null: it did not ask. */
export function retryAfterMs(headers: Headers | undefined): number | null {
  const milliseconds = headers?.get("retry-after-ms");
  if (milliseconds != null && isNumber(milliseconds)) return cappedMs(Number(milliseconds), RETRY_AFTER_MS_MAX);
  return askedMs({ retryAfter: headers?.get("retry-after"), date: headers?.get("date") }, RETRY_AFTER_MS_MAX);
}

function unsure(call: FailedCall): ProviderErrorKind {
  return call.unrepeatable ? "ambiguous" : "retryable";
}

function endedError(call: FailedCall, proxy: Proxy | null): ProviderError {
  const why =
    call.ended === "timeout"
      ? `no full reply from OpenAI${proxyText(proxy)} within ${call.timeoutMs} ms`
      : "interrupted";
  return new ProviderError(unsure(call), `could not ${call.what}: ${why}`);
}

function statusError(
  error: APIError,
  call: FailedCall,
  { redact, proxy }: { redact: (text: string) => string; proxy: Proxy | null },
): ProviderError {
  const status = error.status as number;
  const code = typeof error.code === "string" ? error.code : "";
  const providerCode = code === "" ? null : redact(code);
  const words = redact(error.message.replace(/^\d{3} /, ""));
  const refusal = judgeRefusal({ code: providerCode, line: null, message: words, status });
  const kind = statusKind({ status, code, words, refusal }, call);
  const label = providerCode === null ? `HTTP ${status}` : `HTTP ${status} (${providerCode})`;
  const request = error.requestID == null ? "" : ` (request ${redact(error.requestID)})`;
  return new ProviderError(
    kind,
    `could not ${call.what}: OpenAI answered ${label}: ` +
      `${words}${request}${advice(kind, status)}${hearsay(status, proxy)}`,
    { status, providerCode, retryAfterMs: retryAfterMs(error.headers), refusal },
  );
}

interface Said {
  readonly status: number;
  readonly code: string;
  readonly words: string;
  readonly refusal: Refusal;
}

function statusKind({ status, code, words, refusal }: Said, call: FailedCall): ProviderErrorKind {
  if (status === 401 || status === 403 || ACCOUNT_CODES.test(code)) return "account";
  if (status === 404) return "notFound";
  if (status === 405 || status === 501) return "unsupported";
  // A full account does not pass by itself, as other errors of a server do.
  if (status === 507) return "account";
  // 303 may come after the effect.
  if (status === 303 || status === 408 || status >= 500) return unsure(call);
  // A redirect is never followed, but may end: the caller retries with growing pauses.
  if (status === 429 && call.unrepeatable && NO_CAPACITY.test(words)) return "capacity";
  if (status === 429 || status === 425 || isRedirect(status)) return "retryable";
  if (refusal.about === "account") return "account";
  // The thing named is not there, or not yet.
  return MISSING_FILE.test(words) ? "notFound" : "refused";
}

function advice(kind: ProviderErrorKind, status: number): string {
  if (kind === "account" && status !== 401 && status !== 403 && status !== 429)
    return "; check the account's quota, file storage and billing";
  if (kind === "account") return "; check OPENAI_API_KEY, OPENAI_ORG_ID, OPENAI_PROJECT_ID and the account's billing";
  return isRedirect(status) ? "; OPENAI_BASE_URL redirects: set it to the address that it redirects to" : "";
}

/** A proxy for plain http, or one that opens TLS, answers as a server does. */
function hearsay(status: number, proxy: Proxy | null): string {
  const mayBeTheProxy = isRedirect(status) || status === 403 || status === 407 || status >= 500;
  return proxy !== null && mayBeTheProxy ? `; the reply came${proxyText(proxy)}, and may be the proxy's own` : "";
}

export function isRedirect(status: number | null): boolean {
  return status !== null && status >= 300 && status < 400;
}

function connectionError(
  error: unknown,
  call: FailedCall,
  { baseUrl, proxy }: Omit<ReaderOptions, "apiKey">,
): RowmillError {
  const causes = causesOf(error);
  if (causes.some((cause) => cause.name === "NotReadableError")) {
    return new RowmillError("spool_failed", "the file to upload was changed or deleted during the upload", {
      cause: causes.at(-1),
    });
  }
  if (causes.some((cause) => cause.message === "unexpected redirect")) {
    // `fetch` does not say which redirect it was.
    const status = 302;
    return new ProviderError("retryable", `could not ${call.what}${advice("retryable", status)}`, { status });
  }
  const refusal = refusedByProxy(causes);
  if (proxy !== null && refusal !== null) return proxyError(refusal, call, { baseUrl, proxy });
  const code = causes.map(codeOf).find((found) => found !== null) ?? null;
  const certificate = code !== null && isCertificateCode(code);
  const neverSent = certificate || (code !== null && NEVER_SENT.has(code));
  const { APIConnectionTimeoutError } = commonjs("openai") as typeof import("openai");
  const slow = error instanceof APIConnectionTimeoutError ? "connecting took too long" : "the connection broke";
  const trust = certificate ? `; ${TRUST_FIX}` : "";
  const reason = code ?? slow;
  const fix = proxy === null ? "" : `; ${proxyAdvice(proxy, baseUrl)}`;
  return new ProviderError(
    neverSent ? "retryable" : unsure(call),
    `could not ${call.what}: no reply from ${baseUrl}${proxyText(proxy)} (${reason})${trust}${fix}`,
    { cause: causes.at(-1) },
  );
}

/** Nothing was passed on. Waiting may help: proxies are restarted and reconfigured while the worker runs. */
function proxyError(
  status: number,
  call: FailedCall,
  { baseUrl, proxy }: { baseUrl: string; proxy: Proxy },
): ProviderError {
  const fix =
    status === 407
      ? `write user and password into ${proxy.from} as http://user:password@host:port`
      : proxyAdvice(proxy, baseUrl);
  return new ProviderError(
    "retryable",
    `could not ${call.what}: the proxy ${proxy.place} (${proxy.from}) refused to connect to ${baseUrl} (HTTP ` +
      `${status}); ${fix}`,
  );
}

function proxyAdvice({ from }: Proxy, baseUrl: string): string {
  return `check ${from}, or set NO_PROXY=${new URL(baseUrl).hostname} to bypass the proxy`;
}

/** The error and what caused it, outermost first, without the SDK's own, which may quote the key. */
function causesOf(error: unknown): readonly Error[] {
  const { APIError } = commonjs("openai") as typeof import("openai");
  const causes: Error[] = [];
  for (let next = error; next instanceof Error && causes.length < CAUSES_MAX; next = next.cause) {
    if (!(next instanceof APIError)) causes.push(next);
  }
  return causes;
}

function codeOf(error: Error): string | null {
  return "code" in error && typeof error.code === "string" ? error.code : null;
}
