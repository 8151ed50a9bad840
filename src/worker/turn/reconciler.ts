/**
 * submitting, with a create that may have taken effect: looks for it at the provider. A batch with our name or our
 * input is ours. Only after the whole window does another create follow, and only once the first one's input is
 * removed: if that create still takes effect, it has no input and costs nothing. Where only circumstance hints (time,
 * number of requests), a candidate is *presumed*: polled, never cancelled, believed once its results name our requests,
 * else refuted. The ledger allows one such open create per account.
 */
import { judgeCreated } from "../../model/batch/created-batches.js";
import type { CreatedBatch, FoundBatches, ProviderBatch } from "../../model/provider/provider.js";
import * as batches from "../../store/batches/batches.js";
import * as createIntents from "../../store/batches/create-intents.js";
import * as duplicates from "../../store/batches/duplicates.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { cancelDuplicates } from "../rounds/duplicates.js";
import { withdraw } from "./ending.js";
import { listSince, listUntil } from "../rounds/provider-clock.js";
import { adopt, createIntent, fence, isByCircumstance, uploadAgain } from "./submitter.js";
import { AGAIN, LOST, moveBatch, type BatchIn, type Next, type Turn } from "./turn.js";

const LOOK_PAUSE_MS = 5_000;
/** While another create of the account is open, perhaps until you decide: results are read again each time. */
const REFUTE_PAUSE_MS = 30_000;
/** Looks after the window at a list with an entry that no one can attribute, before the pipeline pauses. */
const UNTOLD_LOOKS_MAX = 10;

const DUPLICATE = "a duplicate was created for the same requests";

type Submitting = Turn<BatchIn<"submitting">>;

export async function reconcile(turn: Submitting): Promise<Next> {
  const { pipeline, batch } = turn;
  // The call may take effect at its very end, and shows within the configured window after that.
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
  if (batch.shared)
    return withdraw(turn, "it was not found, and its file also belongs to the other copy of this database");
  const looked = `${windowMs - createMs} ms and the ${createMs} ms of its call`;
  if (pipeline.provider.staging === null) return uploadAgain(turn, `no batch was found within ${looked}`);
  await fence("reconcile.fence", turn);
  // Without its input a create makes nothing that runs.
  const late = await findCreated(turn, { mayAppear: false });
  if (late === "lost") return LOST;
  if (late.right !== null)
    return adopt(turn, late.right, { reason: "found at the provider after its input file was deleted" });
  return uploadAgain(turn, `no batch was found within ${looked}; its input file was deleted`);
}

/** What to do about a create that circumstance does not find. By default an account counts as shared with others. */
function unknownMeans({ pipeline }: Submitting): "again" | "ask" {
  return pipeline.config.reconcile.unknown ?? (pipeline.provider.recovery.exclusive ? "again" : "ask");
}

/** After a resume, the next look takes the batch for not created. Until it can ask, it looks at the same pace. */
async function ask(turn: Submitting, reason: string): Promise<Next> {
  await pauseToAsk(turn, { reason, whileUnasked: null });
  return { next: "wait", delayMs: LOOK_PAUSE_MS };
}

interface Question {
  readonly reason: string;
  /** Recorded in the batch where the question could not be asked; null: nothing. */
  readonly whileUnasked: batches.BatchFields | null;
}

/**
 * Pauses and notes in the batch that you were asked: the next look after a resume acts on that. A pipeline has one
 * pause: under another one you do not see this question, so a resume does not answer it, and the next look asks again.
 */
export function pauseToAsk({ context, pipeline, lease }: Turn, { reason, whileUnasked }: Question): Promise<void> {
  return context.step("turn.pause", () =>
    context.database.transaction(async (tx) => {
      await pipelines.lock(tx, pipeline.id);
      if (!(await batches.holds(tx, lease))) return;
      const asked = await pipelines.pause(tx, pipeline.id, { kind: "provider", reason });
      const fields = asked ? { told: true } : whileUnasked;
      if (fields !== null) await batches.update(tx, lease, fields);
    }),
  );
}

/** An entry of the list may be the batch, so not finding it proves nothing. */
function askWhose(turn: Submitting, entry: string): Promise<Next> | Next {
  const { batch, pipeline } = turn;
  const failures = batch.failures + 1;
  if (failures < UNTOLD_LOOKS_MAX) return { next: "wait", delayMs: LOOK_PAUSE_MS, failures };
  const reason =
    `The reply to the create of batch ${batch.id} was lost, and the provider's list has ${entry}: ` +
    `it may be this batch. Rowmill looked ${UNTOLD_LOOKS_MAX} times. ` +
    `If the provider does not have the batch, create it again: rowmill resume ${pipeline.config.name}`;
  return ask(turn, reason);
}

function askWhether(turn: Submitting): Promise<Next> {
  const { batch, pipeline } = turn;
  const reason =
    `The reply to the create of batch ${batch.id} (${batch.lines} requests) was lost, ` +
    "and no batch in the provider's list can be it. " +
    "Others may use this account, so Rowmill asks before it creates the batch again. " +
    `If the provider does not have the batch, create it again: rowmill resume ${pipeline.config.name}`;
  return ask(turn, reason);
}

interface Found {
  readonly right: CreatedBatch | null;
  readonly possible: readonly ProviderBatch[];
  readonly doubts: readonly string[];
}

/**
 * The batch that this intent made, if any. Duplicates are recorded and cancelled, unless the ledger is a copy: then the
 * original judges them. "lost": another worker has the batch by now.
 */
async function findCreated(turn: Submitting, { mayAppear }: { mayAppear: boolean }): Promise<Found | "lost"> {
  const { context, pipeline, batch, signal } = turn;
  const since = listSince(pipeline.provider, (batch.createIntentAgoMs ?? 0) / 1_000);
  const intent = await createIntent(turn);
  const found: FoundBatches = await context.step("reconcile.look", () =>
    pipeline.provider.find(intent, since, { signal }),
  );
  const known = await duplicates.duplicateIdsOf(context.read, batch.id);
  const { right, duplicates: others } = judgeCreated(found.certain, { known, mayAppear });
  const looked = { right, possible: found.possible, doubts: right === null ? found.doubts : [] };
  if (batch.shared || looked.doubts.length > 0) return looked;
  for (const other of others) if (!(await noteDuplicate(turn, other))) return "lost";
  // Including those that an earlier turn recorded and could not cancel.
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
        reason: DUPLICATE,
        reservedNanoUsd: batch.reservedNanoUsd,
        certain: true,
      });
      return true;
    }),
  );
  if (!noted) return false;
  context.log.warn({ batch: batch.id, providerBatch: duplicate.id }, `${DUPLICATE}; cancelling it`);
  return true;
}

/**
 * Batches of its time that are no other batch of the ledger and were not refuted. While more may appear, a single one
 * counts only where no one else creates batches in the account.
 */
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
    "a batch with the same time and number of requests is presumed to be ours; its results will confirm it",
  );
  const reason = "a batch with the same time and number of requests was found after its reply was lost";
  return adopt(turn, candidate, { reason, presumed: true });
}

/** The presumed batch is another one: it is left alone, and ours is looked for again. */
export async function refute(turn: Turn<BatchIn<"running"> | BatchIn<"collecting">>, why: string): Promise<Next> {
  const { batch } = turn;
  const refuted = [...batch.data.refuted, batch.providerBatchId];
  const move: batches.BatchMoveRequest = {
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
    // This create would be open again, and another one in the account already is.
    if (createIntents.isTaken(error)) return { next: "wait", delayMs: REFUTE_PAUSE_MS };
    throw error;
  }
}
