/** What a batch's create is, was or will be, as the provider's adapter is told of it. */
import type { BatchMark, CreateIntent, SpoolFile } from "../../model/provider/provider.js";
import * as deployment from "../../store/ledger/deployment.js";
import { spoolPath } from "../spool.js";
import type { BatchIn, Turn } from "./turn.js";

export function spoolFile({ context, batch }: Turn<BatchIn<"uploading"> | BatchIn<"submitting">>): SpoolFile {
  const path = spoolPath(context.spoolFolder, batch.id);
  return { batchId: batch.id, path, bytes: batch.spoolBytes, sha256: batch.spoolSha256 };
}

export async function createIntent(turn: Turn<BatchIn<"submitting">>): Promise<CreateIntent> {
  const { context, pipeline, batch } = turn;
  const mark: BatchMark = {
    deployment: await deployment.deploymentId(context.read),
    batch: batch.id,
    pipeline: pipeline.config.name,
    definition: batch.definitionHash,
  };
  const { staged, baseline } = batch.data;
  return { mark, staged, baseline, spool: spoolFile(turn), requests: batch.lines, model: batch.model };
}
