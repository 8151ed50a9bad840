/**
 * `rowmill sweep`: compares every row of the source with the ledger, to find changes that no trigger reported. A
 * running worker does it; without one, this command does. It sends nothing, so it needs no key.
 */
import type { PipelineConfig } from "../../../model/pipeline.js";
import type { Database } from "../../../postgres/database.js";
import * as overview from "../../../store/ledger/overview.js";
import * as sweeps from "../../../store/requests/sweeps.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import { SweepProgress } from "../../screen/live/progress.js";
import { configOf, notInConfig, registeredPipelines, withProjectLedger, type Project } from "../../project.js";

export async function runSweep(cli: Cli, names: readonly string[], options: ProjectOptions): Promise<number> {
  return withProjectLedger(cli.terminal, options, async ({ database, project }) => {
    const wanted = await registeredPipelines(database, names);
    const configs = wanted.flatMap((row) => {
      const config = configOf(project, row.name);
      if (config === undefined && names.includes(row.name)) throw notInConfig(project, row.name);
      return config === undefined ? [] : [config];
    });
    for (const row of wanted) await sweeps.wantSweep(database, row.id, "rowmill sweep");
    const [worker] = await overview.livingWorkers(database);
    if (worker !== undefined) {
      const list = wanted.map((row) => row.name).join(", ");
      cli.terminal.print(`✓ ${list}: the worker (process ${worker.pid} on ${worker.host}) will compare all rows.`);
      cli.terminal.note("See what it finds: rowmill status");
      return EXIT_STATUS.ok;
    }
    cli.terminal.note("No worker is running, so this command compares the rows itself.");
    await sweepHere(cli, options, { project, database, configs });
    return EXIT_STATUS.ok;
  });
}

/** Loads the engine, which the command needs only here. */
async function sweepHere(
  cli: Cli,
  options: ProjectOptions,
  parts: { project: Project; database: Database; configs: readonly PipelineConfig[] },
): Promise<void> {
  await interruptible(cli.terminal, "Stopping after the current rows.", async (signal) => {
    const { openWithoutKey } = await import("../../../app/open/open-project.js");
    const { sweepAll } = await import("../../../app/open/round.js");
    const { openLog } = await import("../../screen/command-log.js");
    const { project, database, configs } = parts;
    const context = await openWithoutKey({
      config: { ...project.config, pipelines: configs },
      environment: project.environment,
      database,
      log: openLog(cli.terminal, options.logLevel),
    });
    try {
      const progress = new SweepProgress(cli.terminal);
      await sweepAll(context, signal, progress.onChunk);
      progress.end();
    } finally {
      context.leases.stop();
    }
  });
}
