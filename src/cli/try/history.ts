/** `rowmill try --list` and `--compare A B`: earlier tries. Reads only. */
import {
  compareTries,
  type ComparedRow,
  type ComparedTries,
  type Totals,
  type Difference,
} from "../../app/try/comparing.js";
import { differencesFrom } from "../../app/try/config-differences.js";
import { RowmillError } from "../../model/errors.js";
import { formatUsd } from "../../model/provider/pricing.js";
import { proseLine } from "../../model/words/one-line.js";
import type { Reader } from "../../postgres/database.js";
import * as tries from "../../store/tries/tries.js";
import type { ListedTry, Try, TryAnswer } from "../../store/tries/tries.js";
import { configOf, withExistingLedger, type Project } from "../project.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { renderTable } from "../screen/lay-out.js";
import { counted, fit, fitKey, formatCount } from "../screen/text.js";
import { cellLines, shownColumns, shownValue, latencyText, outcomeText, usageParts, type Named } from "./row-text.js";
import { answerJson, listedJson, usd } from "./try-json.js";

const TRIES_SHOWN_MAX = 100;
const WORDS_MAX = 40;
const VALUE_LINES = 3;
/** Of an instant in ISO format, down to the minute. */
const MINUTES = 16;

export async function listTries(project: Project, name: string | null, json: boolean): Promise<number> {
  const { terminal } = project;
  return withExistingLedger(project, async ({ database }) => {
    const found = await tries.list(database, {
      pipelines: name === null ? null : [name],
      // One more tells that there are more.
      max: TRIES_SHOWN_MAX + 1,
    });
    const shown = found.slice(0, TRIES_SHOWN_MAX).map((listed): Listed => {
      const config = configOf(project, listed.pipeline);
      return { listed, differs: config === undefined ? null : differencesFrom(config, listed) };
    });
    const more = found.length > shown.length;
    if (json) terminal.data(JSON.stringify({ tries: shown.map((one) => listedJson(one.listed, one.differs)), more }));
    else if (shown.length === 0)
      terminal.print(`There is no try yet. Make one: rowmill try${name === null ? "" : ` ${name}`}`);
    else for (const line of listLines(shown, terminal.columns())) terminal.quote(line);
    if (more && !json) terminal.print(`… and older ones`);
    return EXIT_STATUS.ok;
  });
}

export async function showComparison(
  project: Project,
  [first, second]: readonly [number, number],
  json: boolean,
): Promise<number> {
  const { terminal } = project;
  return withExistingLedger(project, async ({ database }) => {
    const [a, b] = [await knownTry(database, first), await knownTry(database, second)];
    if (a.pipeline !== b.pipeline)
      throw new RowmillError("usage", `Try ${a.no} is of ${a.pipeline}, and try ${b.no} of ${b.pipeline}.`, {
        hints: ["See all tries: rowmill try --list"],
      });
    const compared = compareTries(await tries.answersOf(database, a.no), await tries.answersOf(database, b.no));
    if (compared.rows.length === 0)
      throw new RowmillError("refused", `Try ${a.no} and try ${b.no} have no row in common.`, {
        hints: ["Ask the same rows again by their keys: rowmill try PIPELINE --key KEY"],
      });
    if (json) {
      terminal.data(JSON.stringify(comparedJson(compared, { a, b })));
      return EXIT_STATUS.ok;
    }
    for (const row of compared.rows) {
      terminal.quote(terminal.bold(rowTitleOf(row)));
      for (const line of rowLinesOf(row, shownColumns(terminal.columns()))) terminal.quote(line);
      terminal.quote("");
    }
    for (const line of comparedLines(compared, { a, b })) terminal.quote(line);
    return EXIT_STATUS.ok;
  });
}

export async function knownTry(client: Reader, no: number): Promise<Try> {
  const found = await tries.byNumber(client, no);
  if (found !== null) return found;
  throw new RowmillError("not_found", `There is no try ${no}.`, { hints: ["See them all: rowmill try --list"] });
}

function comparedJson(
  compared: ReturnType<typeof compareTries>,
  { a, b }: { readonly a: Try; readonly b: Try },
): object {
  const totals = ({ costNanoUsd, ...rest }: (typeof compared)["a"], { no, model, overridden, price }: Try) => ({
    try: no,
    model,
    overridden,
    ...rest,
    costUsd: price === null ? null : usd(costNanoUsd),
  });
  return {
    a: totals(compared.a, a),
    b: totals(compared.b, b),
    same: compared.same,
    onlyA: compared.onlyA,
    onlyB: compared.onlyB,
    rows: compared.rows.map((row) => ({
      key: row.key,
      a: answerJson(row.a),
      b: answerJson(row.b),
      differences: row.differences,
    })),
  };
}

/** With what differs from the config of now; null: the config no longer has its pipeline. */
interface Listed {
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
