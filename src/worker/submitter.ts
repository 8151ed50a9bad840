/**
 * uploading → submitting → running: the input file and the create, each committed as intent before it takes effect.
 *
 * The dangerous instant is the create: it costs money, and a lost reply looks like a failure. The intent is durable before the
 * POST, and from then on the batch is only ever looked for (`reconciler.ts`), until it is found or fenced off.
 */
import { ProviderError, type ProviderBatch } from "../providers/provider.js";
import * as batches from "../store/batches.js";
import * as pipelines from "../store/pipelines.js";
import { deploymentId } from "../store/deployment.js";
import { moveBatch } from "./move-batch.js";
import { refuse } from "./refusal.js";
import { isWhole, removeSpool, spoolPath } from "./spool.js";
import { again, lost, type BatchIn, type Next, type Turn } from "./turn.js";

/** A file is sometimes not to be found for a moment after its upload: so often the create is tried with one file. */
const CREATES_PER_FILE = 5;
/** Creates of one batch without an ending, or without its file, after which a person has to look; and again after as many more. */
const CREATES_MAX = 10;
const CREATE_PAUSE_MS = 2_000;
/** How soon an ambiguous create is looked for. */
export const FIRST_LOOK_MS = 1_000;
const sha256Prefix = 16;

export function inputFileName(batchId: string, sha256: string): string {
  return `${inputFilePrefix(batchId)}${sha256.slice(0, sha256Prefix)}.jsonl`;
}

export function inputFilePrefix(batchId: string): string {
  return `rowmill-${batchId}-`;
}

/** Uploads the spool file, or adopts the very same one that a crashed worker uploaded. */
export async function upload(turn: Turn<BatchIn<"uploading">>): Promise<Next> {
  const { context, pipeline, batch, signal } = turn;
  const filename = inputFileName(batch.id, batch.spoolSha256);
  const path = spoolPath(context.spoolFolder, batch.id);
  const found = await findUpload(turn, filename);
  if (found === null && !(await isWhole(path, { bytes: batch.spoolBytes, sha256: batch.spoolSha256 }))) {
    const reason = "the rendered file is not on this machine";
    const moved = await moveBatch("upload.move", turn, { batch, event: "spoolLost", reason });
    return moved ? again : lost;
  }
  const fileId =
    found ??
    (await context.step("upload.send", () => pipeline.provider.uploadInput({ path, filename }, { signal })))
      .id;
  const moved = await moveBatch("upload.move", turn, {
    batch,
    event: "uploaded",
    reason: found === null ? "the input file was uploaded" : "the input file was there already",
    fields: { input_file_id: fileId, create_intent: false },
  });
  return moved ? again : lost;
}

/** The id of an equal file under this batch's name; unequal ones are deleted, so that none can be sent by mistake. */
async function findUpload(
  { context, pipeline, batch, signal }: Turn<BatchIn<"uploading">>,
  filename: string,
): Promise<string | null> {
  const files = await context.step("upload.look", () =>
    pipeline.provider.findInputs(inputFilePrefix(batch.id), { signal }),
  );
  const [equal, ...doubles] = files.filter(
    (file) => file.filename === filename && file.bytes === batch.spoolBytes,
  );
  const unequal = files.filter((file) => file !== equal && !doubles.includes(file));
  for (const file of [...doubles, ...unequal])
    await context.step("upload.delete", () => pipeline.provider.deleteFile(file.id, { signal }));
  return equal?.id ?? null;
}

/** Posts the create once. Its intent is committed first; an ambiguous ending is left to reconciliation. */
export async function create(turn: Turn<BatchIn<"submitting">>): Promise<Next> {
  const { context, pipeline, batch, lease, signal } = turn;
  const intended = await context.step("submit.intent", () =>
    batches.update(context.database, lease, { create_intent: true }),
  );
  if (!intended) return lost;
  const metadata = await batchMetadata(turn);
  try {
    const created = await context.step("submit.create", () =>
      pipeline.provider.createBatch({ inputFileId: batch.inputFileId, metadata }, { signal }),
    );
    return await adopt(turn, created, "the provider took it");
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return afterFailedCreate(turn, error);
  }
}

async function batchMetadata({ context, pipeline, batch }: Turn): Promise<Record<string, string>> {
  return {
    rowmill_deployment: await deploymentId(context.read),
    rowmill_batch: batch.id,
    rowmill_pipeline: pipeline.config.name,
    // For a ledger that is restored from a backup made before: it may know the definition all the same.
    rowmill_definition: batch.definitionHash,
  };
}

async function afterFailedCreate(turn: Turn<BatchIn<"submitting">>, error: ProviderError): Promise<Next> {
  const { context, pipeline, batch, lease, signal } = turn;
  if (error.kind === "ambiguous") {
    context.log.warn(
      { batch: batch.id, err: error },
      "the create may or may not have taken effect; looking for it",
    );
    return { next: "wait", delayMs: FIRST_LOOK_MS };
  }
  // Everything else certainly had no effect: the intent ends here, so that nobody looks for a batch that cannot be.
  const takenBack = await context.step("submit.takeBack", () =>
    batches.update(context.database, lease, { create_intent: false }),
  );
  if (!takenBack) return lost;
  const missingFile = error.kind === "notFound" || /cannot find file|no such file/i.test(error.message);
  const createdNow = batch.creates + 1;
  if (missingFile && createdNow % CREATES_PER_FILE !== 0) return { next: "wait", delayMs: CREATE_PAUSE_MS };
  if (missingFile) {
    // The list may still show it: it would be taken for a good upload, again and again.
    await context.step("upload.delete", () => pipeline.provider.deleteFile(batch.inputFileId, { signal }));
    const counted = { ...turn, batch: { ...batch, creates: createdNow } };
    return uploadAnew(counted, "the provider lost the input file");
  }
  if (error.kind !== "refused") throw error;
  return refuse(turn, [{ code: error.providerCode, line: null, message: error.message, param: null }]);
}

/** Back to the upload, with no file and no create outstanding. */
export async function uploadAnew(turn: Turn<BatchIn<"submitting">>, reason: string): Promise<Next> {
  const { context, pipeline, batch } = turn;
  const moved = await moveBatch("submit.anew", turn, {
    batch,
    event: "fenced",
    reason,
    fields: { input_file_id: null, create_intent: false },
    // What the first one, should it be seen later after all, may have cost: the batch itself may end with nothing reserved.
    detail: { reservedNanoUsd: batch.reservedNanoUsd },
  });
  if (!moved) return lost;
  if (batch.creates === 0 || batch.creates % CREATES_MAX !== 0) return again;
  const why = `The provider was asked ${batch.creates} times to create batch ${batch.id}, and it never came to be: ${reason}. When the provider is well again: rowmill resume ${pipeline.config.name}`;
  await context.step("turn.pause", () =>
    pipelines.pause(context.database, pipeline.id, { kind: "provider", reason: why }),
  );
  return again;
}

/** Records the provider's batch as ours. */
export async function adopt(
  turn: Turn<BatchIn<"submitting">>,
  found: ProviderBatch,
  reason: string,
): Promise<Next> {
  const { context, batch } = turn;
  const moved = await moveBatch("submit.record", turn, {
    batch,
    event: "created",
    reason,
    fields: { provider_batch_id: found.id, provider_status: found.statusText },
  });
  if (!moved) return lost;
  context.log.info(
    { pipeline: batch.pipeline, batch: batch.id, providerBatch: found.id, requests: batch.lines },
    "batch submitted",
  );
  await context.step("clean.spool", () => removeSpool(context.spoolFolder, batch.id));
  return again;
}
