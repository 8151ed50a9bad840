/** What the end of a live call means for its row. Pure as far as `validate` is. */
import type { AnswerOutcome } from "../../model/provider/outcome.js";
import type { Price } from "../../model/provider/pricing.js";
import type { RowCells } from "../../model/pipeline.js";
import type { AnsweredRow, TryOutcome } from "../../store/tries/tries.js";
import type { Asking } from "../../worker/context.js";
import { checkAnswer, textOf } from "../../worker/turn/collect/judge-answer.js";
import { countedUsage, storable } from "../../worker/turn/ending.js";
import { mayBeExecuted, type CallEnd } from "./live-call.js";

const DETAIL_CHARACTERS_MAX = 2_000;

/** As a batch would be billed that costs the live price. */
export function liveRates(price: Price | null): { readonly rates: { price: Price | null; batchFactor: number } } {
  return { rates: { price, batchFactor: 1 } };
}

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
