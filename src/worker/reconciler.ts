/**
 * submitting, with a create that may have taken effect: asks the provider what became of it. By the input file first, then by
 * metadata. Only when the whole window passed in vain is another create made, and only after the input file of the first is
 * deleted: a create that still lingers somewhere then names a file that is not there, and costs nothing.
 */
import type { ProviderBatch } from "../providers/provider.js";
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
  const windowMs = pipeline.config.reconcile.windowMs + pipeline.provider.createMs;
  const ageMs = batch.createIntentAgoMs ?? windowMs;
  const found = await findCreated(turn);
  if (found === "lost") return lost;
  if (found !== null && !(ageMs < windowMs && isDoubtful(batch, found)))
    return adopt(turn, found, "found at the provider after its reply was lost");
  if (ageMs < windowMs) return { next: "wait", delayMs: Math.min(LOOK_PAUSE_MS, windowMs - ageMs) };
  if (batch.shared) return withdraw(turn, "it was not found, and its file belongs to another database too");
  await context.step("reconcile.fence", () => pipeline.provider.deleteFile(batch.inputFileId, { signal }));
  const late = await findCreated(turn);
  if (late === "lost") return lost;
  if (late !== null) return adopt(turn, late, "found at the provider after its input file was deleted");
  return uploadAnew(turn, `no batch was found within ${windowMs} ms; its input file was deleted`);
}

/** By a create of a file that is deleted, and not validated yet: it will fail, and the one of the present file may not be listed yet. */
function isDoubtful(batch: BatchIn<"submitting">, candidate: ProviderBatch): boolean {
  return candidate.inputFileId !== batch.inputFileId && candidate.status === "validating";
}

/**
 * The batch that this intent made, if any. Of several the smallest (created_at, id) stays; the others are cancelled and recorded.
 * "lost": another worker has the batch by now, and judges them.
 */
async function findCreated(turn: Turn<BatchIn<"submitting">>): Promise<ProviderBatch | "lost" | null> {
  const { context, pipeline, batch, signal } = turn;
  const since = listSince(pipeline.provider, (batch.createIntentAgoMs ?? 0) / 1_000);
  const ours = (candidate: ProviderBatch) =>
    candidate.inputFileId === batch.inputFileId || candidate.metadata["rowmill_batch"] === batch.id;
  const found = await context.step("reconcile.look", () =>
    pipeline.provider.findBatches(since, ours, { signal }),
  );
  const known = await strayBatchIds(context.read, batch.id);
  const [first, ...others] = found
    .filter((candidate) => !known.has(candidate.id) && mayBeOurs(batch, candidate))
    .sort((a, b) => rank(batch, a) - rank(batch, b) || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  if (batch.shared) return first ?? null;
  // One that failed ran nothing: there is nothing to cancel, nor to count.
  for (const other of others.filter(({ status }) => status !== "failed"))
    if (!(await noteStray(turn, other))) return "lost";
  // Also what a former turn recorded, and failed before it could cancel.
  await cancelStrays(context, pipeline.provider, { batchId: batch.id, signal });
  return first ?? null;
}

/** A late create of a file that was deleted before: it ran nothing, and says nothing of the present one. */
function mayBeOurs(batch: BatchIn<"submitting">, candidate: ProviderBatch): boolean {
  return candidate.inputFileId === batch.inputFileId || candidate.status !== "failed";
}

/** First those of the present input file: one that a former create made of a deleted file has failed, or will. */
function rank(batch: BatchIn<"submitting">, candidate: ProviderBatch): number {
  if (candidate.status === "failed") return 2;
  return candidate.inputFileId === batch.inputFileId ? 0 : 1;
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
