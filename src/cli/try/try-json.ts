/** The shapes of `try --json`. Pure. */
import type { AllRows } from "../../app/try/all-rows.js";
import { differing } from "../../app/try/comparing.js";
import type { ListedTry, TryAnswer } from "../../store/tries/tries.js";
import type { ShownRow } from "./row-text.js";
import { notAskedText, summed, type Ended } from "./summary-text.js";

export function usd(nanoUsd: number | null): number | null {
  return nanoUsd === null ? null : nanoUsd / 1e9;
}

export function answerJson(answer: TryAnswer) {
  return {
    key: answer.key,
    outcome: answer.outcome,
    detail: answer.detail,
    answer: answer.cells,
    text: answer.cells === null ? answer.answer : null,
    inputTokens: answer.inputTokens,
    cachedInputTokens: answer.cachedInputTokens,
    outputTokens: answer.outputTokens,
    costUsd: usd(answer.costNanoUsd),
    reservedUsd: usd(answer.reservedNanoUsd),
    latencyMs: answer.latencyMs,
    acceptedAt: answer.acceptedAt,
  };
}

export function triedJson(ended: Ended, rows: readonly ShownRow[]): object {
  const { tried } = ended;
  const { ok, failed, costNanoUsd } = summed(tried.answers, ended.price);
  return {
    try: tried.no,
    pipeline: ended.pipeline,
    model: ended.model,
    overridden: ended.overridden,
    rows: rows.map((row) => ({
      ...answerJson(row.answer),
      input: row.cells,
      before: row.before && { from: row.before.from, changes: differing(row.before.cells, row.answer.cells ?? {}) },
    })),
    ok,
    failed,
    notAsked: tried.notAsked,
    notAskedReason: tried.notAsked === 0 ? null : notAskedText(tried),
    costUsd: usd(costNanoUsd),
    allRows: ended.all && allRowsJson(ended.all),
  };
}

function allRowsJson({ rows, answersCounted, likelyNanoUsd }: AllRows): object {
  return { rows, answersCounted, likelyUsd: usd(likelyNanoUsd) };
}

/** `differs`: what differs from the config of now, in words; null: the config no longer has the pipeline. */
export function listedJson(listed: ListedTry, differs: readonly string[] | null): object {
  return {
    try: listed.no,
    pipeline: listed.pipeline,
    askedAt: listed.askedAt,
    model: listed.model,
    differs,
    definitionHash: listed.definitionHash,
    rows: listed.rows,
    asked: listed.asked,
    ok: listed.answered,
    accepted: listed.accepted,
    costUsd: usd(listed.costNanoUsd),
  };
}
