/**
 * uploading → submitting → running: uploads the input and creates the provider's batch.
 *
 * The create costs money, and a lost reply looks like a failure. So its intent is durable before the POST; from then on
 * `reconciler.ts` only looks for the batch, until it is found or fenced off.
 */
import { asSentence } from "../../model/words/as-sentence.js";
import type { Json } from "../../model/pipeline.js";
import {
  ProviderError,
  type CreateIntent,
  type ProviderBatch,
  type SpoolFile,
  type Staged,
  type Staging,
} from "../../model/provider/provider.js";
import { backoffMs } from "../../model/batch/schedule.js";
import * as batches from "../../store/batches/batches.js";
import * as createIntents from "../../store/batches/create-intents.js";
import * as duplicates from "../../store/batches/duplicates.js";
import * as money from "../../store/batches/money.js";
import * as deployment from "../../store/ledger/deployment.js";
import { withdraw } from "./ending.js";
import { pause } from "../guard.js";
import { refuse } from "./refusal.js";
import { isWhole, removeSpool, spoolPath } from "../spool.js";
import { AGAIN, LOST, moveBatch, type BatchIn, type Next, type Turn } from "./turn.js";

/** At most this many creates per file: a file is sometimes not found for a moment after its upload. */
const CREATES_PER_FILE = 5;
/** Pause for attention after this many failed creates of one batch, and again after as many more. */
const CREATES_MAX = 10;
const CREATE_PAUSE_MS = 2_000;
/** Looks at an input file that the provider still works on; then the create itself has to tell. */
const READY_LOOKS_MAX = 30;
/** The same where the provider only says that it took the file: some never say more. */
const STAGED_LOOKS_MAX = 3;
const READY_PAUSE_MS = 2_000;
const READY_PAUSE_MAX_MS = 60_000;
/** The first look for a create that may have taken effect comes after this time. */
const FIRST_LOOK_MS = 1_000;
/** While another create of the account is open, and only circumstance can tell the two apart. */
const OPEN_CREATE_PAUSE_MS = 5_000;

/** Uploads the input, or takes the same input that a crashed worker uploaded. */
export async function upload(turn: Turn<BatchIn<"uploading">>): Promise<Next> {
  const { pipeline, batch } = turn;
  const { staging } = pipeline.provider;
  if (staging === null) return (await whyNotSent(turn)) ?? toCreate(turn, null, "its input goes with the create");
  if (batch.data.staged !== null) return lookAgain(turn, staging, batch.data.staged);
  const found = await findStaged(turn, staging);
  return found === null ? send(turn, staging) : staged(turn, found, "the input file was already there");
}

/** Null: the input may be sent. */
async function whyNotSent(turn: Turn<BatchIn<"uploading">>): Promise<Next | null> {
  const { context, batch } = turn;
  if (!(await isWhole(turn.context, spoolFile(turn), turn.lease))) {
    const reason = "the rendered file is not on this machine";
    const moved = await moveBatch("upload.move", turn, { batch, event: "spoolLost", reason });
    return moved ? AGAIN : LOST;
  }
  const { inputBytes } = await money.learnedLimits(context.read, batch.account, batch.model);
  const isTooLarge = inputBytes !== null && batch.spoolBytes > inputBytes && batch.lines > 1;
  return isTooLarge
    ? withdraw(turn, "it is larger than the provider's limit, which was learned after it was rendered")
    : null;
}

async function send(turn: Turn<BatchIn<"uploading">>, staging: Staging): Promise<Next> {
  const { context, signal } = turn;
  const held = await whyNotSent(turn);
  if (held !== null) return held;
  try {
    const sent = await context.step("upload.send", () => staging.send(spoolFile(turn), { signal }));
    return await staged(turn, sent, "the input file was uploaded");
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "refused") throw error;
    return refuse(turn, [error.refusal]);
  }
}

/** At input that was not ready before. Where the look fails there is no reason to wait: the create will tell. */
async function lookAgain(turn: Turn<BatchIn<"uploading">>, staging: Staging, ref: Json): Promise<Next> {
  const { context, signal } = turn;
  const seen = await context.step("upload.look", async () => {
    try {
      return await staging.inspect(ref, { signal });
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind === "account" || signal.aborted) throw error;
      return null;
    }
  });
  const reason = "the input file was uploaded and processed";
  return staged(turn, seen ?? { ref, readiness: "ready", details: null }, reason);
}

/** Moves on to the create as soon as the input may be ready. */
async function staged(
  turn: Turn<BatchIn<"uploading">>,
  { ref, readiness, details }: Staged,
  reason: string,
): Promise<Next> {
  const { context, pipeline, batch, lease } = turn;
  if (readiness === "failed") {
    const noted = await context.step("upload.wait", () =>
      batches.update(context.database, lease, { providerData: { staged: null }, polls: 0 }),
    );
    if (!noted) return LOST;
    const why =
      `The provider cannot use the input file of batch ${batch.id}: ${details ?? "it gives no reason"}. ` +
      `To upload it again: rowmill resume ${pipeline.config.name}`;
    return pauseForProvider(turn, why);
  }
  const looksMax = { ready: 0, staged: STAGED_LOOKS_MAX, pending: READY_LOOKS_MAX }[readiness];
  if (batch.polls < looksMax) return waitUntilReady(turn, "upload.wait", { providerData: { staged: ref } });
  return toCreate(turn, ref, reason);
}

