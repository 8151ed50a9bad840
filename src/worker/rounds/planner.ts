/**
 * Turns waiting requests into a planned batch when it is due (threshold or deadline), approved, not paused, and has
 * money and tokens left. Batch, reservations and wake-up are one transaction: a crash leaves all of it or nothing.
 */
import { randomUUID } from "node:crypto";
import { budgetWords, dollars } from "../../model/provider/pricing.js";
import { reservation, roomFor, type NoRoom, type RoomFacts } from "../../model/batch/room.js";
import { decidePlanning, isFilling } from "../../model/batch/schedule.js";
import * as batches from "../../store/batches/batches.js";
import * as wake from "../../store/ledger/wake.js";
import type { Queryable } from "../../postgres/database.js";
import * as money from "../../store/batches/money.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as queue from "../../store/requests/queue.js";
import * as requests from "../../store/requests/requests.js";
import { approvalOf } from "./approval.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { requestBounds, type RequestBounds } from "./estimate.js";
import { fileLimits, requestsInFile, requestsMax, type FileLimits } from "./file-limits.js";
import { guarded, pauseWhenFailing } from "../guard.js";

/** Batches of one pipeline in one round; the next round makes more. */
const BATCHES_MAX = 20;

/** `approval`: the definition has to be approved first; `target`: the target has to be checked first. */
type PlanOutcome =
  | { readonly kind: "planned"; readonly batchId: string; readonly requests: number }
  | { readonly kind: "notDue" | "approval" | "target" };
const NOT_DUE: PlanOutcome = { kind: "notDue" };

export interface Flushing {
  /** Send all that waits, whatever the threshold. */
  readonly flush: boolean;
  /** The next round comes soon, so a flush may wait for rows that are being taken in. */
  readonly mayWait: boolean;
}

/** One round over every pipeline of this worker. Returns how many batches it made. */
export async function runPlanner(context: WorkerContext, flush: boolean): Promise<number> {
  let made = 0;
  for (const pipeline of context.pipelines.values())
    made += await planPipeline(context, pipeline, { flush, mayWait: false });
  return made;
}

/** Returns how many batches it made. */
export async function planPipeline(context: WorkerContext, pipeline: Pipeline, flushing: Flushing): Promise<number> {
  for (let made = 0; made < BATCHES_MAX; made++) {
    const outcome = await guarded(context, pipeline, () => planApproved(context, pipeline, flushing));
    if (outcome?.kind !== "planned") {
      await context.step("plan.clearFlush", () => pipelines.clearSpentFlush(context.database, pipeline.id));
      return made;
    }
    context.log.info(
      { pipeline: pipeline.config.name, batch: outcome.batchId, requests: outcome.requests },
      "batch planned",
    );
  }
  return BATCHES_MAX;
}

/** The first batch of a definition needs an approval: a cheap one is approved here, any other waits for you. */
async function planApproved(context: WorkerContext, pipeline: Pipeline, flushing: Flushing): Promise<PlanOutcome> {
  const outcome = await planOnce(context, pipeline, flushing);
  if (outcome.kind !== "approval") return outcome;
  const approval = await approvalOf(context, pipeline);
  return approval.kind === "cheap" ? planOnce(context, pipeline, flushing) : outcome;
}

async function planOnce(context: WorkerContext, pipeline: Pipeline, flushing: Flushing): Promise<PlanOutcome> {
  // Most rounds end here, without a lock or a row read; requests are counted again under the lock.
  const { ready } = await queue.readyFacts(context.read, pipeline.id);
  if (ready === 0) return NOT_DUE;
  const row = await pipelines.byId(context.read, pipeline.id);
  if (row?.pauseKind === "source") return NOT_DUE;
  const bounds = await requestBounds(context, pipeline, pipeline.rates);
  const plan = () =>
    context.step("plan.batch", () =>
      context.database.transaction((tx) => planInTransaction(context, tx, { ...flushing, pipeline, bounds })),
    );
  const outcome = await plan();
  if (outcome.kind !== "target") return outcome;
  await pipeline.checkTarget();
  return plan();
}

/** `ready`: counted up to the threshold. */
type Ready = Planning & { readonly ready: number };

interface Planning extends Flushing {
  readonly pipeline: Pipeline;
  readonly bounds: RequestBounds;
}

