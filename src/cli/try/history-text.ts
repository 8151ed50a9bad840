/** The tables of `try --list` and `try --compare`. Pure. */
import type { ComparedRow, ComparedTries, Totals } from "../../app/try/compare-tries.js";
import type { Difference } from "../../app/try/differing.js";
import { formatUsd } from "../../model/provider/pricing.js";
import { proseLine } from "../../model/words/one-line.js";
import type { ListedTry, Try, TryAnswer } from "../../store/tries/tries.js";
import { renderTable } from "../screen/lay-out.js";
import { counted, fit, fitKey, formatCount } from "../screen/text.js";
import { cellLines, shownValue, type Named } from "./cell-lines.js";
import { latencyText, outcomeText, usageParts } from "./row-text.js";

const WORDS_MAX = 40;
const VALUE_LINES = 3;
/** Of an instant in ISO format, down to the minute. */
const MINUTES = 16;

/** With what differs from the config of now; null: the config no longer has its pipeline. */
export interface Listed {
  readonly listed: ListedTry;
  readonly differs: readonly string[] | null;
}

export function listLines(tries: readonly Listed[], columns: number): string[] {
  const isOfMany = new Set(tries.map(({ listed }) => listed.pipeline)).size > 1;
  const isAccepted = tries.some(({ listed }) => listed.accepted > 0);
  const header = [
    { title: "try", align: "right" },
    ...(isOfMany ? [{ title: "pipeline", align: "left" } as const] : []),
    { title: "when (UTC)", align: "left" },
    { title: "model", align: "left" },
    { title: "differs in", align: "left" },
    { title: "rows", align: "right" },
    { title: "ok", align: "right" },
    ...(isAccepted ? [{ title: "accepted", align: "right" } as const] : []),
    { title: "cost", align: "right" },
  ] as const;
  const rows = tries.map(({ listed, differs }) => [
    String(listed.no),
    ...(isOfMany ? [listed.pipeline] : []),
    listed.askedAt.toISOString().slice(0, MINUTES).replace("T", " "),
    fit(listed.model, WORDS_MAX),
    fit(differsText(differs), WORDS_MAX),
    formatCount(listed.rows),
    formatCount(listed.answered),
    ...(isAccepted ? [listed.accepted === 0 ? "" : formatCount(listed.accepted)] : []),
    listed.costNanoUsd === null ? "unknown" : formatUsd(listed.costNanoUsd),
  ]);
  return renderTable(header, rows, columns);
}

function differsText(differs: readonly string[] | null): string {
  if (differs === null) return "not in config";
  return differs.length === 0 ? "nothing" : differs.join(", ");
}

/** Its number, model, and the file that was its prompt. */
function tryTitle({ no, model, overridden }: Try): string {
  const file = overridden.prompt === undefined ? "" : `, ${overridden.prompt}`;
  return proseLine(`try ${no} (${model}${file})`);
}

export function rowTitleOf({ key, differences }: ComparedRow): string {
  const how =
    differences === null
      ? "one of them has no usable answer"
      : differences.length === 0
        ? "the same answer"
        : `${counted(differences.length, "field")} ${differences.length === 1 ? "differs" : "differ"}`;
  return proseLine(`${fitKey(key)}: ${how}`);
}

/** Below the title. */
export function rowLinesOf({ a, b, differences }: ComparedRow, columns: number): string[] {
  const shown = { columns, linesMax: VALUE_LINES };
  return [a, b].flatMap((answer) => {
    const value = (one: Difference) => (answer === a ? one.before : one.after);
    const fields: Named[] = (differences ?? []).map((one) => ({ name: one.field, value: shownValue(value(one)) }));
    return [
      ...cellLines(`try ${answer.try}`, [{ name: "", value: usageText(answer) }], shown),
      ...cellLines("", differences === null ? problemOf(answer) : fields, shown),
    ];
  });
}

function usageText(answer: TryAnswer): string {
  return [outcomeText(answer), ...usageParts(answer)].join(", ");
}

function problemOf({ detail, cells }: TryAnswer): Named[] {
  const value = detail ?? (cells === null ? null : shownValue(cells));
  return value === null ? [] : [{ name: "", value }];
}

export function comparedLines(compared: ComparedTries, { a, b }: { readonly a: Try; readonly b: Try }): string[] {
  const { rows, same, onlyA, onlyB } = compared;
  const only = (no: number, count: number) => (count === 0 ? [] : [`${counted(count, "row")} only in try ${no}`]);
  const counts = [`${counted(rows.length, "row")} in both`, `${formatCount(same)} with the same answer`];
  return [
    [...counts, ...only(a.no, onlyA), ...only(b.no, onlyB)].join(", "),
    `  ${totalsText(a, compared.a)}`,
    `  ${totalsText(b, compared.b)}`,
  ];
}

function totalsText(tried: Try, totals: Totals): string {
  const { failed, inputTokens, outputTokens, costNanoUsd, meanLatencyMs } = totals;
  const parts = [
    `${formatCount(failed)} failed`,
    `${formatCount(inputTokens)} + ${formatCount(outputTokens)} tokens`,
    tried.price === null ? "unknown price" : formatUsd(costNanoUsd),
    ...(meanLatencyMs === null ? [] : [`${latencyText(meanLatencyMs)} each`]),
  ];
  return `${tryTitle(tried)}: ${parts.join(", ")}`;
}
