/** `rowmill batches`: a list of batches with their counts, times and money. Reads only, and needs no API key. */
import * as batchList from "../../../store/batches/batch-list.js";
import type { StateFilter } from "../../../store/batches/batch-list.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { registeredPipeline, withProjectLedger } from "../../project.js";
import { batchJson, batchTable } from "../../reports/batch-text.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { counted } from "../../screen/text.js";

export interface BatchesOptions extends ProjectOptions {
  readonly state?: StateFilter;
  readonly since?: number;
  readonly limit: number;
  readonly json?: true;
}

export async function runBatches(
  { terminal }: Cli,
  name: string | undefined,
  options: BatchesOptions,
): Promise<number> {
  return withProjectLedger(terminal, options, async ({ database }) => {
    const pipelineIds = name === undefined ? null : [(await registeredPipeline(database, name)).id];
    const { state = null, since = null, limit: max } = options;
    const { batches, more } = await terminal.during("Reading batches", () =>
      batchList.list(database, { pipelineIds, state, sinceMs: since, max }),
    );
    if (options.json) {
      terminal.data(JSON.stringify({ batches: batches.map(batchJson), more }));
      return EXIT_STATUS.ok;
    }
    const isFiltered = name !== undefined || state !== null || since !== null;
    if (batches.length === 0) terminal.print(isFiltered ? "No batch matches." : "There are no batches yet.");
    for (const line of batchTable(batches, terminal)) terminal.print(line);
    if (more > 0) terminal.print(`… and ${counted(more, "older batch")}. Show more: --limit ${max * 5}`);
    return EXIT_STATUS.ok;
  });
}
