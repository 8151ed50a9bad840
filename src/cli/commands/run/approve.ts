/**
 * `rowmill approve`: your yes to the cost of a new or changed pipeline, as it is shown and no later version; and what a
 * changed config does to rows that were answered before it.
 */
import { examineSource, previewPipeline } from "../../../app/open/bind-pipeline.js";
import { configuredHash } from "../../../app/open/open-project.js";
import { presentAccount } from "../../../app/open/providers.js";
import { RowmillError } from "../../../model/errors.js";
import type { PipelineConfig } from "../../../model/pipeline.js";
import type { Database } from "../../../postgres/database.js";
import * as counts from "../../../store/requests/counts.js";
import * as changes from "../../../store/pipelines/changes.js";
import type { ChangeDecision } from "../../../store/pipelines/changes.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import * as wake from "../../../store/ledger/wake.js";
import { emptyMemory } from "../../../worker/context.js";
import type { RunStep } from "../../../worker/step.js";
import { askYesNo, noTerminal } from "../../screen/ask.js";
import { askAbout, describeChange, undecidedText } from "../../screen/changed-rows.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { configOf, registeredPipeline, withProjectLedger, type Project } from "../../project.js";
import { counted, describeEstimate, readEstimate } from "../../screen/text.js";

export interface ApproveOptions extends ProjectOptions {
  readonly yes?: true;
  readonly onChange?: ChangeDecision;
}

export async function runApprove(cli: Cli, name: string, options: ApproveOptions): Promise<number> {
  const { terminal } = cli;
  return withProjectLedger(terminal, options, async ({ database, project }) => {
    const known = await registeredPipeline(database, name);
    const isDecided = await settleChange(cli, options, { project, database, row: known });
    // Sending again is a yes to its cost, too.
    const row = isDecided ? await registeredPipeline(database, name) : known;
    if (isDecided && (options.yes !== true || row.approvedHash === row.definitionHash)) return EXIT_STATUS.ok;
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

interface Known {
  readonly project: Project;
  readonly database: Database;
  readonly row: PipelineRow;
}

/** False: there was nothing to decide, or you did not. @throws RowmillError `refused` where no one could be asked */
async function settleChange({ terminal }: Cli, options: ApproveOptions, known: Known): Promise<boolean> {
  const { database, row } = known;
  const { name } = row;
  const change = await changes.changeOf(database, row.id);
  const rows = change?.decision === "undecided" ? (change.rows ?? 0) : 0;
  if (rows === 0 && options.onChange === undefined) return false;
  if (rows > 0) terminal.print(await describeRows(known, rows));
  const given = options.onChange ?? (options.yes === true ? "reask" : null);
  if (given === null && !terminal.interactive)
    throw noTerminal(
      "nothing was decided",
      `To send these rows again: rowmill approve ${name} --yes. To keep their answers: rowmill approve ${name} ` +
        "--on-change newOnly",
    );
  const decision = given ?? (await askAbout(name, rows));
  if (decision === "later") return false;
  const { definitionHash } = row;
  const account = presentAccount(known.project, name);
  const by = "rowmill approve";
  const isDecided = await database.transaction(async (tx) => {
    await wake.wakeBatches(tx, row.id);
    return changes.decide(tx, row.id, { definitionHash, decision, by, account });
  });
  terminal.print(isDecided ? `✓ ${name}: ${DECIDED[decision]}` : `✓ ${name}: there is nothing to decide.`);
  return isDecided;
}

const DECIDED: Readonly<Record<ChangeDecision, string>> = {
  reask: "its answered rows will be sent again.",
  newOnly: "its answered rows keep their answers; new and changed rows get the new version.",
  keep: "its answered rows keep their answers, which count as answers to the new version.",
};

async function describeRows({ project, database, row }: Known, rows: number): Promise<string> {
  const config = configOf(project, row.name);
  if (config === undefined || configuredHash(config) !== row.definitionHash) return undecidedText(row.name, rows);
  const provider = await config.provider.open({ ...project.environment.provider, offline: true });
  const pipeline = await previewPipeline(database, await examineSource(database, config), provider);
  const context = { database, read: database, step: runDirectly, memory: emptyMemory() };
  return describeChange(context, pipeline, rows);
}

/** Nothing is written while an estimate is made. */
const runDirectly: RunStep = (_name, work) => work();

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
