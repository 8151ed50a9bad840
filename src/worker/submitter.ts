/**
 * uploading → submitting → running: the input file and the create, each committed as intent before it takes effect.
 *
 * The dangerous instant is the create: it costs money, and a lost reply looks like a failure. The intent is durable before the
 * POST, and from then on the batch is only ever looked for (`reconciler.ts`), until it is found or fenced off.
 */
import { asSentence } from "../model/as-sentence.js";
import { backoffMs } from "../model/schedule.js";
import { ProviderError, type ProviderBatch, type ProviderFile } from "../model/former-provider.js";
import * as batches from "../store/batches.js";
import { learnedLimits, raiseGuess } from "../store/money.js";
import * as pipelines from "../store/pipelines.js";
import { deploymentId } from "../store/deployment.js";
import { moveBatch } from "./move-batch.js";
import { refuse } from "./refusal.js";
import { isWhole, removeSpool, spoolPath } from "./spool.js";
import { withdraw } from "./withdraw.js";
import { again, lost, type BatchIn, type Next, type Turn } from "./turn.js";

/** A file is sometimes not to be found for a moment after its upload: so often the create is tried with one file. */
const CREATES_PER_FILE = 5;
/** Creates of one batch without an ending, or without its file, after which a person has to look; and again after as many more. */
const CREATES_MAX = 10;
const CREATE_PAUSE_MS = 2_000;
/** How often it is looked whether the provider has worked on a file that it took; then the create itself has to say. */
const READY_LOOKS_MAX = 30;
/** The same where it only says that it took it: at some providers it never says more. */
const UPLOADED_LOOKS_MAX = 3;
const READY_PAUSE_MS = 2_000;
const READY_PAUSE_MAX_MS = 60_000;
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
  const { batch } = turn;
  if (batch.inputFileId !== null) return lookAgain(turn, batch.inputFileId);
  const filename = inputFileName(batch.id, batch.spoolSha256);
  const found = await findUpload(turn, filename);
  return found === null ? send(turn, filename) : uploaded(turn, found, "the input file was there already");
}

async function send(turn: Turn<BatchIn<"uploading">>, filename: string): Promise<Next> {
  const { context, pipeline, batch, signal } = turn;
  const path = spoolPath(context.spoolFolder, batch.id);
  if (!(await isWhole(path, { bytes: batch.spoolBytes, sha256: batch.spoolSha256 }))) {
    const reason = "the rendered file is not on this machine";
    const moved = await moveBatch("upload.move", turn, { batch, event: "spoolLost", reason });
    return moved ? again : lost;
  }
  const { inputBytes } = await learnedLimits(context.read, batch.account, batch.model);
  if (inputBytes !== null && batch.spoolBytes > inputBytes && batch.lines > 1)
    return withdraw(turn, "it was rendered before it was known how large a file may be");
  try {
    const file = await context.step("upload.send", () =>
      pipeline.provider.uploadInput({ path, filename }, { signal }),
    );
    return await uploaded(turn, file, "the input file was uploaded");
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "refused") throw error;
    return refuse(turn, [error.refusal]);
  }
}

/** Of a file that was not ready before. That nothing is to be learned of it is no reason to wait: then the create says what it is. */
async function lookAgain(turn: Turn<BatchIn<"uploading">>, fileId: string): Promise<Next> {
  const { context, pipeline, signal } = turn;
  const file = await context.step("upload.look", async () => {
    try {
      return await pipeline.provider.inspectFile(fileId, { signal });
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind === "account" || signal.aborted) throw error;
      return null;
    }
  });
  const reason = "the input file was uploaded, and the provider has worked on it";
  return uploaded(turn, { readiness: "ready", details: null, ...file, id: fileId }, reason);
}

/** To the create, as soon as the file may be ready for it. */
async function uploaded(
  turn: Turn<BatchIn<"uploading">>,
  { id, readiness, details }: Pick<ProviderFile, "id" | "readiness" | "details">,
  reason: string,
): Promise<Next> {
  const { context, pipeline, batch, lease } = turn;
  if (readiness === "failed") {
    const noted = await context.step("upload.wait", () =>
      batches.update(context.database, lease, { input_file_id: null, polls: 0 }),
    );
    if (!noted) return lost;
    const why = `The provider cannot use the input file of batch ${batch.id}: ${details ?? "it gives no reason"}. To upload it again: rowmill resume ${pipeline.config.name}`;
    return pauseForProvider(turn, why);
  }
  const looksMax = { ready: 0, uploaded: UPLOADED_LOOKS_MAX, pending: READY_LOOKS_MAX }[readiness];
  if (batch.polls < looksMax) return waitUntilReady(turn, "upload.wait", { input_file_id: id });
  const moved = await moveBatch("upload.move", turn, {
    batch,
    event: "uploaded",
    reason,
    fields: { input_file_id: id, create_intent: false },
  });
  return moved ? again : lost;
}

