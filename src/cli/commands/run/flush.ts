/** `rowmill flush`: marks waiting rows to be sent now; a worker sends them. */
import { heldBackText } from "../../../app/story/held-back.js";
import * as overview from "../../../store/ledger/overview.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { configOf, noteMissingWorker, registeredPipelines, withProjectLedger } from "../../project.js";
import { counted, pausedText } from "../../screen/text.js";

export async function runFlush(cli: Cli, names: readonly string[], options: ProjectOptions): Promise<number> {
  return withProjectLedger(cli.terminal, options, async ({ database, project }) => {
    const wanted = await registeredPipelines(database, names);
    for (const row of wanted) await pipelines.requestFlush(database, row.id);
    const ids = new Set(wanted.map((row) => row.id));
    for (const pipeline of await overview.pipelineOverviews(database)) {
      if (!ids.has(pipeline.id)) continue;
      const paused = pausedText(pipeline, configOf(project, pipeline.name));
      const held = paused ?? (await heldBackText(database, pipeline, project));
      const rows = counted(pipeline.waiting, "waiting row");
      if (held === null) cli.terminal.print(`✓ ${pipeline.name}: ${rows} will be sent now`);
      else cli.terminal.print(`! ${pipeline.name}: ${rows} will be sent once this is resolved: ${held}`);
    }
    await noteMissingWorker(project, database);
    return EXIT_STATUS.ok;
  });
}
