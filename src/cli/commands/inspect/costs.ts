/** `rowmill costs`: what was estimated, reserved and spent, in groups. Reads only, needs no API key. */
import { presentAccount } from "../../../app/open/providers.js";
import type { PipelineConfig } from "../../../model/pipeline.js";
import { formatUsd } from "../../../model/provider/pricing.js";
import { proseLine } from "../../../model/words/one-line.js";
import type { Database } from "../../../postgres/database.js";
import * as costStore from "../../../store/batches/costs.js";
import type { CostGroup, CostLine, CostSums } from "../../../store/batches/costs.js";
import * as money from "../../../store/batches/money.js";
import type { Spending } from "../../../store/batches/money.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { configOf, loadProject, registeredPipelines, withExistingLedger, type Project } from "../../project.js";
import { sharingJson, sharingText } from "../../reports/sharing-text.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { renderTable, type TableColumn } from "../../screen/lay-out.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted, formatCount, shortId } from "../../screen/text.js";

const FIGURES = ["batches", "requests", "estimated", "reserved", "spent", "saved"] as const;
const PERIODS: Readonly<Record<BudgetState["per"], string>> = {
  total: "in total",
  day: "per day, today (UTC)",
  month: "per month, this month (UTC)",
  run: "per run of a worker",
};

export interface CostsOptions extends ProjectOptions {
  readonly by?: readonly CostGroup[];
  readonly since?: number;
  readonly limit: number;
  readonly json?: true;
}

export async function runCosts({ terminal }: Cli, name: string | undefined, options: CostsOptions): Promise<number> {
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const rows = await registeredPipelines(database, name === undefined ? [] : [name]);
    const by = groupsOf(options.by ?? ["pipeline", "model"]);
    const wanted = {
      by,
      // Without a name also what pipelines spent that are uninstalled by now.
      pipelineIds: name === undefined ? null : rows.map(({ id }) => id),
      sinceMs: options.since ?? null,
      max: options.limit,
    };
    const found = await terminal.during("Adding up", () => costStore.costs(database, wanted));
    const budgets = await budgetsOf(database, project, rows);
    if (options.json) {
      terminal.data(JSON.stringify(costJson(found, budgets)));
      return EXIT_STATUS.ok;
    }
    for (const line of costTable(by, found, terminal)) terminal.print(line);
    if (found.more > 0)
      terminal.print(`… and ${counted(found.more, "more line")}, in the sum. Show more: --limit ${options.limit * 5}`);
    if (budgets.length > 0) terminal.print("");
    for (const budget of budgets) terminal.print(budgetLine(budget));
    return EXIT_STATUS.ok;
  });
}

/** Each pipeline counts its own versions. */
function groupsOf(wanted: readonly CostGroup[]): CostGroup[] {
  const groups = wanted.flatMap((group): CostGroup[] => (group === "version" ? ["pipeline", group] : [group]));
  return [...new Set(groups)];
}

/** A budget per run belongs to a worker that runs: only that one knows what it has spent. */
async function budgetsOf(database: Database, project: Project, rows: readonly PipelineRow[]): Promise<BudgetState[]> {
  const states: BudgetState[] = [];
  for (const { id, name } of rows) {
    const budget = configOf(project, name)?.budget ?? null;
    if (budget === null) continue;
    const account = presentAccount(project, name);
    const spent = budget.per === "run" ? null : await money.spending(database, id, { ...budget, runId: null, account });
    states.push({ pipeline: name, ...budget, spending: spent });
  }
  return states;
}

export interface Costs {
  readonly lines: readonly CostLine[];
  readonly total: CostSums;
  readonly more: number;
}

export type BudgetState = NonNullable<PipelineConfig["budget"]> & {
  readonly pipeline: string;
  /** Null: per run, which only its worker knows. */
  readonly spending: Spending | null;
};

