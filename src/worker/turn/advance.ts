/**
 * One turn with one batch: takes its lease, does step after step as far as they go, and gives it back with the time of the next
 * look. Whatever goes wrong in a step is turned into a wait, or into a pause that names its reason; a batch is never dropped.
 */
import { randomUUID } from "node:crypto";
import { asSentence } from "../../model/words/as-sentence.js";
import { isHeld, phaseOf, type HoldReason } from "../../model/batch/holding.js";
import { backoffMs } from "../../model/batch/schedule.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { heldText } from "../../model/provider/account.js";
import { ProviderError } from "../../model/provider/provider.js";
import * as batches from "../../store/batches/batches.js";
import type { Batch, Lease } from "../../store/batches/batches.js";
import { isConflict, isLastingRefusal } from "../../postgres/database.js";
import * as money from "../../store/batches/money.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { schedule } from "../../store/ledger/wake.js";
import * as understood from "../../store/ledger/understood.js";
import { lookOnce } from "../rounds/duplicates.js";
import { collect } from "./collect/collector.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { pauseForTarget } from "../guard.js";
import { poll } from "./poller.js";
import { reconcile } from "./reconciler.js";
import { refuse } from "./refusal.js";
import { render } from "./renderer.js";
import { create, upload } from "./submitter.js";
import { DONE, type BatchIn, type Next, type Turn } from "./turn.js";
import { withdraw } from "./withdraw.js";

/** Moves in one turn; a batch needs six from plan to settlement. */
const MOVES_MAX = 12;
/** A paused pipeline is looked at so often. */
const PAUSED_LOOK_MS = 5_000;
/** After a lock that somebody else holds: the first wait, and the longest. */
const CONFLICT_WAIT_MS = 300;
const CONFLICT_WAIT_MAX_MS = 30_000;
/** After a refusal for want of room: what is queued at the provider takes hours. Not a failure, and never given up. */
const CAPACITY_WAIT_MS = 1_800_000;
/** As long as any provider may make us wait. */
const ASKED_WAIT_MAX_MS = 86_400_000;
/** After so many failed turns in a row a person has to look. */
const FAILURES_MAX = 20;
const LEASE_GRACE_MS = 500;

/**
 * Runs what is due for this batch. Repeatable, and safe from several workers at once: one of them gets the lease. Returns when the batch
 * is looked at next, in milliseconds from now; null: never, or somebody else says when.
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
        "the lease ended before the work did: what it did in vain is done again",
      );
    if (outcome.next !== "wait") return null;
    const { delayMs } = outcome;
    await context.step("turn.release", () => batches.release(context.database, lease, outcome));
    await wake(context, batchId, delayMs);
    return delayMs;
  } finally {
    context.leases.drop(lease);
  }
}

/** Somebody else holds it: should that worker die, this job is there when its lease ends. */
async function lookLater(context: WorkerContext, batchId: string): Promise<null> {
  const leftMs = await batches.leaseLeftMs(context.read, batchId);
  if (leftMs !== null) await wake(context, batchId, leftMs + LEASE_GRACE_MS);
  return null;
}

function wake(context: WorkerContext, batchId: string, delayMs: number): Promise<void> {
  return context.step("turn.wake", () => schedule(context.database, batchId, delayMs));
}

function pause(context: WorkerContext, pipeline: Pipeline, why: pipelines.Pause): Promise<boolean> {
  return context.step("turn.pause", () => pipelines.pause(context.database, pipeline.id, why));
}

type Wait = Extract<Next, { next: "wait" }>;
type TurnEnd = { next: "done" } | { next: "lost" } | (Wait & { failures: number });

async function runTurn(
  context: WorkerContext,
  start: { batch: Batch; lease: Lease; signal: AbortSignal },
): Promise<TurnEnd> {
  let batch: Batch | null = start.batch;
  for (let moves = 0; moves < MOVES_MAX && batch !== null; moves++) {
    const pipeline = context.pipelines.get(batch.pipelineId);
    // Another worker has this pipeline in its config.
    if (!pipeline) return { next: "wait", delayMs: PAUSED_LOOK_MS, failures: batch.failures };
    const turn: Turn = { context, pipeline, batch, lease: start.lease, signal: start.signal };
    const outcome = await actOrExplain(turn);
    if (outcome.next === "wait") return { ...outcome, failures: outcome.failures ?? 0 };
    if (outcome.next !== "again") return { next: outcome.next };
    batch = await batches.get(context.read, start.lease.batchId);
  }
  return { next: "wait", delayMs: 0, failures: 0 };
}

