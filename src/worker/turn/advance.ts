/**
 * One turn with one batch: takes its lease, does step after step as far as they go, and gives it back with the time of
 * the next look. A failure becomes a wait, or a pause that names its reason; a batch is never dropped.
 */
import { randomUUID } from "node:crypto";
import { asSentence } from "../../model/words/as-sentence.js";
import { decideTurn, type HoldReason, type TurnFacts, type TurnWork } from "../../model/batch/holding.js";
import { backoffMs } from "../../model/batch/schedule.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { heldText } from "../../model/provider/account.js";
import { ProviderError } from "../../model/provider/provider.js";
import * as batches from "../../store/batches/batches.js";
import type { Batch, Lease } from "../../store/batches/batches.js";
import { isConflict, isLastingRefusal } from "../../postgres/database.js";
import * as money from "../../store/batches/money.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as wake from "../../store/ledger/wake.js";
import * as understood from "../../store/ledger/understood.js";
import { lookOnce } from "../rounds/duplicates.js";
import { cancelAtProvider, dropQueued, withdrawCancelled } from "./canceller.js";
import { collect } from "./collect/collector.js";
import { ENDED_REMEMBERED_MAX, type WorkerContext } from "../context.js";
import { pause, pauseForTarget } from "../guard.js";
import { withdraw } from "./ending.js";
import { poll } from "./poller.js";
import { reconcile } from "./reconciler.js";
import { refuse } from "./refusal.js";
import { render } from "./renderer.js";
import { create, upload } from "./submitter.js";
import { DONE, type BatchIn, type Next, type Turn } from "./turn.js";

/** Moves in one turn; a batch needs six from plan to settlement. */
const MOVES_MAX = 12;
/** Between two looks at a batch that waits for a pause, an approval or another worker. */
const PAUSED_LOOK_MS = 5_000;
/** After a lock that another transaction holds: the first wait, and the longest. */
const CONFLICT_WAIT_MS = 300;
const CONFLICT_WAIT_MAX_MS = 30_000;
/** After a refusal for lack of room: what the provider has queued takes hours. No failure, and retried indefinitely. */
const CAPACITY_WAIT_MS = 1_800_000;
/** The longest wait that a provider may ask for. */
const ASKED_WAIT_MAX_MS = 86_400_000;
/** Failed turns in a row that pause the pipeline. */
const FAILURES_MAX = 20;
const LEASE_GRACE_MS = 500;
const TROUBLE_CHARACTERS_MAX = 1_000;

type Wait = Extract<Next, { next: "wait" }>;
type TurnEnd = { next: "done" } | { next: "lost" } | (Wait & { failures: number; cancel: batches.CancelWish | null });
const WAIT: Next = { next: "wait", delayMs: PAUSED_LOOK_MS };

/**
 * Does what is due for this batch. Repeatable, and safe from several workers at once: one of them gets the lease.
 * Returns the milliseconds until its next look; null: there is none, or another worker decides when.
 */
export async function advanceBatch(
  context: WorkerContext,
  batchId: string,
  signal: AbortSignal,
): Promise<number | null> {
  const lease: Lease = { batchId, token: randomUUID() };
  const batch = await context.step("turn.claim", () =>
    batches.claim(context.database, batchId, { token: lease.token, worker: context.workerId }),
  );
  if (batch === null) return lookLater(context, batchId);
  context.leases.hold(lease);
  try {
    const outcome = await runTurn(context, { batch, lease, signal });
    if (outcome.next === "lost")
      context.log.warn(
        { pipeline: batch.pipeline, batch: batchId, state: batch.state },
        "the lease ended before the work did; what was not written yet is done again",
      );
    if (outcome.next === "done") rememberEnded(context, batchId);
    if (outcome.next !== "wait") return null;
    const delayMs = await context.step("turn.release", () => batches.release(context.database, lease, outcome));
    await wakeIn(context, batchId, delayMs);
    return delayMs;
  } finally {
    context.leases.drop(lease);
  }
}

function rememberEnded({ memory: { endedBatches } }: WorkerContext, batchId: string): void {
  if (endedBatches.length >= ENDED_REMEMBERED_MAX) endedBatches.shift();
  endedBatches.push(batchId);
}

/** Another worker holds it: should that one die, this job is there when its lease ends. */
async function lookLater(context: WorkerContext, batchId: string): Promise<null> {
  const leftMs = await batches.leaseLeftMs(context.read, batchId);
  if (leftMs !== null) await wakeIn(context, batchId, leftMs + LEASE_GRACE_MS);
  return null;
}

function wakeIn(context: WorkerContext, batchId: string, delayMs: number): Promise<void> {
  return context.step("turn.wake", () => wake.schedule(context.database, batchId, delayMs));
}