export function costTable(
  by: readonly CostGroup[],
  { lines, total }: Costs,
  style: Pick<Terminal, "columns" | "bold">,
): string[] {
  if (total.batches === 0) return ["There is no batch yet."];
  const header: TableColumn[] = [
    ...by.map((title): TableColumn => ({ title, align: "left" })),
    ...FIGURES.map((title): TableColumn => ({ title, align: "right" })),
  ];
  const rows = lines.map((line) => [
    ...by.map((group) => keyText(group, String(line[group] ?? "unknown"))),
    ...figures(line),
  ]);
  const sum = ["in all", ...by.slice(1).map(() => ""), ...figures(total)];
  const [first = "", ...rest] = narrowed(header, [...rows, sum], style.columns());
  const isTable = first.startsWith(`${by[0] ?? ""} `);
  const shared = sharingText(total);
  const notes = [...(shared === null ? [] : [shared]), ...(total.unpriced === 0 ? [] : [unpricedNote(total.unpriced)])];
  return [isTable ? style.bold(first) : first, ...rest, ...(notes.length === 0 ? [] : ["", ...notes])];
}

/** A narrow terminal shows the money only. */
function narrowed(header: readonly TableColumn[], rows: readonly (readonly string[])[], columns: number): string[] {
  const whole = renderTable(header, rows, columns);
  if (whole[0]?.startsWith(`${header[0]?.title ?? ""} `) === true) return whole;
  const isShown = header.map(({ title }) => title !== "batches" && title !== "requests");
  const shown = <T>(row: readonly T[]) => row.filter((_, index) => isShown[index]);
  return renderTable(shown(header), rows.map(shown), columns);
}

function keyText(group: CostGroup, key: string): string {
  return group === "batch" ? shortId(key) : proseLine(key);
}

function figures(sums: CostSums): readonly string[] {
  const { batches, requests, likelyNanoUsd, reservedNanoUsd, spentNanoUsd, savedNanoUsd, unpriced } = sums;
  const isUnknown = unpriced > 0 && spentNanoUsd === 0;
  return [
    formatCount(batches),
    formatCount(requests),
    likelyNanoUsd === null ? "unknown" : formatUsd(likelyNanoUsd),
    formatUsd(reservedNanoUsd),
    isUnknown ? "unknown" : formatUsd(spentNanoUsd),
    isUnknown ? "unknown" : formatUsd(savedNanoUsd),
  ];
}

function unpricedNote(unpriced: number): string {
  const [has, is] = unpriced === 1 ? ["has", "is"] : ["have", "are"];
  return `! ${counted(unpriced, "paid answer")} ${has} no known price and ${is} not in the sums.`;
}

export function budgetLine({ pipeline, usd, per, spending }: BudgetState): string {
  const name = `Budget of ${pipeline}: ${formatUsd(usd * 1e9)} ${PERIODS[per]}`;
  if (spending === null) return proseLine(`${name}; only the worker knows what its run has spent`);
  const { spentNanoUsd, reservedNanoUsd } = spending;
  const left = Math.max(0, usd * 1e9 - spentNanoUsd - reservedNanoUsd);
  const parts = [
    `${formatUsd(spentNanoUsd)} spent`,
    `${formatUsd(reservedNanoUsd)} reserved`,
    `${formatUsd(left)} left`,
  ];
  return proseLine(`${name}: ${parts.join(", ")}`);
}

/** The shape of `costs --json`. */
export function costJson({ lines, total, more }: Costs, budgets: readonly BudgetState[]): object {
  return {
    costs: lines.map(({ pipeline, version, model, day, batch, ...sums }) => ({
      pipeline,
      version,
      model,
      day,
      batch,
      ...sumsJson(sums),
    })),
    total: sumsJson(total),
    more,
    budgets: budgets.map(({ pipeline, usd, per, spending }) => ({
      pipeline,
      usd,
      per,
      spentUsd: spending === null ? null : spending.spentNanoUsd / 1e9,
      reservedUsd: spending === null ? null : spending.reservedNanoUsd / 1e9,
    })),
  };
}

function sumsJson(sums: CostSums): object {
  const { batches, requests, succeeded, failed, inputTokens, outputTokens, likelyNanoUsd, unpriced } = sums;
  return {
    batches,
    requests,
    succeeded,
    failed,
    inputTokens,
    outputTokens,
    estimatedUsd: likelyNanoUsd === null ? null : likelyNanoUsd / 1e9,
    estimatedSpentUsd: sums.estimatedSpentNanoUsd / 1e9,
    reservedUsd: sums.reservedNanoUsd / 1e9,
    spentUsd: sums.spentNanoUsd / 1e9,
    savedUsd: sums.savedNanoUsd / 1e9,
    ...sharingJson(sums),
    unpriced,
  };
}
