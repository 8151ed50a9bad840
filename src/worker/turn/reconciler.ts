/**
 * submitting, with a create that may have taken effect: asks the provider what became of it. What proves itself by our names or its input
 * is taken at once. Only when the whole window passed in vain is another create made, and only after what was staged for the first is
 * removed: a create that still lingers somewhere then names nothing, and costs nothing.
 *
 * Where only circumstance hints (time, number of requests), a candidate is *presumed*: polled like any other batch, never cancelled, and
 * believed once its own results name our requests (`refute` otherwise). The ledger sees to it that one such create is open in an account.
 */
import { judgeCreated } from "../../model/batch/created-batches.js";
import type { CreatedBatch, FoundBatches, ProviderBatch } from "../../model/provider/provider.js";
import * as batches from "../../store/batches/batches.js";
import type { BatchMoveRequest } from "../../store/batches/batches.js";
import * as createIntents from "../../store/batches/create-intents.js";
import * as duplicates from "../../store/batches/duplicates.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { createIntent } from "./create-intent.js";
import { cancelDuplicates } from "../rounds/duplicates.js";
import { moveBatch } from "./move-batch.js";
import { listSince, listUntil } from "../rounds/provider-clock.js";
import { adopt, fence, isByCircumstance, uploadAnew } from "./submitter.js";
import { AGAIN, LOST, type BatchIn, type Next, type Turn } from "./turn.js";
import { withdraw } from "./withdraw.js";

const LOOK_PAUSE_MS = 5_000;
/** While another create of the account is open, perhaps until a person decides: results are read again each time. */
const REFUTE_PAUSE_MS = 30_000;
/** Looks after the window at a list that has an entry which nobody can attribute, before a person is asked. */
const UNTOLD_LOOKS_MAX = 10;

type Submitting = Turn<BatchIn<"submitting">>;

export async function reconcile(turn: Submitting): Promise<Next> {
  const { pipeline, batch } = turn;
  // From the intent: its call may have taken effect at its very end, and shows within the configured window after that.
  const { createMs } = pipeline.provider;
  const windowMs = pipeline.config.reconcile.windowMs + createMs;
  const ageMs = batch.createIntentAgoMs ?? windowMs;
  const mayAppear = ageMs < windowMs;
  const found = await findCreated(turn, { mayAppear });
  if (found === "lost") return LOST;
  if (found.right !== null)
    return adopt(turn, found.right, { reason: "found at the provider after its reply was lost" });
  const [presumed] = await candidates(turn, found, { mayAppear });
  if (presumed !== undefined) return presume(turn, presumed);
  if (!mayAppear && !batch.told) {
    const [doubt] = found.doubts;
    if (doubt !== undefined) return askWhose(turn, doubt);
    if (isByCircumstance(turn) && unknownMeans(turn) === "ask") return askWhether(turn);
  }
  if (mayAppear) return { next: "wait", delayMs: Math.min(LOOK_PAUSE_MS, windowMs - ageMs) };
  if (batch.shared) return withdraw(turn, "it was not found, and its file belongs to another database too");
  const looked = `${windowMs - createMs} ms and the ${createMs} ms of its call`;
  if (pipeline.provider.staging === null) return uploadAnew(turn, `no batch was found within ${looked}`);
  await fence("reconcile.fence", turn);
  // A create of input that is removed makes nothing that runs.
  const late = await findCreated(turn, { mayAppear: false });
  if (late === "lost") return LOST;
  if (late.right !== null)
    return adopt(turn, late.right, { reason: "found at the provider after its input file was deleted" });
  return uploadAnew(turn, `no batch was found within ${looked}; its input file was deleted`);
}

/** What the config says of a create that circumstance does not find; by default a workspace counts as shared unless it is said to be our own. */
function unknownMeans({ pipeline }: Submitting): "again" | "ask" {
  return pipeline.config.reconcile.unknown ?? (pipeline.provider.recovery.exclusive ? "again" : "ask");
}

/** With the pause it is written that a person was asked: the next look, after a resume, takes the batch for not created. */
async function ask({ context, pipeline, lease }: Submitting, reason: string): Promise<Next> {
  await context.step("turn.pause", () =>
    context.database.transaction(async (tx) => {
      await pipelines.lock(tx, pipeline.id);
      if (!(await batches.holds(tx, lease))) return;
      if (await pipelines.pause(tx, pipeline.id, { kind: "provider", reason }))
        await batches.update(tx, lease, { told: true });
    }),
  );
  return { next: "wait", delayMs: LOOK_PAUSE_MS };
}

/** An entry of the list may be the batch: that it is not found proves nothing. */
function askWhose(turn: Submitting, entry: string): Promise<Next> | Next {
  const { batch, pipeline } = turn;
  const failures = batch.failures + 1;
  if (failures < UNTOLD_LOOKS_MAX) return { next: "wait", delayMs: LOOK_PAUSE_MS, failures };
  const reason = `The reply to the creation of batch ${batch.id} was lost, and the provider's list has ${entry}: it may be this batch. It was looked for ${UNTOLD_LOOKS_MAX} times. If the provider does not have it, to create it again: rowmill resume ${pipeline.config.name}`;
  return ask(turn, reason);
}

