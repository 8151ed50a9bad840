/** `rowmill costs`: what was estimated, reserved and spent, in groups. Reads only, needs no API key. */
import { presentAccount } from "../../../app/open/providers.js";
import type { Database } from "../../../postgres/database.js";
import * as costStore from "../../../store/batches/costs.js";
import type { CostGroup } from "../../../store/batches/costs.js";
import * as money from "../../../store/batches/money.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { configOf, loadProject, registeredPipelines, withExistingLedger, type Project } from "../../project.js";
import { budgetLine, costJson, costTable, type BudgetState } from "../../reports/cost-text.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { counted } from "../../screen/text.js";

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
