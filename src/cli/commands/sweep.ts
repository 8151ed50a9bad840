/**
 * `rowmill sweep`: compares every row of the source with the ledger, to find changes that no trigger reported. A running worker
 * does it; without one, this command does. It sends nothing, so it needs no key.
 */
import { RowmillError } from "../../model/errors.js";
import * as overview from "../../store/ledger/overview.js";
import * as sweeps from "../../store/requests/sweeps.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { configOf, loadProject, registeredPipelines, withExistingLedger, type Project } from "../project.js";

export async function runSweep(cli: Cli, names: readonly string[], options: ProjectOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
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
      cli.terminal.print(
        `✓ ${list}: the worker (process ${worker.pid} on ${worker.host}) will compare all rows.`,
      );
      cli.terminal.note("See what it finds: rowmill status");
      return EXIT_STATUS.ok;
    }
    cli.terminal.note("No worker is running, so this command compares the rows itself.");
    const { sweepHere } = await import("../parts/sweep-here.js");
    await sweepHere(cli, options, { project, database, configs });
    return EXIT_STATUS.ok;
  });
}

function notInConfig(project: Project, name: string): RowmillError {
  return new RowmillError(
    "not_found",
    `The config ${project.config.file} no longer has a pipeline "${name}".`,
  );
}
