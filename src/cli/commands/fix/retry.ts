/**
 * `rowmill retry`: writes kept answers that the target now takes, at no cost, and lets other failed rows wait to be
 * sent again, after showing the cost. Needs no key: a worker sends what waits.
 */
import { configuredHash, openWithoutKey } from "../../../app/open/open-project.js";
import { RowmillError } from "../../../model/errors.js";
import { DROPPED, FAILED_REASONS } from "../../../model/words/failure-fixes.js";
import type { PipelineConfig } from "../../../model/pipeline.js";
import type { Database } from "../../../postgres/database.js";
import * as failures from "../../../store/requests/failures.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import type { Cli } from "../../cli.js";
import {
  configOf,
  loadProject,
  noteMissingWorker,
  notInConfig,
  registeredPipelines,
  requireKnownPlace,
  withExistingLedger,
  type Project,
} from "../../project.js";
import { retriedJson, retriedLines, type Left, type Retried } from "../../reports/retry-text.js";
import { retryRows, type RetryOptions } from "./retry-rows.js";
import { noTerminal } from "../../screen/ask.js";
import { openLog } from "../../screen/command-log.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import { checkWhichRows, isFiltered } from "../../which-rows.js";

const RETRIED_REASONS: readonly string[] = [...FAILED_REASONS, DROPPED];

export async function runRetry(cli: Cli, name: string | undefined, options: RetryOptions): Promise<number> {
  checkOptions(name, options);
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  return interruptible(terminal, "Stopping after the current rows.", (signal) =>
    withExistingLedger(project, async ({ database }) => {
      const rows = await registeredPipelines(database, name === undefined ? [] : [name]);
      const reasons = options.reason ?? null;
      const wanted = await withFailures(database, project, { rows, isNamed: name !== undefined, reasons });
      const retried = await retryAll(cli, options, { project, database, wanted, signal });
      if (options.json) terminal.data(JSON.stringify({ pipelines: retried.map(retriedJson) }));
      else for (const line of retriedLines(retried, isFiltered(options))) terminal.print(line);
      signal.throwIfAborted();
      if (retried.some(({ askedAgain }) => askedAgain > 0)) await noteMissingWorker(project, database);
      return statusOf(cli, { name, options, retried });
    }),
  );
}

function checkOptions(name: string | undefined, options: RetryOptions): void {
  if (options.reason?.includes("refusedKey") === true)
    throw new RowmillError("usage", "--reason: rows without a usable key cannot be sent, again or at all.", {
      hints: ["Give them a usable key. See which they are: rowmill failures --reason refusedKey"],
    });
  checkWhichRows(options, { command: "retry", pipeline: name, reasons: RETRIED_REASONS });
}

interface Wanted {
  readonly row: PipelineRow;
  readonly config: PipelineConfig;
}

/** Those with failed rows. @throws RowmillError where the config no longer matches the pipeline. */
async function withFailures(
  database: Database,
  project: Project,
  { rows, isNamed, reasons }: { rows: readonly PipelineRow[]; isNamed: boolean; reasons: readonly string[] | null },
): Promise<Wanted[]> {
  const wanted: Wanted[] = [];
  for (const row of rows) {
    const config = configOf(project, row.name);
    const { kept, lost } = await failures.countFailed(database, { pipelineId: row.id, reasons, keys: null }, 0);
    if (kept + lost === 0 && !isNamed) continue;
    if (config === undefined) throw notInConfig(project, row.name);
    refuseUnfit(row, config);
    wanted.push({ row, config });
  }
  return wanted;
}

function refuseUnfit(row: PipelineRow, config: PipelineConfig): void {
  const { name } = row;
  if (row.uninstalledAt !== null)
    throw new RowmillError("refused", `${name} is uninstalled.`, { hints: ["Set it up again: rowmill up"] });
  if (configuredHash(config) === row.definitionHash) return;
  throw new RowmillError(
    "refused",
    `The config of ${name} has changed since the last rowmill up, so nothing was retried.`,
    { hints: ["Start a worker: it shows the cost of the change, and sends the rows again: rowmill up"] },
  );
}

interface Parts {
  readonly project: Project;
  readonly database: Database;
  readonly wanted: readonly Wanted[];
  readonly signal: AbortSignal;
}

async function retryAll(cli: Cli, options: RetryOptions, parts: Parts): Promise<Retried[]> {
  const { project, database, wanted, signal } = parts;
  if (wanted.length === 0) return [];
  const context = await openWithoutKey({
    config: { ...project.config, pipelines: wanted.map(({ config }) => config) },
    environment: project.environment,
    database,
    log: openLog(cli.terminal, options.logLevel),
  });
  try {
    // Opening it may have found that the ledger was restored or copied.
    await requireKnownPlace(database);
    const retried: Retried[] = [];
    for (const { row } of wanted) {
      const pipeline = context.pipelines.get(row.id);
      if (pipeline === undefined || signal.aborted) continue;
      retried.push(await retryRows(cli, options, { context, pipeline, signal }));
    }
    return retried;
  } finally {
    context.leases.stop();
  }
}

/** @throws RowmillError `refused` where a question could not be asked. */
function statusOf(
  { terminal }: Cli,
  { name, options, retried }: { name: string | undefined; options: RetryOptions; retried: readonly Retried[] },
): number {
  const has = (...whys: readonly Left["why"][]) =>
    retried.some(({ left }) => left.some(({ why }) => whys.includes(why)));
  if (has("notConfirmed")) {
    if (!terminal.interactive) throw unasked(name, options);
    return EXIT_STATUS.blocked;
  }
  return has("unwritable", "held", "nextTime") ? EXIT_STATUS.rowsFailed : EXIT_STATUS.ok;
}

function unasked(name: string | undefined, { reason = [], key = [], where }: RetryOptions): RowmillError {
  const same = [...(name === undefined ? [] : [name]), ...reason.map((each) => `--reason ${each}`)];
  const rows = [...(key.length === 0 ? [] : ["--key …"]), ...(where === undefined ? [] : ["--where …"])];
  const command = ["rowmill retry", ...same, ...rows, "--yes"].join(" ");
  return noTerminal("no row is sent again", `To send these rows again without a question: ${command}`);
}