async function planInTransaction(context: WorkerContext, tx: Queryable, planning: Planning): Promise<PlanOutcome> {
  const { pipeline, flush, mayWait } = planning;
  const { config } = pipeline;
  const row = await pipelines.lock(tx, pipeline.id);
  if (!row || row.definitionHash !== pipeline.definitionHash || row.uninstalledAt) return NOT_DUE;
  if (row.pauseKind !== null && row.pauseKind !== "budget") return NOT_DUE;
  const { requestsMin } = pipeline.provider.limits;
  const facts = await exactEnough(tx, pipeline, Math.max(config.when.rows, requestsMin));
  const waits = mayWait && isFilling({ ...facts, requestsMax: requestsMax(pipeline) });
  const decision = decidePlanning({
    ...facts,
    rowsThreshold: config.when.rows,
    maxWaitMs: config.when.maxWaitMs,
    flush: (flush || row.flushAt !== null) && !waits,
  });
  if (!decision.plan || facts.ready < requestsMin) return NOT_DUE;
  if (row.approvedHash !== row.definitionHash) return { kind: "approval" };
  const room = await findRoom(context, tx, { ...planning, ready: facts.ready });
  if (room === null) return NOT_DUE;
  // The check takes a transaction of its own.
  if (!(await pipeline.isTargetChecked(tx))) return { kind: "target" };
  if (row.pauseKind === "budget") await pipelines.resume(tx, pipeline.id, "budget");
  return createBatch(context, tx, { ...planning, room, because: decision.because });
}

/** Queue entries without a waiting request are removed only where they could change the decision. */
async function exactEnough(tx: Queryable, { id }: Pipeline, needed: number): Promise<queue.ReadyFacts> {
  const facts = await queue.readyFacts(tx, id);
  const atLeast = facts.ready - facts.excess;
  if (facts.excess === 0 || (atLeast > 0 && (atLeast >= needed || facts.ready < needed))) return facts;
  await queue.tidy(tx, id);
  return queue.readyFacts(tx, id);
}

interface Room {
  readonly requests: number;
  /** At most this many that were never asked; null: no `limit`. */
  readonly newRequests: number | null;
  readonly nanoUsd: number;
  readonly tokens: number;
}

/** Reads what bounds the batch, decides, and pauses where waiting cannot make room. */
async function findRoom(context: WorkerContext, tx: Queryable, planning: Ready): Promise<Room | null> {
  const { pipeline } = planning;
  const { config, provider } = pipeline;
  const limits = await money.lockLimits(tx, provider.account, config.request.model);
  if (limits.waitMs > 0) return null;
  const file = fileLimits(pipeline, limits);
  // With a guessed size one file at a time until one passes: more would all be refused for the same reason.
  if (file.bytesGuess !== null && (await money.isSending(tx, pipeline.id, provider.account))) return null;
  const facts = await roomFacts(context, tx, { ...planning, file, tokensMax: limits.enqueuedTokens });
  const decision = roomFor(facts);
  if ("because" in decision) {
    await pauseWithoutHope(tx, planning, { facts, because: decision.because, limits });
    return null;
  }
  return {
    requests: decision.requests,
    newRequests: config.limit === null ? null : facts.fresh,
    tokens: facts.tokens.left,
    nanoUsd: facts.money.left,
  };
}

interface Bounded extends Ready {
  readonly file: FileLimits;
  /** Enqueued at once, by account and model; null: no limit is known. */
  readonly tokensMax: number | null;
}

interface Facts extends RoomFacts {
  readonly money: RoomFacts["money"] & { readonly spentNanoUsd: number };
}

async function roomFacts(
  context: WorkerContext,
  tx: Queryable,
  { pipeline, bounds, ready, file, tokensMax }: Bounded,
): Promise<Facts> {
  const { config, provider } = pipeline;
  const least = provider.limits.requestsMin;
  const fresh =
    config.limit === null ? Infinity : Math.max(0, config.limit - (await requests.countAsked(tx, pipeline.id)));
  const reserved = tokensMax === null ? 0 : await money.reservedTokens(tx, provider.account, config.request.model);
  return {
    least,
    ready,
    inFile: requestsInFile(file, bounds.bytesEach),
    fresh,
    again: fresh < least ? await pipelines.countWaitingAgain(tx, pipeline.id) : 0,
    tokens: { left: (tokensMax ?? Infinity) - reserved, each: bounds.tokensEach },
    money: { ...(await moneyLeft(context, tx, pipeline)), each: bounds.nanoUsdEach },
  };
}

/** In 1e-9 US dollars. Infinite without a budget. */
async function moneyLeft(
  context: WorkerContext,
  tx: Queryable,
  { id, config: { budget }, provider: { account } }: Pipeline,
): Promise<{ left: number; inFlight: boolean; spentNanoUsd: number }> {
  if (budget === null) return { left: Infinity, inFlight: false, spentNanoUsd: 0 };
  const spent = await money.spending(tx, id, { per: budget.per, runId: context.runId, account });
  return {
    left: budget.usd * 1e9 - spent.spentNanoUsd - spent.reservedNanoUsd,
    inFlight: spent.batchesInFlight > 0,
    spentNanoUsd: spent.spentNanoUsd,
  };
}

