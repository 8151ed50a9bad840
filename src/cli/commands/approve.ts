/** `rowmill approve`: your yes to the cost of a new or changed pipeline, as it is shown and no later version. */
import { presentAccount } from "../../app/open/providers.js";
import { RowmillError } from "../../model/errors.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { Database } from "../../postgres/database.js";
import * as counts from "../../store/requests/counts.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import * as wake from "../../store/ledger/wake.js";
import { askYesNo, noTerminal } from "../screen/ask.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { configOf, loadProject, registeredPipeline, withExistingLedger } from "../project.js";
import { counted, describeEstimate, readEstimate } from "../screen/text.js";

export async function runApprove(
  cli: Cli,
  name: string,
  options: ProjectOptions & { readonly yes?: true },
): Promise<number> {
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const row = await registeredPipeline(database, name);
    if (row.approvedHash === row.definitionHash) {
      terminal.print(`✓ ${name} is already approved.`);
      return EXIT_STATUS.ok;
    }
    const waiting = await counts.countState(database, row.id, "waiting");
    terminal.print(`${name}: ${describe(row, waiting, configOf(project, name))}`);
    if (options.yes !== true && !(await ask(cli, name))) {
      terminal.print("Nothing was approved.");
      return EXIT_STATUS.blocked;
    }
    await approveShown(database, row, presentAccount(project, row.name));
    terminal.print(`✓ ${name} is approved.`);
    return EXIT_STATUS.ok;
  });
}

function describe(row: PipelineRow, waiting: number, config: PipelineConfig | undefined): string {
  const estimate = readEstimate(row.estimate);
  if (estimate === null) return `${counted(waiting, "row")} waiting. There is no estimate yet. To make one: rowmill up`;
  const since = waiting === estimate.rows ? "" : ` (now ${counted(waiting, "row")} waiting)`;
  return `${describeEstimate(estimate, config)}${since}.`;
}

async function ask({ terminal }: Cli, name: string): Promise<boolean> {
  if (terminal.interactive) return askYesNo(`Send the rows of ${name}?`);
  throw noTerminal("nothing was approved", `To approve without a question: rowmill approve ${name} --yes`);
}

/** @throws RowmillError `refused` when the pipeline changed while you read. */
async function approveShown(database: Database, row: PipelineRow, account: string): Promise<void> {
  const shown = { definitionHash: row.definitionHash, by: "rowmill approve", account };
  const approved = await database.transaction(async (tx) => {
    await wake.wakeBatches(tx, row.id);
    return pipelines.approve(tx, row.id, shown);
  });
  if (approved) return;
  throw new RowmillError("refused", `${row.name} was changed or approved by someone else in the meantime.`, {
    hints: [`See the current estimate: rowmill approve ${row.name}`],
  });
}