async function waitUntilReady(
  { context, batch, lease }: Turn,
  step: "upload.wait" | "submit.takeBack",
  fields: batches.BatchFields,
): Promise<Next> {
  const noted = await context.step(step, () =>
    batches.update(context.database, lease, { ...fields, polls: batch.polls + 1 }),
  );
  if (!noted) return lost;
  const delayMs = Math.min(READY_PAUSE_MAX_MS, backoffMs(batch.polls, READY_PAUSE_MS, context.random()));
  return { next: "wait", delayMs };
}

async function pauseForProvider({ context, pipeline }: Turn, reason: string): Promise<Next> {
  await context.step("turn.pause", () =>
    pipelines.pause(context.database, pipeline.id, { kind: "provider", reason }),
  );
  return again;
}

/** An equal file under this batch's name; unequal ones are deleted, so that none can be sent by mistake. */
async function findUpload(
  { context, pipeline, batch, signal }: Turn<BatchIn<"uploading">>,
  filename: string,
): Promise<ProviderFile | null> {
  const files = await context.step("upload.look", () =>
    pipeline.provider.findInputs(inputFilePrefix(batch.id), { signal }),
  );
  const [equal, ...doubles] = files.filter(
    (file) => file.filename === filename && file.bytes === batch.spoolBytes && file.readiness !== "failed",
  );
  const unequal = files.filter((file) => file !== equal && !doubles.includes(file));
  for (const file of [...doubles, ...unequal])
    await context.step("upload.delete", () => pipeline.provider.deleteFile(file.id, { signal }));
  return equal ?? null;
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
  if (error.kind === "refused" && error.refusal.about === "notReady") return afterNotReady(turn, error);
  const takenBack = await context.step("submit.takeBack", () =>
    batches.update(context.database, lease, { create_intent: false }),
  );
  if (!takenBack) return lost;
  if (error.kind === "refused") return refuse(turn, [error.refusal]);
  if (error.kind !== "notFound") throw error;
  const createdNow = batch.creates + 1;
  if (createdNow % CREATES_PER_FILE !== 0) return { next: "wait", delayMs: CREATE_PAUSE_MS };
  // The list may still show it: it would be taken for a good upload, again and again.
  await context.step("upload.delete", () => pipeline.provider.deleteFile(batch.inputFileId, { signal }));
  const counted = { ...turn, batch: { ...batch, creates: createdNow } };
  return uploadAnew(counted, `the provider does not find the input file: ${error.message}`);
}

async function afterNotReady(turn: Turn<BatchIn<"submitting">>, { message }: ProviderError): Promise<Next> {
  const { context, pipeline, batch, lease } = turn;
  if (batch.polls < READY_LOOKS_MAX) return waitUntilReady(turn, "submit.takeBack", { create_intent: false });
  const takenBack = await context.step("submit.takeBack", () =>
    batches.update(context.database, lease, { create_intent: false, polls: 0 }),
  );
  if (!takenBack) return lost;
  return pauseForProvider(
    turn,
    `${asSentence(message)} To try again: rowmill resume ${pipeline.config.name}`,
  );
}

/** Back to the upload, with no file and no create outstanding. */
export async function uploadAnew(turn: Turn<BatchIn<"submitting">>, reason: string): Promise<Next> {
  const { pipeline, batch } = turn;
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
  const why = `The provider was asked ${batch.creates} times to create batch ${batch.id}, and it never came to be: ${asSentence(reason)} When the provider is well again: rowmill resume ${pipeline.config.name}`;
  return pauseForProvider(turn, why);
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
  if ((await learnedLimits(context.read, batch.account, batch.model)).sizeGuesses > 0)
    await context.step("refuse.learn", () => raiseGuess(context.database, batch));
  context.log.info(
    { pipeline: batch.pipeline, batch: batch.id, providerBatch: found.id, requests: batch.lines },
    "batch submitted",
  );
  await context.step("clean.spool", () => removeSpool(context.spoolFolder, batch.id));
  return again;
}