async function toCreate(turn: Turn<BatchIn<"uploading">>, ref: Json | null, reason: string): Promise<Next> {
  const fields = { providerData: { staged: ref }, createIntent: false };
  const move = { batch: turn.batch, event: "uploaded", reason, fields } as const;
  return (await moveBatch("upload.move", turn, move)) ? AGAIN : LOST;
}

async function waitUntilReady(
  { context, batch, lease }: Turn,
  step: "upload.wait" | "submit.takeBack",
  fields: batches.BatchFields,
): Promise<Next> {
  const noted = await context.step(step, () =>
    batches.update(context.database, lease, { ...fields, polls: batch.polls + 1 }),
  );
  if (!noted) return LOST;
  const delayMs = Math.min(READY_PAUSE_MAX_MS, backoffMs(batch.polls, READY_PAUSE_MS, context.random()));
  return { next: "wait", delayMs };
}

async function pauseForProvider(turn: Turn, reason: string): Promise<Next> {
  await pause(turn, { kind: "provider", reason });
  return AGAIN;
}

/** The same input under this batch's name. Other files of that name are removed, so that none is sent by mistake. */
async function findStaged(turn: Turn<BatchIn<"uploading">>, staging: Staging): Promise<Staged | null> {
  const { context, signal } = turn;
  const { same, others } = await context.step("upload.look", () => staging.find(spoolFile(turn), { signal }));
  for (const ref of others) await context.step("upload.delete", () => staging.remove(ref, { signal }));
  return same;
}

/** Posts the create once, after committing its intent. An ambiguous ending is left to `reconciler.ts`. */
export async function create(turn: Turn<BatchIn<"submitting">>): Promise<Next> {
  const { context, pipeline, batch, signal } = turn;
  const { provider } = pipeline;
  if (provider.staging === null && !(await isWhole(turn.context, spoolFile(turn), turn.lease)))
    return uploadAgain(turn, "the rendered file is not on this machine");
  const isAlone = isByCircumstance(turn);
  // Before asking for the baseline: the other create may wait for your decision, and each baseline reads the list.
  if (isAlone && (await createIntents.isOtherOpen(context.read, batch.id)))
    return { next: "wait", delayMs: OPEN_CREATE_PAUSE_MS };
  const baseline = await askBaseline(turn);
  const intended = await context.step("submit.intent", () =>
    createIntents.intend(context.database, turn.lease, { baseline, alone: isAlone }),
  );
  if (intended === "lost") return LOST;
  if (intended === "taken") return { next: "wait", delayMs: OPEN_CREATE_PAUSE_MS };
  const intendedMs = performance.now();
  const intent = { ...(await createIntent(turn)), baseline };
  try {
    const created = await context.step("submit.create", () =>
      performance.now() - intendedMs < batches.LEASE_MS ? provider.create(intent, { signal }) : Promise.resolve(null),
    );
    if (created === null) return await tooLate(turn);
    if (created.id === "") throw new ProviderError("ambiguous", "the reply to the create names no batch");
    return await adopt(turn, created, { reason: "the provider took it" });
  } catch (error) {
    if (!(error instanceof ProviderError)) throw error;
    return afterFailedCreate(turn, error);
  }
}

async function askBaseline({ context, pipeline, signal }: Turn): Promise<Json | null> {
  const { provider } = pipeline;
  if (provider.baseline === null) return null;
  return context.step("submit.baseline", async () => provider.baseline?.({ signal }) ?? null);
}

/** This process stood still, and another worker may create the batch by now. Nothing was sent. */
async function tooLate(turn: Turn): Promise<Next> {
  return (await takeBack(turn)) ? AGAIN : LOST;
}

/** Ends the intent of a create that certainly had no effect. False: the lease is lost. */
function takeBack({ context, lease }: Turn, fields: batches.BatchFields = {}): Promise<boolean> {
  return context.step("submit.takeBack", () =>
    batches.update(context.database, lease, { ...fields, createIntent: false }),
  );
}

export function isByCircumstance({ pipeline }: Pick<Turn, "pipeline">): boolean {
  return pipeline.provider.recovery.find === "circumstance";
}

