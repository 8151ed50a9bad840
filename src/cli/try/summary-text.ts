/** What a try comes to, and what to do next. Pure. */
import { formatUsd, type Price } from "../../model/provider/pricing.js";
import type { AllRows } from "../../app/try/all-rows.js";
import type { Stop, Tried } from "../../app/try/run-try.js";
import type { Overridden, TryAnswer } from "../../store/tries/tries.js";
import { counted, formatCount } from "../screen/text.js";

export interface Summed {
  readonly ok: number;
  readonly failed: number;
  /** With what is counted for calls whose ending is unknown; null: the price is unknown. */
  readonly costNanoUsd: number | null;
}

export function summed(answers: readonly TryAnswer[], price: Price | null): Summed {
  const ok = answers.filter(({ outcome }) => outcome === "answered").length;
  const cost = answers.reduce((sum, one) => sum + (one.costNanoUsd ?? 0) + one.reservedNanoUsd, 0);
  return { ok, failed: answers.length - ok, costNanoUsd: price === null ? null : cost };
}

export interface Ended {
  readonly pipeline: string;
  readonly model: string;
  readonly price: Price | null;
  readonly overridden: Overridden;
  readonly tried: Tried;
  readonly all: AllRows | null;
  /** What the workers ask: this definition, another one; null: the pipeline is not set up. */
  readonly registered: "same" | "other" | null;
}

export function summaryLines(ended: Ended): string[] {
  const { tried, all } = ended;
  const { ok, failed, costNanoUsd } = summed(tried.answers, ended.price);
  const cost = costNanoUsd === null ? "unknown price" : formatUsd(costNanoUsd);
  const rows = `${counted(ok, "row")} ok, ${formatCount(failed)} failed`;
  return [
    `${failed + tried.notAsked === 0 ? "✓" : "!"} Try ${tried.no}: ${rows}, ${cost} with ${ended.model}`,
    ...(tried.notAsked === 0 || isUnanswered(tried) ? [] : [`! ${notAskedText(tried)}`]),
    ...(all === null ? [] : [`  ${allRowsText(all)}`]),
    ...nextLines(ended).map((line) => `  ${line}`),
  ];
}

/** The provider gave no answer at all: its error is shown instead. */
export function isUnanswered({ answers, stop }: Tried): boolean {
  return stop?.kind === "provider" && answers.every(({ outcome }) => outcome === "failed" || outcome === "unknown");
}

export function notAskedText({ notAsked, stop }: Pick<Tried, "notAsked" | "stop">): string {
  const were = `${counted(notAsked, "row")} ${notAsked === 1 ? "was" : "were"} not asked`;
  return stop === null ? `${were}: you stopped it` : `${were}: ${stopText(stop)}`;
}

function stopText(stop: Stop): string {
  if (stop.kind === "provider") return stop.error.message;
  if (stop.kind === "outcome") return stop.message;
  const { needNanoUsd, leftNanoUsd } = stop;
  return `the budget has ${formatUsd(leftNanoUsd)} left, and the next row may cost ${formatUsd(needNanoUsd)}`;
}

function allRowsText({ rows, answersCounted, likelyNanoUsd, likelyNanoUsdEach }: AllRows): string {
  const from = `from ${answersCounted === 1 ? "this answer" : `these ${answersCounted} answers`}`;
  if (rows === null || likelyNanoUsd === null)
    return `Every 1,000 rows by batch: estimated ${formatUsd(likelyNanoUsdEach * 1_000)} (${from})`;
  return `All ${counted(rows, "row")} by batch: estimated ${formatUsd(likelyNanoUsd)} (${from})`;
}

const KEYS_NAMED_MAX = 3;

/** Where their keys need no quotes. */
function sameRows(pipeline: string, keys: readonly string[]): string {
  const isPlain = keys.length <= KEYS_NAMED_MAX && keys.every((key) => /^\w[\w.,:-]{0,39}$/.test(key));
  return `rowmill try ${pipeline}${isPlain ? keys.map((key) => ` --key ${key}`).join("") : ""}`;
}

function nextLines({ pipeline, model, overridden, tried, registered }: Ended): string[] {
  if (isUnanswered(tried)) return [];
  const failed = tried.answers.filter(({ outcome }) => outcome !== "answered").map(({ key }) => key);
  if (failed.length > 0) return [`Change what is wrong, then try again: ${sameRows(pipeline, failed)}`];
  const changes = [
    ...(overridden.model === true ? [`request.model to "${model}"`] : []),
    ...(overridden.prompt === undefined ? [] : [`request.user to the text of ${overridden.prompt}`]),
  ];
  if (changes.length > 0)
    return [`To use it, set pipelines.${pipeline}.${changes.join(" and ")}. Then, for all rows: rowmill up`];
  if (registered === "same")
    return [`To use these answers without paying again, where their rows wait: rowmill try ${pipeline} --accept`];
  return ["For all rows: rowmill up"];
}
