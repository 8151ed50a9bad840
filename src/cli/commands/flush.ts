/** `rowmill flush`: what waits goes out without threshold or deadline. Only marks it; a worker does it. */
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { pausedText } from "../words/paused-text.js";
import { configOf, loadProject, registeredPipelines, withExistingLedger } from "../project.js";
import { counted } from "../words/text.js";

export async function runFlush(cli: Cli, names: readonly string[], options: ProjectOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  return withExistingLedger(project, async ({ database }) => {
    const wanted = await registeredPipelines(database, names);
    for (const row of wanted) await pipelines.requestFlush(database, row.id);
    const ids = new Set(wanted.map((row) => row.id));
    for (const pipeline of await overview.pipelineOverviews(database)) {
      if (!ids.has(pipeline.id)) continue;
      const held = pausedText(pipeline, configOf(project, pipeline.name));
      const but = held === null ? "" : `, but not before this is mended: ${held}`;
      cli.terminal.print(`${pipeline.name}: ${counted(pipeline.waiting, "waiting row")} will be sent${but}`);
    }
    if ((await overview.livingWorkers(database)).length === 0)
      cli.terminal.note("No worker is running: they go out at the next rowmill up.");
    return EXIT_STATUS.ok;
  });
}
