/** `rowmill deliver --replay`: answers wait for their delivery again; a worker delivers them. */
import { RowmillError } from "../../../model/errors.js";
import type { Database } from "../../../postgres/database.js";
import * as deliverers from "../../../store/deliveries/deliverers.js";
import * as deliveries from "../../../store/deliveries/deliveries.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { noteMissingWorker, registeredPipeline, requireKnownPlace, withProjectLedger } from "../../project.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { counted } from "../../screen/text.js";

export interface DeliverOptions extends ProjectOptions {
  readonly replay: true;
  readonly failed?: true;
  readonly all?: true;
}

export async function runDeliver(cli: Cli, name: string | undefined, options: DeliverOptions): Promise<number> {
  return withProjectLedger(cli.terminal, options, async ({ database, project }) => {
    await requireKnownPlace(database);
    const wanted = name === undefined ? null : await registeredPipeline(database, name);
    const standings = await deliverers.standings(database);
    const found = standings.filter(({ pipelineId }) => wanted === null || pipelineId === wanted.id);
    if (found.length === 0) throw withoutTarget(name);
    for (const { pipelineId, pipeline, target } of found) {
      const lines = await replay(database, pipelineId, options.all === true);
      const none = options.all ? "nothing was delivered before" : "there is nothing that was not delivered";
      const wait = `${counted(lines, "answer")} will be delivered to ${target} again`;
      cli.terminal.print(`✓ ${pipeline}: ${lines === 0 ? none : wait}`);
    }
    await noteMissingWorker(project, database);
    return EXIT_STATUS.ok;
  });
}

/** One transaction a chunk; after an interruption, the same command continues. */
async function replay(database: Database, pipelineId: number, all: boolean): Promise<number> {
  const before = await deliveries.beginReplay(database);
  let lines = 0;
  for (;;) {
    const chunk = await database.transaction((tx) => deliveries.replay(tx, pipelineId, { all, before }));
    lines += chunk;
    if (chunk === 0) break;
  }
  await deliverers.tryNow(database, pipelineId);
  return lines;
}

function withoutTarget(name: string | undefined): RowmillError {
  const which = name === undefined ? "No pipeline has" : `${name} does not have`;
  return new RowmillError("refused", `${which} a target elsewhere: answers are written into a table at once.`, {
    hints: ["To write answers that the table refused: rowmill retry"],
  });
}
