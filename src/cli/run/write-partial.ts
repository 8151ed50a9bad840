/** `rowmill run FILE --partial`: writes the answers that are there now, also beside a worker. Sends nothing. */
import { examineSource } from "../../app/open/bind-pipeline.js";
import { RowmillError } from "../../model/errors.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as overview from "../../store/ledger/overview.js";
import type { PreparedRun } from "../commands/run/run.js";
import { withExistingLedger } from "../project.js";
import { sayEnd, writeOutput } from "./run-output.js";

export async function writePartial(prepared: PreparedRun): Promise<number> {
  const { project, config, record, options, terminal } = prepared;
  return withExistingLedger(project, async ({ database }) => {
    const row = await pipelines.byName(database, config.name);
    if (row === null) throw new RowmillError("not_found", `${record.file} was not run yet.`);
    const { table, answer } = await examineSource(database, config);
    const pipeline = { id: row.id, config, table, answer };
    const written = await writeOutput(prepared, { database, pipeline, whole: false, errors: true });
    const money = (await overview.moneyOverviews(database)).find(({ pipelineId }) => pipelineId === row.id);
    return sayEnd(terminal, { record, written, options, money, retriable: 0 });
  });
}
