/** What `up` says of pipelines that are set up in the database, but that its config does not have (any more). Only reads. */
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { WorkerContext } from "../../worker/context.js";
import type { Terminal } from "../screen/terminal.js";

/** Their triggers go on, and what they tell piles up, because nobody takes it. */
export async function warnOfLeftovers(
  terminal: Terminal,
  context: WorkerContext,
  configFile: string,
): Promise<void> {
  for (const row of await pipelines.all(context.database)) {
    if (row.uninstalledAt !== null || context.pipelines.has(row.id)) continue;
    terminal.note(
      `${row.name}: is set up in this database, but ${configFile} has no pipeline of that name, so its rows are not looked at, and what its triggers tell piles up. ` +
        `If no other config has it either: rowmill uninstall ${row.name}`,
    );
  }
}
