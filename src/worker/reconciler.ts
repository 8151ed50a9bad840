/**
 * submitting, with a create that may have taken effect: asks the provider what became of it. By the input file first, then by
 * metadata. Only when the whole window passed in vain is another create made, and only after the input file of the first is
 * deleted: a create that still lingers somewhere then names a file that is not there, and costs nothing.
 */
import type { ProviderBatch } from "../providers/provider.js";
import { recordStray, strayBatchIds } from "../store/money.js";
import { cancelStrays } from "./astray.js";
import { listSince } from "./provider-clock.js";
import { adopt, uploadAnew } from "./submitter.js";
import { withdraw } from "./withdraw.js";
import { type BatchIn, type Next, type Turn } from "./turn.js";

const LOOK_PAUSE_MS = 5_000;

export async function reconcile(turn: Turn<BatchIn<"submitting">>): Promise<Next> {
  const found = await findCreated(turn);
  if (found !== null) return adopt(turn, found, "found at the provider after its reply was lost");
  const windowMs = turn.pipeline.config.reconcile.windowMs;
  const ageMs = turn.batch.createIntentAgoMs ?? windowMs;
  if (ageMs < windowMs) return { next: "wait", delayMs: Math.min(LOOK_PAUSE_MS, windowMs - ageMs) };
  if (turn.batch.shared)
    return withdraw(turn, "it was not found, and its file belongs to another database too");
  const { pipeline, batch, signal } = turn;
  await turn.context.step("reconcile.fence", () =>
    pipeline.provider.deleteFile(batch.inputFileId, { signal }),
  );
  const late = await findCreated(turn);
  if (late !== null) return adopt(turn, late, "found at the provider after its input file was deleted");
  return uploadAnew(turn, `no batch was found within ${windowMs} ms; its input file was deleted`);
}

/** The batch that this intent made, if any. Of several the smallest (created_at, id) stays; the others are cancelled and recorded. */
async function findCreated(turn: Turn<BatchIn<"submitting">>): Promise<ProviderBatch | null> {
  const { context, pipeline, batch, signal } = turn;
  const since = listSince(pipeline.provider, (batch.createIntentAgoMs ?? 0) / 1_000);
  const ours = (candidate: ProviderBatch) =>
    candidate.inputFileId === batch.inputFileId || candidate.metadata["rowmill_batch"] === batch.id;
  const found = await context.step("reconcile.look", () =>
    pipeline.provider.findBatches(since, ours, { signal }),
  );
  const known = await strayBatchIds(context.read, batch.id);
  const [first, ...others] = found
    .filter((candidate) => !known.has(candidate.id))
    .sort((a, b) => rank(batch, a) - rank(batch, b) || a.createdAt - b.createdAt || (a.id < b.id ? -1 : 1));
  if (batch.shared) return first ?? null;
  // One that failed ran nothing: there is nothing to cancel, nor to count.
  for (const other of others.filter(({ status }) => status !== "failed")) await noteStray(turn, other);
  // Also what a former turn recorded, and failed before it could cancel.
  await cancelStrays(context, pipeline.provider, { batchId: batch.id, signal });
  return first ?? null;
}

/** First those of the present input file: one that a former create made of a deleted file has failed, or will. */
function rank(batch: BatchIn<"submitting">, candidate: ProviderBatch): number {
  if (candidate.status === "failed") return 2;
  return candidate.inputFileId === batch.inputFileId ? 0 : 1;
}

async function noteStray({ context, batch }: Turn, stray: ProviderBatch): Promise<void> {
  await context.step("reconcile.stray", () =>
    recordStray(context.database, {
      account: batch.account,
      providerBatchId: stray.id,
      batchId: batch.id,
      reason: "a second batch was created for the same requests",
      reservedNanoUsd: batch.reservedNanoUsd,
    }),
  );
  context.log.warn(
    { batch: batch.id, providerBatch: stray.id },
    "a second batch was created for the same requests; cancelling it",
  );
}
