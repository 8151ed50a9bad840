/**
 * submitting, with a create that may have taken effect: asks the provider what became of it. By the input file first, then by
 * metadata. Only when the whole window passed in vain is another create made, and only after the input file of the first is
 * deleted: a create that still lingers somewhere then names a file that is not there, and costs nothing.
 */
import { judgeCreated } from "../model/created-batches.js";
import type { ProviderBatch } from "../model/former-provider.js";
import { holds, update } from "../store/batches.js";
import { recordStray, strayBatchIds } from "../store/money.js";
import * as pipelines from "../store/pipelines.js";
import { cancelStrays } from "./astray.js";
import { listSince } from "./provider-clock.js";
import { adopt, uploadAnew } from "./submitter.js";
import { withdraw } from "./withdraw.js";
import { lost, type BatchIn, type Next, type Turn } from "./turn.js";

const LOOK_PAUSE_MS = 5_000;
/** Looks after the window at a list that has an entry which nobody can attribute, before a person is asked. */
const UNTOLD_LOOKS_MAX = 10;
/** Stands in `polls`: a person was asked whether the batch is at the provider, and resumed. */
const ASKED = 100;

export async function reconcile(turn: Turn<BatchIn<"submitting">>): Promise<Next> {
  const { context, pipeline, batch, signal } = turn;
  // From the intent: its call may have taken effect at its very end, and shows within the configured window after that.
  const { createMs } = pipeline.provider;
  const windowMs = pipeline.config.reconcile.windowMs + createMs;
  const ageMs = batch.createIntentAgoMs ?? windowMs;
  const mayAppear = ageMs < windowMs;
  const found = await findCreated(turn, { mayAppear });
  if (found === "lost") return lost;
  if (found !== null && "id" in found)
    return adopt(turn, found, "found at the provider after its reply was lost");
  if (found !== null && !mayAppear && batch.polls < ASKED) return askWhose(turn, found.untold);
  if (mayAppear) return { next: "wait", delayMs: Math.min(LOOK_PAUSE_MS, windowMs - ageMs) };
  if (batch.shared) return withdraw(turn, "it was not found, and its file belongs to another database too");
  await context.step("reconcile.fence", () => pipeline.provider.deleteFile(batch.inputFileId, { signal }));
  // A create of a file that is deleted makes nothing that runs.
  const late = await findCreated(turn, { mayAppear: false });
  if (late === "lost") return lost;
  if (late !== null && "id" in late)
    return adopt(turn, late, "found at the provider after its input file was deleted");
  const looked = `${windowMs - createMs} ms and the ${createMs} ms of its call`;
  return uploadAnew(turn, `no batch was found within ${looked}; its input file was deleted`);
}

/** An entry of the list that may be the batch: that it is not found proves nothing. */
interface Untold {
  readonly untold: string;
}

/** With the pause it is written that a person was asked: the next look, after a resume, takes the batch for not created. */
async function askWhose({ context, pipeline, batch, lease }: Turn, entry: string): Promise<Next> {
  const failures = batch.failures + 1;
  if (failures < UNTOLD_LOOKS_MAX) return { next: "wait", delayMs: LOOK_PAUSE_MS, failures };
  const reason = `The reply to the creation of batch ${batch.id} was lost, and the provider's list has ${entry}: it may be this batch. It was looked for ${UNTOLD_LOOKS_MAX} times. If the provider does not have it, to create it again: rowmill resume ${pipeline.config.name}`;
  await context.step("turn.pause", () =>
    context.database.transaction(async (tx) => {
      await pipelines.lock(tx, pipeline.id);
      if (!(await holds(tx, lease))) return;
      if (await pipelines.pause(tx, pipeline.id, { kind: "provider", reason }))
        await update(tx, lease, { polls: ASKED });
    }),
  );
  return { next: "wait", delayMs: LOOK_PAUSE_MS };
}

/**
 * The batch that this intent made, if any; second ones beside it are recorded and cancelled, unless the ledger is a copy, whose original
 * judges them. "lost": another worker has the batch by now, and does.
 */
async function findCreated(
  turn: Turn<BatchIn<"submitting">>,
  { mayAppear }: { mayAppear: boolean },
): Promise<ProviderBatch | Untold | "lost" | null> {
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
  if (right === null && untold[0] !== undefined) return { untold: untold[0] };
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
