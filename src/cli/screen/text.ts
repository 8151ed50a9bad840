/** Small pieces of text that several commands show. Pure. */
import { counted, formatCount } from "../../model/words/counted.js";
import { proseLine } from "../../model/words/one-line.js";
import { pauseText } from "../../model/words/pause-text.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import { budgetWords, formatUsd } from "../../model/provider/pricing.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import type { Estimate } from "../../worker/rounds/estimate.js";

export { counted, formatCount };

const NANO_USD_PER_USD = 1e9;
const KEY_CHARACTERS = 64;

/** One line of at most `columns` characters, cut at its end. */
export function fit(text: string, columns: number): string {
  const line = proseLine(text);
  return line.length <= columns ? line : `${line.slice(0, Math.max(0, columns - 1))}…`;
}

export function fitKey(key: string): string {
  return key === "" ? '""' : fit(key, KEY_CHARACTERS);
}

/** Lines of a longer text, such as a stack: indented, so that none looks like a line of ours. */
export function indented(text: string): string[] {
  return text.split("\n").map((line) => `  ${line}`);
}

const UNITS = [
  { ms: 86_400_000, name: "d" },
  { ms: 3_600_000, name: "h" },
  { ms: 60_000, name: "min" },
] as const;

/** `45%`; never 100% before the end. */
export function percentOf(done: number, total: number): string {
  return total === 0 ? "0%" : `${Math.floor((100 * done) / total)}%`;
}

/** What is still to wait: `now`, `12 s`, `4 min`, `23 h`. */
export function formatWait(ms: number): string {
  return ms < 500 ? "now" : formatDuration(ms);
}

/** How long something took or has taken, as exact as is useful: `1 s` (at least), `12 s`, `4 min`, `23 h`. */
export function formatDuration(ms: number): string {
  const unit = UNITS.find((candidate) => ms >= 2 * candidate.ms);
  return unit === undefined ? `${Math.max(1, Math.round(ms / 1_000))} s` : `${Math.round(ms / unit.ms)} ${unit.name}`;
}

/** `just now`, `12 s ago`. */
export function formatAgo(ms: number): string {
  return ms < 1_000 ? "just now" : `${formatDuration(ms)} ago`;
}

/** `2026-11-22 15:04:05 UTC` */
export function formatTime(at: Date): string {
  return `${at.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

/** The first digits of a UUID tell batches apart. */
export function shortId(id: string): string {
  return id.slice(0, 8);
}

/** An estimate as a sentence without a full stop. `config` is absent for a pipeline that only the database knows. */
export function describeEstimate(
  estimate: Estimate,
  config: Pick<PipelineConfig, "request" | "budget"> | undefined,
): string {
  const { rows, arrived, inputTokens, outputTokens, likelyNanoUsd } = estimate;
  const tokens = `about ${formatCount(inputTokens)} input and ${formatCount(outputTokens)} output tokens`;
  const price =
    likelyNanoUsd === null
      ? `the price of ${config?.request.model ?? "its model"} is unknown`
      : describeCost(estimate, config?.budget ?? null);
  return `${arrived > 0 ? "up to " : ""}${counted(rows, "row")}, ${tokens}; ${price}`;
}

/** `estimated $0.012 (cap $0.27 with up to 3 tries per row; live requests: $0.024)` */
export function describeCost(
  { likelyNanoUsd, capNanoUsd, liveNanoUsd, tries, answersCounted }: Estimate,
  budget: PipelineConfig["budget"],
): string {
  const likely = likelyNanoUsd ?? 0;
  const cap = capNanoUsd ?? 0;
  const perRow = tries > 1 ? ` with up to ${tries} tries per row` : "";
  const guessed = answersCounted === 0 ? "; the size of the answers is a guess" : "";
  const inside = `cap ${formatUsd(cap)}${perRow}; live requests: ${formatUsd(liveNanoUsd ?? 0)}${guessed}`;
  return `estimated ${formatUsd(likely)} (${inside})${budgetText({ likely, cap }, budget)}`;
}

function budgetText({ likely, cap }: { likely: number; cap: number }, budget: PipelineConfig["budget"]): string {
  if (budget === null || cap <= budget.usd * NANO_USD_PER_USD) return "";
  const allowed = `your budget of ${budgetWords(budget)}`;
  return likely > budget.usd * NANO_USD_PER_USD ? `; ${allowed} stops it there` : `; never above ${allowed}`;
}

/** A recorded estimate; null: none, or one of a newer version. */
export function readEstimate(recorded: unknown): Estimate | null {
  if (typeof recorded !== "object" || recorded === null) return null;
  const fields: Partial<Record<keyof Estimate, unknown>> = recorded;
  const { rows, arrived, tries, answersCounted, inputTokens, outputTokens } = fields;
  const money = (nanoUsd: unknown) => (typeof nanoUsd === "number" ? nanoUsd : null);
  if (typeof rows !== "number" || typeof inputTokens !== "number" || typeof outputTokens !== "number") return null;
  return {
    rows,
    arrived: typeof arrived === "number" ? arrived : 0,
    tries: typeof tries === "number" ? tries : 1,
    inputTokens,
    outputTokens,
    answersCounted: typeof answersCounted === "number" ? answersCounted : 0,
    likelyNanoUsd: money(fields.likelyNanoUsd),
    capNanoUsd: money(fields.capNanoUsd),
    liveNanoUsd: money(fields.liveNanoUsd),
  };
}

type PauseFacts = Pick<
  PipelineOverview,
  "name" | "waiting" | "pauseKind" | "pauseReason" | "definitionHash" | "approvedHash" | "estimate" | "uninstalledAt"
>;

type PauseConfig = Pick<PipelineConfig, "approveAboveUsd" | "budget" | "request">;

/** Why a pipeline sends nothing; null: it sends. `config` is absent for a pipeline that only the database knows. */
export function pausedText(pipeline: PauseFacts, config: PauseConfig | undefined): string | null {
  if (pipeline.uninstalledAt !== null) return "uninstalled. To install its triggers again: rowmill up";
  if (pipeline.pauseReason !== null) return pauseText(pipeline);
  if (!waitsForApproval(pipeline, config)) return null;
  const estimate = readEstimate(pipeline.estimate);
  const what = estimate === null ? "" : `: ${describeEstimate(estimate, config)}`;
  return `waits for approval${what}. Approve it: rowmill approve ${pipeline.name}`;
}

/** A worker approves rows below `approveAboveUsd` when their batch is due; nothing waits before an estimate. */
function waitsForApproval(pipeline: PauseFacts, config: PauseConfig | undefined): boolean {
  if (pipeline.waiting === 0 || pipeline.approvedHash === pipeline.definitionHash) return false;
  const estimate = readEstimate(pipeline.estimate);
  if (estimate === null) return false;
  if (config === undefined || estimate.likelyNanoUsd === null) return true;
  // Arrived rows may turn out to need no request.
  const share = (estimate.rows - estimate.arrived) / estimate.rows;
  return estimate.likelyNanoUsd * share > config.approveAboveUsd * NANO_USD_PER_USD;
}
