/**
 * `rowmill sweep`: compares every row of the source with the ledger, for rows that no trigger could report. A worker does it
 * where one lives; otherwise this command does it itself. It sends nothing, so it needs no key.
 */
import { Command } from "commander";
import { openProject } from "../app/open-project.js";
import { sweepAll } from "../app/round.js";
import { Secret } from "../config/secret.js";
import { RowmillError } from "../model/errors.js";
import type { PipelineConfig } from "../model/pipeline.js";
import type { Database } from "../store/database.js";
import { livingWorkers } from "../store/overview.js";
import { wantSweep } from "../store/sweeps.js";
import type { WorkerContext } from "../worker/context.js";
import { withProject, type Cli, type ProjectOptions } from "./cli.js";
import { openLog } from "./command-log.js";
import { exitStatus } from "./exit-status.js";
import { listenForInterruption } from "./interruption.js";
import { configOf, loadProject, registeredPipelines, withExistingLedger, type Project } from "./project.js";
import { SweepProgress } from "./sweep-progress.js";

export function sweepCommand(cli: Cli): Command {
  return withProject(new Command("sweep"))
    .description("compare all rows with what is known of them; finds what no trigger could report")
    .argument("[pipelines...]", "default: all")
    .action(async (names: string[], options: ProjectOptions) =>
      cli.finish(await runSweep(cli, names, options)),
    );
}

async function runSweep(cli: Cli, names: readonly string[], options: ProjectOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const wanted = await registeredPipelines(database, names);
    const configs = wanted.flatMap((row) => {
      const config = configOf(project, row.name);
      if (config === undefined && names.includes(row.name)) throw notInConfig(project, row.name);
      return config === undefined ? [] : [config];
    });
    for (const row of wanted) await wantSweep(database, row.id, "rowmill sweep");
    const [worker] = await livingWorkers(database);
    if (worker !== undefined) {
      const list = wanted.map((row) => row.name).join(", ");
      cli.terminal.print(`${list}: will be swept by the worker, process ${worker.pid} on ${worker.host}.`);
      cli.terminal.note("To see what it finds: rowmill status");
      return exitStatus.ok;
    }
    cli.terminal.note("No worker is running: sweeping here.");
    await sweepHere(cli, options, { project, database, configs });
    return exitStatus.ok;
  });
}

function notInConfig(project: Project, name: string): RowmillError {
  return new RowmillError(
    "not_found",
    `The config ${project.config.file} has no pipeline "${name}" any more.`,
  );
}

interface SweepParts {
  readonly project: Project;
  readonly database: Database;
  readonly configs: readonly PipelineConfig[];
}

async function sweepHere(cli: Cli, options: ProjectOptions, parts: SweepParts): Promise<void> {
  const interruption = listenForInterruption(() => cli.terminal.note("Stopping after this chunk of rows."));
  try {
    const context = await openWithoutKey(parts, openLog(cli.terminal, options.logLevel));
    try {
      const progress = new SweepProgress(cli.terminal);
      await sweepAll(context, interruption.signal, progress.onChunk);
      progress.end();
    } finally {
      context.leases.stop();
    }
  } finally {
    interruption.dispose();
  }
}

/** A sweep renders requests to compare them, and never calls the provider: any key serves. */
function openWithoutKey(
  { project, database, configs }: SweepParts,
  log: ReturnType<typeof openLog>,
): Promise<WorkerContext> {
  const { environment, config } = project;
  const apiKey = environment.openai.apiKey ?? new Secret("not-needed");
  return openProject({
    config: { ...config, pipelines: configs },
    environment: { ...environment, openai: { ...environment.openai, apiKey } },
    database,
    log,
  });
}
