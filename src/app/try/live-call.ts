/**
 * One live call to the model, repeated only where the provider certainly executed nothing; and what its end means for
 * its row.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { RowCells } from "../../model/pipeline.js";
import type { AnswerOutcome, ModelRequest } from "../../model/provider/outcome.js";
import type { Price } from "../../model/provider/pricing.js";
import { ProviderError, type Provider } from "../../model/provider/provider.js";
import type { AnsweredRow, TryOutcome } from "../../store/tries/tries.js";
import type { Asking } from "../../worker/context.js";
import { checkAnswer, textOf } from "../../worker/turn/collect/judge-answer.js";
import { countedUsage, storable } from "../../worker/turn/ending.js";

const DETAIL_CHARACTERS_MAX = 2_000;
/** Calls for one row, of which all but the last met a rate limit. */
const CALLS_MAX = 4;
const WAIT_MS_MIN = 1_000;
/** Someone waits for it: a provider that asks for longer ends the try. */
const WAIT_MS_MAX = 20_000;

/** As a batch would be billed that costs the live price. */
export function liveRates(price: Price | null): { readonly rates: { price: Price | null; batchFactor: number } } {
  return { rates: { price, batchFactor: 1 } };
}

/** Pure as far as `validate` is. */
export function judgeLive(
  asking: Pick<Asking, "config" | "answer" | "rates">,
  end: CallEnd,
  cells: RowCells,
): AnsweredRow {
  const { latencyMs } = end;
  if (end.kind === "error") {
    const isUnknown = mayBeExecuted(end.error);
    return ended({ latencyMs, outcome: isUnknown ? "unknown" : "failed", detail: end.error.message });
  }
  const { outcome } = end;
  if (!("usage" in outcome)) return ended({ latencyMs, outcome: withoutModel(outcome), detail: outcome.message });
  const { input, cached, output, cost } = countedUsage(liveRates(asking.rates.price), outcome.usage);
  return {
    ...ended({ latencyMs, outcome: "answered", detail: null }),
    ...verdict(asking, outcome, cells),
    answer: storable(textOf(outcome)),
    reply: outcome,
    answeredBy: storable(outcome.model),
    inputTokens: input,
    cachedInputTokens: cached,
    outputTokens: output,
    costNanoUsd: cost,
  };
}

type Used = Extract<AnswerOutcome, { usage: unknown }>;

function verdict(
  { config, answer }: Pick<Asking, "config" | "answer">,
  outcome: Used,
  cells: RowCells,
): Pick<AnsweredRow, "outcome" | "detail" | "cells"> {
  if (outcome.kind !== "text") return { outcome: outcome.kind, detail: detailOf(outcome.message), cells: null };
  const checked = checkAnswer({ config }, answer, { said: outcome, cells });
  if ("message" in checked) return { outcome: "invalid", detail: detailOf(checked.message), cells: null };
  return { outcome: "answered", detail: null, cells: checked.cells };
}

/** The provider says that no model ran, or does not say. */
function withoutModel({ kind }: Exclude<AnswerOutcome, Used>): TryOutcome {
  return kind === "rateLimited" || kind === "permanent" ? "failed" : "unknown";
}

function ended({ latencyMs, outcome, detail }: Pick<AnsweredRow, "latencyMs" | "outcome" | "detail">): AnsweredRow {
  return {
    outcome,
    detail: detailOf(detail),
    answer: null,
    reply: null,
    cells: null,
    answeredBy: null,
    inputTokens: 0,
    cachedInputTokens: 0,
    outputTokens: 0,
    costNanoUsd: null,
    latencyMs,
    staysReserved: outcome === "unknown",
  };
}

function detailOf(detail: string | null): string | null {
  return storable(detail?.slice(0, DETAIL_CHARACTERS_MAX));
}

export type CallEnd =
  | { readonly kind: "outcome"; readonly outcome: AnswerOutcome; readonly latencyMs: number }
  | { readonly kind: "error"; readonly error: ProviderError; readonly latencyMs: number };

type Answer = NonNullable<Provider["answer"]>;

/** No call begins after the signal; one that is on its way is waited for, because it is paid for. */
export async function callLive(answer: Answer, request: ModelRequest, signal: AbortSignal): Promise<CallEnd> {
  for (let calls = 1; ; calls++) {
    const end = await callOnce(answer, request);
    const waitMs = calls < CALLS_MAX ? waitBefore(end, calls) : null;
    if (waitMs === null || !(await waited(waitMs, signal))) return end;
  }
}

async function callOnce(answer: Answer, request: ModelRequest): Promise<CallEnd> {
  const startedAtMs = performance.now();
  const latencyMs = () => Math.round(performance.now() - startedAtMs);
  try {
    const outcome = await answer(request);
    return { kind: "outcome", outcome, latencyMs: latencyMs() };
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return { kind: "error", error, latencyMs: latencyMs() };
  }
}

/** Null: it is no rate limit, or the wait would be too long. */
function waitBefore(end: CallEnd, calls: number): number | null {
  const backoffMs = WAIT_MS_MIN * 2 ** (calls - 1) * (0.75 + Math.random() * 0.5);
  if (end.kind === "outcome") return end.outcome.kind === "rateLimited" ? backoffMs : null;
  const { kind, status, retryAfterMs } = end.error;
  if (kind !== "retryable" || (status !== 429 && status !== 425)) return null;
  const waitMs = retryAfterMs ?? backoffMs;
  return waitMs <= WAIT_MS_MAX ? waitMs : null;
}

/** False: interrupted. */
function waited(ms: number, signal: AbortSignal): Promise<boolean> {
  return sleep(ms, true, { signal }).catch(() => false);
}

/** Whether the model may have run, so that the call may have to be paid for. */
function mayBeExecuted({ kind }: ProviderError): boolean {
  return kind === "ambiguous";
}