/** No pause where waiting helps: batches in flight give tokens and money back, and more rows come. */
async function pauseWithoutHope(
  tx: Queryable,
  planning: Planning,
  { facts, because, limits }: { facts: Facts; because: NoRoom; limits: money.LearnedLimits },
): Promise<void> {
  if (because === "tooFew") return pauseWhenNoneFits(tx, planning, facts.inFile);
  if (because === "noTokens") return pauseWhenHopeless(tx, planning, limits.enqueuedTokens ?? 0);
  if (because === "noMoney" && !facts.money.inFlight) return pauseWhenSpent(tx, planning, facts.money);
}

/** The provider takes only batches with more requests than fit into one. */
async function pauseWhenNoneFits(tx: Queryable, { pipeline }: Planning, most: number): Promise<void> {
  const { provider } = pipeline;
  const { name } = pipeline.config;
  await pipelines.pause(tx, pipeline.id, {
    kind: "provider",
    reason:
      `${provider.title} takes batches of at least ${provider.limits.requestsMin} requests, ` +
      `and at most ${most} of these fit into one, by pipelines.${name}.batch and by their size. ` +
      `Raise the limits there or shorten the request; then: rowmill resume ${name}`,
  });
}

/** In words: the fewest requests that a batch can have. */
function leastText({ provider }: Pipeline, one: string): string {
  const { requestsMin } = provider.limits;
  return requestsMin === 1 ? one : `the ${requestsMin} requests of the smallest batch`;
}

/** Waiting cannot help where the limit is below the smallest batch. */
async function pauseWhenHopeless(tx: Queryable, { pipeline, bounds }: Planning, limit: number): Promise<void> {
  const { requestsMin } = pipeline.provider.limits;
  const need = requestsMin * bounds.tokensEach;
  if (limit >= need) return;
  const { name, request } = pipeline.config;
  const needs = `${leastText(pipeline, "one request")} ${requestsMin === 1 ? "needs" : "need"} (${need})`;
  await pipelines.pause(tx, pipeline.id, {
    kind: "provider",
    reason:
      `The provider allows ${limit} enqueued tokens for ${request.model}, fewer than ${needs}. ` +
      `Shorten the request, choose another model, or raise the account's limit; then: rowmill resume ${name}`,
  });
}

/** Nothing is in flight that could give money back. */
async function pauseWhenSpent(
  tx: Queryable,
  { pipeline, bounds }: Planning,
  { left, spentNanoUsd }: Facts["money"],
): Promise<void> {
  const { name, budget } = pipeline.config;
  if (budget === null) return;
  const need = pipeline.provider.limits.requestsMin * bounds.nanoUsdEach;
  await pipelines.pause(tx, pipeline.id, {
    kind: "budget",
    reason:
      `The budget of ${budgetWords(budget)} is used up: ` +
      `${dollars(spentNanoUsd)} spent, ${dollars(Math.max(0, left))} left, ` +
      `and ${leastText(pipeline, "one more request")} may cost ${dollars(need)}. ${resumesText(name)}`,
  });
}

/** The end of a budget's pause reason. */
export function resumesText(pipeline: string): string {
  const now = `To resume now, raise pipelines.${pipeline}.budget.usd.`;
  return `Rowmill resumes automatically when the budget has room again. ${now}`;
}

async function createBatch(
  context: WorkerContext,
  tx: Queryable,
  planning: Planning & { room: Room; because: string },
): Promise<PlanOutcome> {
  const { pipeline, bounds, room } = planning;
  const no = await batches.nextNumber(tx);
  const count = await queue.giveToBatch(
    tx,
    { pipelineId: pipeline.id, batch: no },
    { max: room.requests, newMax: room.newRequests },
  );
  // By then every answer that returned one of these requests is visible, whichever worker collected it.
  if (count < Math.max(1, pipeline.provider.limits.requestsMin) || (await pauseWhenFailing(tx, pipeline))) {
    await queue.takeBack(tx, no);
    return NOT_DUE;
  }
  const batchId = randomUUID();
  await batches.insertPlanned(tx, {
    id: batchId,
    no,
    pipelineId: pipeline.id,
    definitionHash: pipeline.definitionHash,
    provider: pipeline.provider.name,
    account: pipeline.provider.account,
    model: pipeline.config.request.model,
    endpoint: pipeline.provider.endpoint,
    windowHours: pipeline.provider.limits.windowHours,
    rates: pipeline.rates,
    requests: count,
    reservedNanoUsd: reservation(count, { left: room.nanoUsd, each: bounds.nanoUsdEach }, bounds.nanoUsdMost),
    reservedTokens: reservation(count, { left: room.tokens, each: bounds.tokensEach }, bounds.tokensMost),
    runId: context.runId,
    because: planning.because,
  });
  await wake.schedule(tx, batchId, 0);
  return { kind: "planned", batchId, requests: count };
}
