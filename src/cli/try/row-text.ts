/** One row of a try on the screen: its input, its answer, what is wrong with it, and what differs from before. Pure. */
import type { RowCells } from "../../model/pipeline.js";
import { formatUsd } from "../../model/provider/pricing.js";
import { proseLine } from "../../model/words/one-line.js";
import { differing } from "../../app/try/differing.js";
import type { Before } from "../../app/try/compare-with.js";
import type { TryAnswer } from "../../store/tries/tries.js";
import { fitKey, formatCount } from "../screen/text.js";
import { cellLines, jsonCells, shownValue, type Named } from "./cell-lines.js";

/** Lines of one value. */
const INPUT_LINES = 2;
const ANSWER_LINES = 4;

export interface ShownRow {
  readonly answer: TryAnswer;
  /** Null: too large to be read. */
  readonly cells: RowCells | null;
  /** Null: there is none, or nothing to compare. */
  readonly before: Before | null;
}

/** `✓ 42: answered, 412 + 31 tokens, $0.000081, 0.8 s` */
export function rowTitle({ answer }: Pick<ShownRow, "answer">): string {
  const { key, outcome } = answer;
  const sign = outcome === "answered" ? "✓" : "✗";
  return proseLine(`${sign} ${fitKey(key)}: ${[outcomeText(answer), ...usageParts(answer)].join(", ")}`);
}

export function outcomeText({ outcome }: Pick<TryAnswer, "outcome">): string {
  return outcome ?? "unknown";
}

/** Tokens, cost, latency, as far as they are known. */
export function usageParts(answer: TryAnswer): string[] {
  const { inputTokens, outputTokens, costNanoUsd, reservedNanoUsd, latencyMs } = answer;
  const used = inputTokens + outputTokens > 0;
  return [
    ...(used ? [`${formatCount(inputTokens)} + ${formatCount(outputTokens)} tokens`] : []),
    ...(costNanoUsd !== null ? [formatUsd(costNanoUsd)] : used ? ["unknown price"] : []),
    ...(reservedNanoUsd > 0 ? [`counted at ${formatUsd(reservedNanoUsd)}`] : []),
    ...(latencyMs === null ? [] : [latencyText(latencyMs)]),
  ];
}

export function latencyText(ms: number): string {
  return ms < 1_000 ? `${ms} ms` : `${(ms / 1_000).toFixed(1)} s`;
}

/** Below the title. */
export function rowLines(row: ShownRow, columns: number): string[] {
  const { answer, cells } = row;
  const input = Object.entries(cells ?? {}).map(([name, value]) => ({ name, value: value ?? "null" }));
  return [
    ...cellLines("input", input, { columns, linesMax: INPUT_LINES }),
    ...problemLines(answer, columns),
    ...answerLines(answer, columns),
    ...beforeLines(row, columns),
  ];
}

function problemLines({ outcome, detail }: TryAnswer, columns: number): string[] {
  const without = outcome === null ? "Its outcome is unknown, so it counts at its highest possible cost." : null;
  const problem = detail ?? without;
  return problem === null
    ? []
    : cellLines("problem", [{ name: "", value: problem }], { columns, linesMax: ANSWER_LINES });
}

function answerLines({ cells, answer }: TryAnswer, columns: number): string[] {
  const shown = cells !== null ? jsonCells(cells) : answer === null ? [] : [{ name: "", value: answer }];
  return cellLines("answer", shown, { columns, linesMax: ANSWER_LINES });
}

/** The earlier values of the fields that differ. */
function beforeLines({ answer, before }: ShownRow, columns: number): string[] {
  if (before === null || answer.cells === null) return [];
  const label = before.from === "target" ? "target" : `try ${before.from}`;
  const different: Named[] = differing(before.cells, answer.cells).map((one) => ({
    name: one.field,
    value: shownValue(one.before),
  }));
  const shown = different.length === 0 ? [{ name: "", value: "the same answer" }] : different;
  return cellLines(label, shown, { columns, linesMax: ANSWER_LINES });
}
