/** `rowmill log`: everything about one batch. Reads only, and needs no API key. */
import { accountWords } from "../../../app/open/providers.js";
import * as batchList from "../../../store/batches/batch-list.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { findBatch } from "../../find-batch.js";
import { withProjectLedger } from "../../project.js";
import { logJson, logLines } from "../../reports/batch-text.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";

const EVENTS_MAX = 1_000;

export interface LogOptions extends ProjectOptions {
  readonly json?: true;
}

export async function runLog({ terminal }: Cli, name: string, options: LogOptions): Promise<number> {
  return withProjectLedger(terminal, options, async ({ database, project }) => {
    const story = await findBatch(database, name, batchList.story);
    const log = {
      story,
      events: await batchList.events(database, story.id, EVENTS_MAX),
      outcomes: await batchList.outcomes(database, story.no),
      place: accountWords(project, story.provider).accountText(story.account),
    };
    if (options.json) terminal.data(JSON.stringify(logJson(log)));
    else for (const line of logLines(log, terminal)) terminal.print(line);
    return EXIT_STATUS.ok;
  });
}