async function actOrExplain(turn: Turn): Promise<Next> {
  try {
    const held = await heldBack(turn);
    return held ?? (await act(turn));
  } catch (error) {
    if (turn.signal.aborted) return { next: "wait", delayMs: 0, failures: turn.batch.failures };
    return explain(turn, error);
  }
}

/** A reason not to go on now: a pause, or another definition or account than this worker has. */
async function heldBack(turn: Turn): Promise<Next | null> {
  const { context, pipeline, batch, signal } = turn;
  const row = await pipelines.byId(context.read, pipeline.id);
  const phase = phaseOf(batch.state, batch.createIntentAgoMs !== null);
  const isForeign = batch.account !== pipeline.provider.account;
  const heldFor = isForeign && phase !== "unsent" ? { heldFor: pipeline.provider.account } : {};
  const wait: Next = { next: "wait", delayMs: PAUSED_LOOK_MS, ...heldFor };
  if (row === null) return wait;
  const reasons: HoldReason[] = row.pauseKind === null ? [] : [row.pauseKind];
  if (row.definitionHash !== pipeline.definitionHash) reasons.push("superseded");
  if (row.approvedHash !== row.definitionHash && !isForeign) reasons.push("unapproved");
  if (isHeld(phase, reasons)) return wait;
  if (isForeign) return ofOtherAccount(turn, wait);
  if (batch.state !== "uploading" && batch.state !== "submitting") return null;
  // Before anything is sent, or staged input removed.
  if (!(await lookOnce(context, pipeline.provider, signal))) return wait;
  if (phase !== "unsent" || batch.refusal !== null) return null;
  const { waitMs } = await money.learnedLimits(context.read, batch.account, batch.model);
  return waitMs === 0 ? null : { next: "wait", delayMs: waitMs, failures: batch.failures };
}

/** What is not sent goes back to the rows that wait, for the present account; what is sent waits for its own. */
async function ofOtherAccount(turn: Turn, wait: Wait): Promise<Next | null> {
  const { context, pipeline, batch } = turn;
  const { provider } = pipeline;
  const { account } = provider;
  if (wait.heldFor === undefined) {
    // That a provider refused it is known: its requests are ended without asking anybody.
    if (batch.state !== "planned" && batch.refusal !== null) return null;
    const reason = `it was planned for ${provider.accountText(batch.account)}; now ${provider.accountText(account)} is asked`;
    return isUnsent(batch) ? withdraw({ ...turn, batch }, reason) : wait;
  }
  if (batch.heldFor !== account) {
    const { wrong, mends } = heldText(
      { ...batch, presentAccount: account },
      { of: provider, present: provider },
    );
    context.log.warn({ pipeline: batch.pipeline, batch: batch.id }, [wrong, ...mends].join(" "));
  }
  return wait;
}

type Unsent = BatchIn<"planned"> | BatchIn<"uploading"> | BatchIn<"submitting">;

function isUnsent(batch: Batch): batch is Unsent {
  return batch.state === "planned" || batch.state === "uploading" || batch.state === "submitting";
}

function act(turn: Turn): Promise<Next> | Next {
  const { batch } = turn;
  if (
    batch.shared &&
    (batch.state === "uploading" || (batch.state === "submitting" && batch.createIntentAgoMs === null))
  )
    return withdraw(
      { ...turn, batch },
      "it was planned before this database was copied; the other one sends it",
    );
  if (isOutdated(turn) && (batch.state === "uploading" || batch.state === "submitting"))
    return withdraw({ ...turn, batch }, "the definition changed before it was sent");
  switch (batch.state) {
    case "planned":
      return render({ ...turn, batch });
    case "uploading":
      return batch.refusal === null ? upload({ ...turn, batch }) : refuse({ ...turn, batch }, batch.refusal);
    case "submitting":
      if (batch.refusal !== null) return refuse({ ...turn, batch }, batch.refusal);
      return batch.createIntentAgoMs === null ? create({ ...turn, batch }) : reconcile({ ...turn, batch });
    case "running":
      return poll({ ...turn, batch });
    case "collecting":
      return collect({ ...turn, batch });
    case "settled":
    case "rejected":
    case "cancelled":
      return DONE;
  }
}

