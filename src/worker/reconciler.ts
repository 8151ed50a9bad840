/**
 * submitting, with a create that may have taken effect: asks the provider what became of it. By the input file first, then by
 * metadata. Only when the whole window passed in vain is another create made, and only after the input file of the first is
 * deleted: a create that still lingers somewhere then names a file that is not there, and costs nothing.
 */
import { judgeCreated } from "../model/created-batches.js";
import { ProviderError, type ProviderBatch } from "../providers/provider.js";
import { holds } from "../store/batches.js";
import { recordStray, strayBatchIds } from "../store/money.js";
import { cancelStrays } from "./astray.js";
import { listSince } from "./provider-clock.js";
import { adopt, uploadAnew } from "./submitter.js";
import { withdraw } from "./withdraw.js";
import { lost, type BatchIn, type Next, type Turn } from "./turn.js";

const LOOK_PAUSE_MS = 5_000;

export async function reconcile(turn: Turn<BatchIn<"submitting">>): Promise<Next> {
  const { context, pipeline, batch, signal } = turn;
  // From the intent: its call may have taken effect at its very end, and shows within the configured window after that.
  const { createMs } = pipeline.provider;
  const windowMs = pipeline.config.reconcile.windowMs + createMs;
  const ageMs = batch.createIntentAgoMs ?? windowMs;
  const mayAppear = ageMs < windowMs;
  const found = await findCreated(turn, { mayAppear });
  if (found === "lost") return lost;
  if (found !== null) return adopt(turn, found, "found at the provider after its reply was lost");
  if (mayAppear) return { next: "wait", delayMs: Math.min(LOOK_PAUSE_MS, windowMs - ageMs) };
  if (batch.shared) return withdraw(turn, "it was not found, and its file belongs to another database too");
  await context.step("reconcile.fence", () => pipeline.provider.deleteFile(batch.inputFileId, { signal }));
  // A create of a file that is deleted makes nothing that runs.
  const late = await findCreated(turn, { mayAppear: false });
  if (late === "lost") return lost;
  if (late !== null) return adopt(turn, late, "found at the provider after its input file was deleted");
  const looked = `${windowMs - createMs} ms and the ${createMs} ms of its call`;
  return uploadAnew(turn, `no batch was found within ${looked}; its input file was deleted`);
}

/**
 * The batch that this intent made, if any; second ones beside it are recorded and cancelled, unless the ledger is a copy, whose original
 * judges them. "lost": another worker has the batch by now, and does.
 */
async function findCreated(
  turn: Turn<BatchIn<"submitting">>,
  { mayAppear }: { mayAppear: boolean },
): Promise<ProviderBatch | "lost" | null> {
  const { context, pipeline, batch, signal } = turn;
  const { inputFileId } = batch;
  const since = listSince(pipeline.provider, (batch.createIntentAgoMs ?? 0) / 1_000);
  const ours = (candidate: ProviderBatch) =>
    candidate.inputFileId === inputFileId || candidate.metadata["rowmill_batch"] === batch.id;
  const { found: listed, untold } = await context.step("reconcile.look", () =>
    pipeline.provider.findBatches(since, ours, { signal }),
  );
  const known = await strayBatchIds(context.read, batch.id);
  const { right, seconds } = judgeCreated(listed, { inputFileId, seconds: known, mayAppear });
  if (right === null && !mayAppear && untold.length > 0)
    throw new ProviderError(
      "retryable",
      `The provider's list of batches has ${untold[0]}: it may be the one that was created for batch ${batch.id}, which is therefore not created again. To give the batch up: rowmill cancel --abandon ${batch.id}`,
    );
  if (batch.shared) return right;
  for (const second of seconds) if (!(await noteStray(turn, second))) return "lost";
  // Also what a former turn recorded, and failed before it could cancel.
  await cancelStrays(context, pipeline.provider, { batchId: batch.id, signal });
  return right;
}

/** False: the lease has ended. */
async function noteStray({ context, batch, lease }: Turn, stray: ProviderBatch): Promise<boolean> {
  const noted = await context.step("reconcile.stray", () =>
    context.database.transaction(async (tx) => {
      if (!(await holds(tx, lease))) return false;
      await recordStray(tx, {
        account: batch.account,
        providerBatchId: stray.id,
        batchId: batch.id,
        reason: "a second batch was created for the same requests",
        reservedNanoUsd: batch.reservedNanoUsd,
      });
      return true;
    }),
  );
  if (!noted) return false;
  context.log.warn(
    { batch: batch.id, providerBatch: stray.id },
    "a second batch was created for the same requests; cancelling it",
  );
  return true;
}
