/** `rowmill resume`: ends a pause, whoever made it, and makes what waited for it due at once. */
import { RowmillError } from "../model/errors.js";
import { livingWorkers } from "../store/overview.js";
import { resume } from "../store/pipelines.js";
import { wakeBatches } from "../store/wake.js";
import type { Cli, ProjectOptions } from "./cli.js";
import { exitStatus } from "./exit-status.js";
import { loadProject, registeredPipeline, withExistingLedger } from "./project.js";
import { counted } from "./text.js";

export async function runResume(cli: Cli, name: string, options: ProjectOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const row = await registeredPipeline(database, name);
    if (row.pauseKind === "deployment") throw suspected(row.pauseReason ?? "");
    const done = await database.transaction(async (tx) => ({
      resumed: await resume(tx, row.id),
      batches: await wakeBatches(tx, row.id),
    }));
    const are = done.batches === 1 ? "is" : "are";
    const woken =
      done.batches === 0 ? "" : `; ${counted(done.batches, "unfinished batch")} ${are} due at once`;
    cli.terminal.print(done.resumed ? `${name} goes on${woken}` : `${name} was not paused${woken}`);
    if ((await livingWorkers(database)).length === 0)
      cli.terminal.note("No worker is running. Start one: rowmill up");
    return exitStatus.ok;
  });
}

/** Of every pipeline at once, and what lifts it changes more than one of them. */
function suspected(reason: string): RowmillError {
  return new RowmillError("refused", reason, {
    hints: ["What each of them would do: rowmill help deployment"],
  });
}
