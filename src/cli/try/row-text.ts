/** One row of a try on the screen: its input, its answer, what is wrong with it, and what differs from before. Pure. */
import { differing, type Before } from "../../app/try/comparing.js";
import type { RowCells, Json } from "../../model/pipeline.js";
import { formatUsd } from "../../model/provider/pricing.js";
import { proseLine } from "../../model/words/one-line.js";
import type { TryAnswer } from "../../store/tries/tries.js";
import { wrap } from "../screen/lay-out.js";
import { fitKey, formatCount, fit } from "../screen/text.js";

/** Lines of one value. */
const INPUT_LINES = 2;
const ANSWER_LINES = 4;
const INDENT = "    ";
const LABEL_WIDTH = 8;
const NAME_WIDTH_MAX = 16;
const GAP = "  ";
/** Where no terminal says its width. */
const COLUMNS_ELSEWHERE = 100;
const COLUMNS_MIN = 40;

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

/** The width for values; a file has no width of its own. */
export function shownColumns(columns: number): number {
  return Number.isFinite(columns) ? Math.max(COLUMNS_MIN, columns) : COLUMNS_ELSEWHERE;
}

export interface Named {
  readonly name: string;
  readonly value: string;
}

/** The label stands in front of the first line only. `linesMax`: of one value. */
export function cellLines(
  label: string,
  cells: readonly Named[],
  { columns, linesMax }: { readonly columns: number; readonly linesMax: number },
): string[] {
  const names = cells.map(({ name }) => fit(name, NAME_WIDTH_MAX));
  const width = Math.max(0, ...names.map((name) => name.length));
  const margin = INDENT.length + LABEL_WIDTH + GAP.length + (width === 0 ? 0 : width + GAP.length);
  return cells.flatMap(({ value }, index) =>
    valueLines(value, { columns: columns - margin, linesMax }).map((line, at) => {
      const head = index === 0 && at === 0 ? label : "";
      const name = at === 0 ? (names[index] ?? "") : "";
      const named = width === 0 ? "" : `${name.padEnd(width)}${GAP}`;
      return `${INDENT}${head.padEnd(LABEL_WIDTH)}${GAP}${named}${line}`.trimEnd();
    }),
  );
}

function valueLines(
  value: string,
  { columns, linesMax }: { readonly columns: number; readonly linesMax: number },
): string[] {
  // More would not be shown.
  const start = value.slice(0, columns * (linesMax + 1));
  const lines = wrap(proseLine(start), columns, "");
  const shown = lines.slice(0, linesMax).map((line) => fit(line, columns));
  const isCut = lines.length > linesMax || start.length < value.length;
  const last = shown.pop() ?? "";
  return [...shown, isCut && !last.endsWith("…") ? fit(`${last} …`, columns) : last];
}

/** JSON, so that a text differs from a number. */
function jsonCells(cells: Readonly<Record<string, Json>>): Named[] {
  return Object.entries(cells).map(([name, value]) => ({ name, value: shownValue(value) }));
}

/** On one line, with spaces at which it can be broken. */
export function shownValue(value: Json): string {
  // Line breaks in texts are escaped by then.
  return JSON.stringify(value, undefined, 1)
    .replaceAll(/([[{])\n */g, "$1")
    .replaceAll(/\n *([\]}])/g, "$1")
    .replaceAll(/\n */g, " ");
}