async function afterFailedCreate(turn: Turn<BatchIn<"submitting">>, error: ProviderError): Promise<Next> {
  const { context, batch } = turn;
  if (error.kind === "ambiguous") {
    context.log.warn({ batch: batch.id, err: error }, "the create may have taken effect; looking for it");
    return { next: "wait", delayMs: FIRST_LOOK_MS };
  }
  // Anything else certainly had no effect: the intent ends here, so that no worker looks for a batch that cannot exist.
  if (error.kind === "refused" && error.refusal.about === "notReady") return afterNotReady(turn, error);
  if (!(await takeBack(turn))) return LOST;
  if (error.kind === "refused") return refuse(turn, [error.refusal]);
  if (error.kind !== "notFound") throw error;
  const createdNow = batch.creates + 1;
  if (createdNow % CREATES_PER_FILE !== 0) return { next: "wait", delayMs: CREATE_PAUSE_MS };
  // Deleted, or the list may still show it, and it would be taken for a good upload again and again.
  await fence("upload.delete", turn);
  const counted = { ...turn, batch: { ...batch, creates: createdNow } };
  return uploadAgain(counted, `the provider does not find the input file: ${error.message}`);
}

async function afterNotReady(turn: Turn<BatchIn<"submitting">>, { message }: ProviderError): Promise<Next> {
  const { pipeline, batch } = turn;
  if (batch.polls < READY_LOOKS_MAX) return waitUntilReady(turn, "submit.takeBack", { createIntent: false });
  if (!(await takeBack(turn, { polls: 0 }))) return LOST;
  const retry = `To try again: rowmill resume ${pipeline.config.name}`;
  return pauseForProvider(turn, `${asSentence(message)} ${retry}`);
}

/** Removes the staged input, so that a create that takes effect late has no input and runs nothing. */
export async function fence(
  step: "upload.delete" | "reconcile.fence",
  { context, pipeline, batch, signal }: Turn<BatchIn<"submitting">>,
): Promise<void> {
  const { staging } = pipeline.provider;
  const { staged: ref } = batch.data;
  if (staging !== null && ref !== null) await context.step(step, () => staging.remove(ref, { signal }));
}

/** Back to the upload, with nothing staged and no create open. */
export async function uploadAgain(turn: Turn<BatchIn<"submitting">>, reason: string): Promise<Next> {
  const { pipeline, batch } = turn;
  const moved = await moveBatch("submit.uploadAgain", turn, {
    batch,
    event: "fenced",
    reason,
    fields: { providerData: { staged: null }, createIntent: false },
    // The possible cost of the lost create, if it is found later: the batch may then have nothing reserved.
    detail: { reservedNanoUsd: batch.reservedNanoUsd },
  });
  if (!moved) return LOST;
  if (batch.creates === 0 || batch.creates % CREATES_MAX !== 0) return AGAIN;
  const why =
    `Rowmill asked the provider ${batch.creates} times to create batch ${batch.id}, and the batch was never created: ` +
    `${asSentence(reason)} When the provider works again: rowmill resume ${pipeline.config.name}`;
  return pauseForProvider(turn, why);
}

/** Records the provider's batch as ours. `presumed`: by circumstance alone, until its results prove it. */
export async function adopt(
  turn: Turn<BatchIn<"submitting">>,
  found: ProviderBatch,
  { reason, presumed = false }: { reason: string; presumed?: boolean },
): Promise<Next> {
  const { context, batch, lease } = turn;
  const fields = {
    providerBatchId: found.id,
    providerStatus: found.statusText,
    providerData: { refs: found.refs },
    presumed,
  };
  const moved = await context.step("submit.record", () =>
    context.database.transaction(async (tx) => {
      // It may have been reported as a possible duplicate of another batch.
      await duplicates.forgetPossible(tx, { account: batch.account, providerBatchId: found.id });
      return batches.move(tx, lease, { batch, event: "created", reason, fields });
    }),
  );
  if (!moved) return LOST;
  if ((await money.learnedLimits(context.read, batch.account, batch.model)).sizeGuesses > 0)
    await context.step("refuse.learn", () => money.raiseGuess(context.database, batch));
  context.log.info(
    { pipeline: batch.pipeline, batch: batch.id, providerBatch: found.id, requests: batch.lines },
    "batch submitted",
  );
  // A presumed batch may have to be sent after all.
  if (!presumed) await context.step("clean.spool", () => removeSpool(context.spoolFolder, batch.id));
  return AGAIN;
}

function spoolFile({ context, batch }: Turn<BatchIn<"uploading"> | BatchIn<"submitting">>): SpoolFile {
  const path = spoolPath(context.spoolFolder, batch.id);
  return { batchId: batch.id, path, bytes: batch.spoolBytes, sha256: batch.spoolSha256 };
}

/** What this batch's create is, was or will be, for the provider's adapter. */
export async function createIntent(turn: Turn<BatchIn<"submitting">>): Promise<CreateIntent> {
  const { context, pipeline, batch } = turn;
  const mark = {
    deployment: await deployment.deploymentId(context.read),
    batch: batch.id,
    pipeline: pipeline.config.name,
    definition: batch.definitionHash,
  };
  const { staged, baseline } = batch.data;
  return { mark, staged, baseline, spool: spoolFile(turn), requests: batch.lines, model: batch.model };
}