async function runTurn(
  context: WorkerContext,
  start: { batch: Batch; lease: Lease; signal: AbortSignal },
): Promise<TurnEnd> {
  let batch: Batch | null = start.batch;
  for (let moves = 0; moves < MOVES_MAX && batch !== null; moves++) {
    const pipeline = context.pipelines.get(batch.pipelineId);
    // Another worker has this pipeline in its config.
    const { cancel }: Batch = batch;
    if (!pipeline) return { next: "wait", delayMs: PAUSED_LOOK_MS, failures: batch.failures, cancel };
    const turn: Turn = { context, pipeline, batch, lease: start.lease, signal: start.signal };
    const outcome = await act(turn).catch((error: unknown) => afterFailure(turn, error));
    if (outcome.next === "wait") return { ...outcome, failures: outcome.failures ?? 0, cancel };
    if (outcome.next !== "again") return { next: outcome.next };
    batch = await batches.get(context.read, start.lease.batchId);
  }
  return { next: "wait", delayMs: 0, failures: 0, cancel: batch?.cancel ?? null };
}

async function act(turn: Turn): Promise<Next> {
  const { context, pipeline, batch, signal } = turn;
  const row = await pipelines.byId(context.read, pipeline.id);
  if (row === null) return WAIT;
  const { work, comparesFirst, needsRoom } = decideTurn(factsOf(turn, row));
  if (comparesFirst && !(await lookOnce(context, pipeline.provider, signal))) return WAIT;
  if (needsRoom) {
    const { waitMs } = await money.learnedLimits(context.read, batch.account, batch.model);
    if (waitMs > 0) return { next: "wait", delayMs: waitMs, failures: batch.failures };
  }
  return WORKS[work](turn);
}

function factsOf({ batch, pipeline }: Turn, row: pipelines.PipelineRow): TurnFacts {
  const isOtherAccount = batch.account !== pipeline.provider.account;
  const holds: HoldReason[] = row.pauseKind === null ? [] : [row.pauseKind];
  if (row.definitionHash !== pipeline.definitionHash) holds.push("superseded");
  if (row.approvedHash !== row.definitionHash && !isOtherAccount) holds.push("unapproved");
  return {
    state: batch.state,
    isCreateOpen: batch.createIntentAgoMs !== null,
    isRefused: batch.refusal !== null,
    isShared: batch.shared,
    isOutdated: batch.definitionHash !== pipeline.definitionHash,
    isOtherAccount,
    isPresumed: batch.presumed,
    isCancelWanted: batch.cancel !== null,
    isDropWanted: batch.cancel?.drops === true,
    isCancelAsked: batch.cancel?.asked === true,
    holds,
  };
}

const WORKS: Readonly<Record<TurnWork, (turn: Turn) => Promise<Next> | Next>> = {
  done: () => DONE,
  wait: () => WAIT,
  waitForAccount,
  dropQueued: (turn) => dropQueued(inState(turn, "planned")),
  withdrawCancelled: (turn) => withdrawCancelled(inState(turn, "planned", "uploading", "submitting")),
  cancelAtProvider: (turn) => cancelAtProvider(inState(turn, "running")),
  withdrawOtherAccount: (turn) => {
    const { provider } = turn.pipeline;
    const accounts = [turn.batch.account, provider.account].map((account) => provider.accountText(account));
    return takeBack(turn, `it was planned for ${accounts[0]}; the pipeline now uses ${accounts[1]}`);
  },
  withdrawShared: (turn) => takeBack(turn, "it was planned before this database was copied; the other copy sends it"),
  withdrawOutdated: (turn) => takeBack(turn, "the definition changed before it was sent"),
  render: (turn) => render(inState(turn, "planned")),
  upload: (turn) => upload(inState(turn, "uploading")),
  create: (turn) => create(inState(turn, "submitting")),
  reconcile: (turn) => reconcile(inState(turn, "submitting")),
  refuse: (turn) => refuse(inState(turn, "uploading", "submitting"), turn.batch.refusal ?? []),
  poll: (turn) => poll(inState(turn, "running")),
  collect: (turn) => collect(inState(turn, "collecting")),
};

function inState<S extends Batch["state"]>(turn: Turn, ...states: readonly S[]): Turn<BatchIn<S>> {
  const isIn = (batch: Batch): batch is BatchIn<S> => states.some((state) => state === batch.state);
  const { batch } = turn;
  if (!isIn(batch)) throw new Error(`A batch that is ${batch.state} was taken for ${states.join(" or ")}.`);
  return { ...turn, batch };
}

function takeBack(turn: Turn, reason: string): Promise<Next> {
  return withdraw(inState(turn, "planned", "uploading", "submitting"), reason);
}