/** Rendered from a former definition and certainly not sent: its answers would be thrown away. */
function isOutdated({ batch, pipeline }: Turn): boolean {
  return (
    batch.definitionHash !== pipeline.definitionHash &&
    batch.createIntentAgoMs === null &&
    batch.refusal === null
  );
}

async function explain(turn: Turn, error: unknown): Promise<Next> {
  const { context, pipeline, batch } = turn;
  const failures = batch.failures + 1;
  if (isConflict(error)) return { next: "wait", delayMs: conflictWaitMs(context, batch.failures), failures };
  context.log.warn(
    { pipeline: batch.pipeline, batch: batch.id, state: batch.state, err: error },
    "a turn failed",
  );
  const why = pauseFor(pipeline, batch, error, failures);
  if (why !== null) {
    // A column that a newer version renamed is no reason to pause for everybody.
    const isOurs = (await understood.oldestVersion(context.read)) <= understood.LEDGER_VERSION;
    if (isOurs && (await pause(context, pipeline, why)))
      return { next: "wait", delayMs: PAUSED_LOOK_MS, failures: 0 };
    // Under another pause, one that lets this work go on, it fails each time.
    const { minMs, maxMs } = pipeline.config.polling;
    const delayMs = Math.min(maxMs, backoffMs(batch.failures, minMs, context.random()));
    return { next: "wait", delayMs: Math.max(PAUSED_LOOK_MS, delayMs), failures };
  }
  const backoff = backoffMs(batch.failures, pipeline.config.polling.minMs, context.random());
  if (!(error instanceof ProviderError)) return { next: "wait", delayMs: backoff, failures };
  const isFull = error.kind === "capacity";
  // An adapter may be anybody's.
  const saidMs = Number.isFinite(error.retryAfterMs)
    ? Math.min(error.retryAfterMs ?? 0, ASKED_WAIT_MAX_MS)
    : 0;
  const askedMs = Math.max(saidMs, isFull ? CAPACITY_WAIT_MS : 0);
  // For every batch that is to be sent to this account and model: each would be told the same.
  if (askedMs > 0 && isUnsent(batch)) await waitForAccount(turn, askedMs, error.message);
  return { next: "wait", delayMs: Math.max(askedMs, backoff), failures: isFull ? batch.failures : failures };
}

function waitForAccount({ context, batch }: Turn, waitMs: number, message: string): Promise<void> {
  return context.step("refuse.learn", () => money.learnWait(context.database, batch, { waitMs, message }));
}

function conflictWaitMs(context: WorkerContext, failures: number): number {
  return Math.min(CONFLICT_WAIT_MAX_MS, backoffMs(failures, CONFLICT_WAIT_MS, context.random()));
}

/** When waiting cannot help: the reason for the person who has to act. */
function pauseFor(
  pipeline: Pipeline,
  batch: Batch,
  error: unknown,
  failures: number,
): pipelines.Pause | null {
  const resume = `Then: rowmill resume ${pipeline.config.name}`;
  if (error instanceof ProviderError && error.kind === "account")
    return {
      kind: "account",
      reason: `${asSentence(error.message)} Fix the key, organization, project or billing. ${resume}`,
    };
  if (error instanceof ProviderError && error.kind === "notFound") {
    return {
      kind: "account",
      reason: `The provider does not find what batch ${batch.id} needs: ${asSentence(error.message)} Check that the key belongs to the project that submitted it. ${resume} To give the batch up: rowmill cancel --abandon ${batch.id}`,
    };
  }
  if (error instanceof ProviderError && (error.kind === "refused" || error.kind === "unsupported"))
    return { kind: "provider", reason: `${asSentence(error.message)} Fix what it says. ${resume}` };
  if (isLastingRefusal(error)) {
    return {
      kind: batch.state === "collecting" ? "target" : "source",
      reason: `${asSentence(error.message)} ${resume}`,
    };
  }
  const ofTarget = pauseForTarget(pipeline, error);
  if (ofTarget !== null || failures < FAILURES_MAX) return ofTarget;
  return {
    kind: "provider",
    reason: `Batch ${batch.id} failed ${failures} times while ${batch.state}: ${asSentence(thrownMessage(error))} ${resume}`,
  };
}
