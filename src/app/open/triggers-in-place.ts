/** Whether a pipeline's triggers are as its config and its table want them. Only looks. */
import type { PipelineConfig } from "../../model/pipeline.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import { triggerSignature, type TriggerOptions } from "../../sources/table/triggers.js";
import type { Queryable } from "../../postgres/database.js";
import * as overview from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";

export function triggerOptions(config: PipelineConfig, pipelineId: number): TriggerOptions {
  return { pipelineId, wholeRow: config.source.where !== null };
}

/** True: the next `up` makes none, and needs no right to do so. */
export async function triggersInPlace(
  client: Queryable,
  config: PipelineConfig,
  table: SourceTable,
): Promise<boolean> {
  if (!(await overview.ledgerExists(client))) return false;
  const row = (await pipelines.all(client)).find(({ name }) => name === config.name);
  if (row === undefined || row.sourceSignature === null) return false;
  return (await triggerSignature(client, table, triggerOptions(config, row.id))) === row.sourceSignature;
}