/** Warns at the first look by this worker's account. */
function waitForAccount({ context, pipeline, batch }: Turn): Next {
  const { provider } = pipeline;
  const heldFor = provider.account;
  if (batch.heldFor !== heldFor) {
    const held = { ...batch, presentAccount: heldFor };
    const { wrong, fixes } = heldText(held, { of: provider, present: provider });
    context.log.warn({ pipeline: batch.pipeline, batch: batch.id }, [wrong, ...fixes].join(" "));
  }
  return { next: "wait", delayMs: PAUSED_LOOK_MS, heldFor };
}

async function afterFailure(turn: Turn, error: unknown): Promise<Next> {
  const { context, pipeline, batch, signal } = turn;
  if (signal.aborted) return { next: "wait", delayMs: 0, failures: batch.failures };
  const failures = batch.failures + 1;
  const backoff = (baseMs: number) => backoffMs(batch.failures, baseMs, context.random());
  const trouble = thrownMessage(error).slice(0, TROUBLE_CHARACTERS_MAX);
  if (isConflict(error))
    return { next: "wait", delayMs: Math.min(CONFLICT_WAIT_MAX_MS, backoff(CONFLICT_WAIT_MS)), failures, trouble };
  const of = { pipeline: batch.pipeline, batch: batch.id, state: batch.state, failures };
  context.log.warn({ ...of, err: error }, "a try of a batch failed");
  const { minMs, maxMs } = pipeline.config.polling;
  const why = pauseFor(turn, error, failures);
  if (why !== null) {
    if (await pauseUnderstood(turn, why)) return { next: "wait", delayMs: PAUSED_LOOK_MS, failures: 0 };
    // Under another pause that lets this work continue, it fails each time.
    const delayMs = Math.max(PAUSED_LOOK_MS, Math.min(maxMs, backoff(minMs)));
    return { next: "wait", delayMs, failures, trouble };
  }
  const delayMs = backoff(minMs);
  if (!(error instanceof ProviderError)) return { next: "wait", delayMs, failures, trouble };
  const isFull = error.kind === "capacity";
  const askedMs = Math.max(retryAfterMs(error), isFull ? CAPACITY_WAIT_MS : 0);
  // For all unsent batches of this account and model: each would get the same reply.
  if (askedMs > 0 && isUnsent(batch))
    await context.step("refuse.learn", () =>
      money.learnWait(context.database, batch, { waitMs: askedMs, message: error.message }),
    );
  const counted = isFull ? batch.failures : failures;
  return { next: "wait", delayMs: Math.max(askedMs, delayMs), failures: counted, trouble };
}

function isUnsent({ state }: Batch): boolean {
  return state === "planned" || state === "uploading" || state === "submitting";
}

/** Anyone may have written the adapter: its number is checked. */
function retryAfterMs({ retryAfterMs: asked }: ProviderError): number {
  return Number.isFinite(asked) ? Math.min(asked ?? 0, ASKED_WAIT_MAX_MS) : 0;
}

/** False: another pause counts already, or a newer version changed the ledger, and its workers should not pause. */
async function pauseUnderstood(turn: Turn, why: pipelines.Pause): Promise<boolean> {
  if ((await understood.oldestVersion(turn.context.read)) > understood.LEDGER_VERSION) return false;
  return pause(turn, why);
}

/** The reason for a pause where waiting cannot help; null: it can. */
function pauseFor({ pipeline, batch }: Turn, error: unknown, failures: number): pipelines.Pause | null {
  const resume = `Then: rowmill resume ${pipeline.config.name}`;
  const said = asSentence(thrownMessage(error));
  switch (error instanceof ProviderError ? error.kind : null) {
    case "account":
      return { kind: "account", reason: `${said} Fix the key, organization, project or billing. ${resume}` };
    case "notFound":
      return {
        kind: "account",
        reason:
          `The provider does not find what batch ${batch.id} needs: ${said} ` +
          `Check that the key belongs to the project that submitted it. ${resume} ` +
          `To give the batch up: rowmill cancel --abandon ${batch.id}`,
      };
    case "refused":
    case "unsupported":
      return { kind: "provider", reason: `${said} Fix what it says. ${resume}` };
    default:
  }
  if (isLastingRefusal(error))
    return { kind: batch.state === "collecting" ? "target" : "source", reason: `${said} ${resume}` };
  const ofTarget = pauseForTarget(pipeline, error);
  if (ofTarget !== null || failures < FAILURES_MAX) return ofTarget;
  return {
    kind: "provider",
    reason: `Batch ${batch.id} failed ${failures} times while ${batch.state}: ${said} ${resume}`,
  };
}