function askWhether(turn: Submitting): Promise<Next> {
  const { batch, pipeline } = turn;
  const reason = `The reply to the creation of batch ${batch.id} (${batch.lines} requests) was lost, and the provider's list shows none that can be it. Others may use this account, so it is not created again unasked. If the provider does not have it, to create it again: rowmill resume ${pipeline.config.name}`;
  return ask(turn, reason);
}

interface Found {
  readonly right: CreatedBatch | null;
  readonly possible: readonly ProviderBatch[];
  readonly doubts: readonly string[];
}

/**
 * The batch that this intent made, if any; duplicates beside it are recorded and cancelled, unless the ledger is a copy, whose original
 * judges them. "lost": another worker has the batch by now, and does.
 */
async function findCreated(turn: Submitting, { mayAppear }: { mayAppear: boolean }): Promise<Found | "lost"> {
  const { context, pipeline, batch, signal } = turn;
  const since = listSince(pipeline.provider, (batch.createIntentAgoMs ?? 0) / 1_000);
  const intent = await createIntent(turn);
  const found: FoundBatches = await context.step("reconcile.look", () =>
    pipeline.provider.find(intent, since, { signal }),
  );
  const known = await duplicates.duplicateIdsOf(context.read, batch.id);
  const { right, seconds } = judgeCreated(found.certain, { seconds: known, mayAppear });
  const looked = { right, possible: found.possible, doubts: right === null ? found.doubts : [] };
  if (batch.shared || looked.doubts.length > 0) return looked;
  for (const second of seconds) if (!(await noteDuplicate(turn, second))) return "lost";
  // Also what a former turn recorded, and failed before it could cancel.
  await cancelDuplicates(context, pipeline.provider, { batchId: batch.id, signal });
  return looked;
}

/** False: the lease has ended. */
async function noteDuplicate({ context, batch, lease }: Turn, duplicate: ProviderBatch): Promise<boolean> {
  const noted = await context.step("reconcile.duplicate", () =>
    context.database.transaction(async (tx) => {
      if (!(await batches.holds(tx, lease))) return false;
      await duplicates.recordDuplicate(tx, {
        account: batch.account,
        providerBatchId: duplicate.id,
        batchId: batch.id,
        reason: "a second batch was created for the same requests",
        reservedNanoUsd: batch.reservedNanoUsd,
        certain: true,
      });
      return true;
    }),
  );
  if (!noted) return false;
  context.log.warn(
    { batch: batch.id, providerBatch: duplicate.id },
    "a second batch was created for the same requests; cancelling it",
  );
  return true;
}

/** Those of its time that are no other batch of the ledger, nor were seen to be others. While more may appear a single one is taken only where nobody else creates any. */
async function candidates(
  { context, pipeline, batch }: Submitting,
  { possible }: Found,
  { mayAppear }: { mayAppear: boolean },
): Promise<readonly ProviderBatch[]> {
  if (possible.length === 0 || (mayAppear && !pipeline.provider.recovery.exclusive)) return [];
  const ids = possible.map(({ id }) => id);
  const taken = await duplicates.knownProviderBatches(context.read, batch.account, { ids, certain: true });
  const until = listUntil(pipeline.provider, (batch.createIntentAgoMs ?? 0) / 1_000);
  const open = possible.filter(
    ({ id, createdAt }) =>
      id !== "" && !taken.has(id) && !batch.data.refuted.includes(id) && !((createdAt ?? 0) > until),
  );
  return mayAppear && open.length > 1 ? [] : open;
}

function presume(turn: Submitting, candidate: ProviderBatch): Promise<Next> {
  turn.context.log.warn(
    { batch: turn.batch.id, providerBatch: candidate.id },
    "a batch of the same time and number of requests is taken for ours until its results tell",
  );
  const reason = "a batch of the same time and number of requests was found after its reply was lost";
  return adopt(turn, candidate, { reason, presumed: true });
}

/** What was presumed is another batch: it is left alone, and ours is looked for again. */
export async function refute(
  turn: Turn<BatchIn<"running"> | BatchIn<"collecting">>,
  why: string,
): Promise<Next> {
  const { batch } = turn;
  const refuted = [...batch.data.refuted, batch.providerBatchId];
  const move: BatchMoveRequest = {
    batch,
    event: "refuted",
    reason: `${batch.providerBatchId} is another batch: ${why}`,
    fields: {
      providerBatchId: null,
      providerStatus: null,
      providerCounts: null,
      providerData: { refs: null, refuted },
      presumed: false,
      createIntent: "still",
    },
  };
  try {
    return (await moveBatch("reconcile.refute", turn, move)) ? AGAIN : LOST;
  } catch (error) {
    // Its create is open again, and one may be: the other one's first.
    if (createIntents.isTaken(error)) return { next: "wait", delayMs: REFUTE_PAUSE_MS };
    throw error;
  }
}
