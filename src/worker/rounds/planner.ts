/**
 * Turns waiting requests into a planned batch: threshold or deadline, not paused, approved, money and token room left. Batch,
 * attempts, reservations and the wake-up are one transaction: a crash leaves all of it or nothing.
 */
import { randomUUID } from "node:crypto";
import { roomFor, type NoRoom, type RoomFacts } from "../../model/batch/room.js";
import { decidePlanning, isFilling } from "../../model/batch/schedule.js";
import { insertPlanned, nextNumber } from "../../store/batches/batches.js";
import * as wake from "../../store/ledger/wake.js";
import type { Queryable } from "../../postgres/database.js";
import {
  isSending,
  lockLimits,
  reservedTokens,
  spending,
  type LearnedLimits,
} from "../../store/batches/money.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import * as queue from "../../store/requests/queue.js";
import type { ReadyFacts } from "../../store/requests/queue.js";
import { countAsked } from "../../store/requests/requests.js";
import { approvalOf } from "./approval.js";
import type { Pipeline, WorkerContext } from "../context.js";
import { requestBounds, type RequestBounds } from "./estimate.js";
import { pauseWhenFailing } from "./failing-answers.js";
import { fileLimits, requestsMax, type FileLimits } from "./file-limits.js";
import { guarded } from "../guard.js";

/** Batches of one pipeline in one round; the next round makes more. */
const BATCHES_MAX = 20;
const RESERVE_SLACK = 1.25;

export type PlanOutcome =
  | { readonly planned: number; readonly batchId: string; readonly because?: never }
  /** Why not: for `--once`, `--until-idle` and the log. */
  | {
      readonly planned: 0;
      readonly batchId?: never;
      readonly because:
        | "nothing"
        | "waiting"
        | "paused"
        | "approval"
        | "superseded"
        | "limit"
        /** A batch of this provider has more requests. */
        | "tooFew"
        /** The provider asked to wait, or has no room. */
        | "capacity"
        | "noTokens"
        | "noMoney"
        | "target";
    };

/** What else than a threshold and a deadline sends what waits. */
export interface Flushing {
  /** All that waits, whatever the threshold. */
  readonly flush: boolean;
  /** There is a next round soon, so a flush may wait for rows that are being taken in. */
  readonly mayWait: boolean;
}

/** One round by itself: every pipeline of this worker, as many batches as are due. `flush`: all that waits, whatever the threshold. */
export async function runPlanner(context: WorkerContext, flush: boolean): Promise<number> {
  let batches = 0;
  for (const pipeline of context.pipelines.values())
    batches += await planPipeline(context, pipeline, { flush, mayWait: false });
  return batches;
}

/** Returns how many batches it made. */
export async function planPipeline(
  context: WorkerContext,
  pipeline: Pipeline,
  flushing: Flushing,
): Promise<number> {
  for (let made = 0; made < BATCHES_MAX; made++) {
    const outcome = await guarded(context, pipeline, () => planApproved(context, pipeline, flushing));
    if (outcome?.batchId === undefined) {
      await context.step("plan.clearFlush", () => pipelines.clearSpentFlush(context.database, pipeline.id));
      return made;
    }
    context.log.info(
      { pipeline: pipeline.config.name, batch: outcome.batchId, requests: outcome.planned },
      "batch planned",
    );
  }
  return BATCHES_MAX;
}

/** The first batch of a definition needs its approval: given here when it is cheap, else a person is waited for. */
async function planApproved(
  context: WorkerContext,
  pipeline: Pipeline,
  flushing: Flushing,
): Promise<PlanOutcome> {
  const outcome = await planOnce(context, pipeline, flushing);
  if (outcome.because !== "approval") return outcome;
  const approval = await approvalOf(context, pipeline);
  return approval.kind === "cheap" ? planOnce(context, pipeline, flushing) : outcome;
}

async function planOnce(
  context: WorkerContext,
  pipeline: Pipeline,
  flushing: Flushing,
): Promise<PlanOutcome> {
  // Most rounds end here, before a lock is taken or a row is read; what is ready is counted under the lock.
  const { ready } = await queue.readyFacts(context.read, pipeline.id);
  if (ready === 0) return { planned: 0, because: "nothing" };
  const row = await pipelines.byId(context.read, pipeline.id);
  if (row?.pauseKind === "source") return { planned: 0, because: "paused" };
  const bounds = await requestBounds(context, pipeline, pipeline.rates);
  const plan = () =>
    context.step("plan.batch", () =>
      context.database.transaction((tx) => planInTransaction(context, tx, { ...flushing, pipeline, bounds })),
    );
  const outcome = await plan();
  if (outcome.because !== "target") return outcome;
  await pipeline.checkTarget();
  return plan();
}

/** With how many ready requests, counted up to the threshold. */
type Ready = Planning & { readonly ready: number };

interface Planning extends Flushing {
  readonly pipeline: Pipeline;
  readonly bounds: RequestBounds;
}

async function planInTransaction(
  context: WorkerContext,
  tx: Queryable,
  planning: Planning,
): Promise<PlanOutcome> {
  const { pipeline, flush, mayWait } = planning;
  const { config } = pipeline;
  const row = await pipelines.lock(tx, pipeline.id);
  if (!row || row.definitionHash !== pipeline.definitionHash || row.uninstalledAt)
    return { planned: 0, because: "superseded" };
  if (row.pauseKind !== null && row.pauseKind !== "budget") return { planned: 0, because: "paused" };
  const { requestsMin } = pipeline.provider.limits;
  const facts = await exactEnough(tx, pipeline, Math.max(config.when.rows, requestsMin));
  const waits = mayWait && isFilling({ ...facts, requestsMax: requestsMax(pipeline) });
  const decision = decidePlanning({
    ...facts,
    rowsThreshold: config.when.rows,
    maxWaitMs: config.when.maxWaitMs,
    flush: (flush || row.flushAt !== null) && !waits,
  });
  if (!decision.plan) return { planned: 0, because: facts.ready === 0 ? "nothing" : "waiting" };
  if (facts.ready < requestsMin) return { planned: 0, because: "tooFew" };
  if (row.approvedHash !== row.definitionHash) return { planned: 0, because: "approval" };
  const room = await findRoom(context, tx, { ...planning, ready: facts.ready });
  if ("because" in room) return { planned: 0, because: room.because };
  // Checking it takes a transaction of its own.
  if (!(await pipeline.isTargetChecked(tx))) return { planned: 0, because: "target" };
  if (row.pauseKind === "budget") await pipelines.resume(tx, pipeline.id, "budget");
  return createBatch(context, tx, { ...planning, room, because: decision.because });
}

/** What the queue names beyond those that wait is counted away where it decides. */
async function exactEnough(tx: Queryable, { id }: Pipeline, needed: number): Promise<ReadyFacts> {
  const facts = await queue.readyFacts(tx, id);
  const atLeast = facts.ready - facts.excess;
  if (facts.excess === 0 || (atLeast > 0 && (atLeast >= needed || facts.ready < needed))) return facts;
  await queue.tidy(tx, id);
  return queue.readyFacts(tx, id);
}

interface Room {
  readonly requests: number;
  /** Of requests that were never asked; null: `limit` is not set. */
  readonly newRequests: number | null;
  readonly nanoUsd: number;
  readonly tokens: number;
}

type NoRoomYet = NoRoom | "waiting" | "capacity";

/** Reads what bounds the batch, decides, and pauses where nothing that is waited for can make room. */
async function findRoom(
  context: WorkerContext,
  tx: Queryable,
  planning: Ready,
): Promise<Room | { because: NoRoomYet }> {
  const { pipeline } = planning;
  const { config, provider } = pipeline;
  const limits = await lockLimits(tx, provider.account, config.request.model);
  if (limits.waitMs > 0) return { because: "capacity" };
  const file = fileLimits(pipeline, limits);
  // One file at a time, until one has passed: many would all be refused for the same reason.
  if (file.bytesGuess !== null && (await isSending(tx, pipeline.id, provider.account)))
    return { because: "waiting" };
  const facts = await roomFacts(context, tx, { ...planning, file, tokensMax: limits.enqueuedTokens });
  const decision = roomFor(facts);
  if ("because" in decision) {
    await pauseWithoutHope(tx, planning, { facts, because: decision.because, limits });
    return decision;
  }
  const { fresh, tokens, money } = facts;
  return {
    requests: decision.requests,
    newRequests: config.limit === null ? null : fresh,
    tokens: tokens.left,
    nanoUsd: money.left,
  };
}

interface Bounded extends Ready {
  readonly file: FileLimits;
  /** Enqueued at once, of the account and model; null: no limit is known. */
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
  const bytesMax = Math.min(file.bytesMax, file.bytesGuess ?? Infinity);
  const fresh =
    config.limit === null ? Infinity : Math.max(0, config.limit - (await countAsked(tx, pipeline.id)));
  const reserved = tokensMax === null ? 0 : await reservedTokens(tx, provider.account, config.request.model);
  return {
    least,
    ready,
    // What does not fit is given back at rendering, and leaves an attempt each time.
    inFile: Math.min(file.requestsMax, Math.max(1, Math.floor(bytesMax / bounds.bytesEach))),
    fresh,
    again: fresh < least ? await pipelines.countWaitingAgain(tx, pipeline.id) : 0,
    tokens: { left: (tokensMax ?? Infinity) - reserved, each: bounds.tokensEach },
    money: { ...(await moneyLeft(context, tx, pipeline)), each: bounds.nanoUsdEach },
  };
}

/** In 1e-9 US dollars. Without a budget there is no end of it. */
async function moneyLeft(
  context: WorkerContext,
  tx: Queryable,
  { id, config: { budget }, provider: { account } }: Pipeline,
): Promise<{ left: number; inFlight: boolean; spentNanoUsd: number }> {
  if (budget === null) return { left: Infinity, inFlight: false, spentNanoUsd: 0 };
  const spent = await spending(tx, id, { per: budget.per, runId: context.runId, account });
  return {
    left: budget.usd * 1e9 - spent.spentNanoUsd - spent.reservedNanoUsd,
    inFlight: spent.batchesInFlight > 0,
    spentNanoUsd: spent.spentNanoUsd,
  };
}

/** What can be waited for pauses nothing: tokens and money that batches in flight give back, and rows that come. */
async function pauseWithoutHope(
  tx: Queryable,
  planning: Planning,
  { facts, because, limits }: { facts: Facts; because: NoRoom; limits: LearnedLimits },
): Promise<void> {
  if (because === "tooFew") return pauseWhenNoneFits(tx, planning, facts.inFile);
  if (because === "noTokens") return pauseWhenHopeless(tx, planning, limits.enqueuedTokens ?? 0);
  if (because === "noMoney" && !facts.money.inFlight) return pauseWhenSpent(tx, planning, facts.money);
}

/** The provider wants more requests in a batch than may be in one. */
async function pauseWhenNoneFits(tx: Queryable, { pipeline }: Planning, most: number): Promise<void> {
  const { provider } = pipeline;
  const { name } = pipeline.config;
  await pipelines.pause(tx, pipeline.id, {
    kind: "provider",
    reason: `A batch at ${provider.title} has at least ${provider.limits.requestsMin} requests, and of these at most ${most} go into one: by pipelines.${name}.batch, and by their size. Raise the limits there or shorten the request; then: rowmill resume ${name}`,
  });
}

/** The fewest requests that a batch can have, in words. */
function leastText({ provider }: Pipeline, one: string): string {
  const { requestsMin } = provider.limits;
  return requestsMin === 1 ? one : `the ${requestsMin} requests that a batch has at least`;
}

/** A limit below the smallest batch cannot be waited for. */
async function pauseWhenHopeless(
  tx: Queryable,
  { pipeline, bounds }: Planning,
  limit: number,
): Promise<void> {
  const { requestsMin } = pipeline.provider.limits;
  const need = requestsMin * bounds.tokensEach;
  if (limit >= need) return;
  await pipelines.pause(tx, pipeline.id, {
    kind: "provider",
    reason: `The provider allows ${limit} enqueued tokens for ${pipeline.config.request.model}, fewer than ${leastText(pipeline, "one request")} ${requestsMin === 1 ? "needs" : "need"} (${need}). Shorten the request, choose another model, or raise the account's limit; then: rowmill resume ${pipeline.config.name}`,
  });
}

/** It pauses when nothing is in flight that could give money back. */
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
      `The budget of $${budget.usd} per ${budget.per} is used up: ${dollars(spentNanoUsd)} spent, ${dollars(Math.max(0, left))} left, ` +
      `and ${leastText(pipeline, "one more request")} may cost ${dollars(need)}. It goes on by itself when there is room again; raise pipelines.${name}.budget.usd to go on now.`,
  });
}

function dollars(nanoUsd: number): string {
  return `$${(nanoUsd / 1e9).toFixed(6)}`;
}

/** Lines differ from the average: some slack, and one line's worth more for a batch of few; rendering gives back what is over. */
function reserve(requests: number, room: number, line: { each: number; most: number }): number {
  return Math.ceil(Math.min(room, Math.max((requests * RESERVE_SLACK + 1) * line.each, line.most)));
}

async function createBatch(
  context: WorkerContext,
  tx: Queryable,
  planning: Planning & { room: Room; because: string },
): Promise<PlanOutcome> {
  const { pipeline, bounds, room } = planning;
  const no = await nextNumber(tx);
  const requests = await queue.giveToBatch(
    tx,
    { pipelineId: pipeline.id, batch: no },
    { max: room.requests, newMax: room.newRequests },
  );
  const because = await refusePlan(tx, { pipeline, room, requests });
  if (because !== null) {
    await queue.takeBack(tx, no);
    return { planned: 0, because };
  }
  const batchId = randomUUID();
  await insertPlanned(tx, {
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
    requests,
    reservedNanoUsd: reserve(requests, room.nanoUsd, { each: bounds.nanoUsdEach, most: bounds.nanoUsdMost }),
    reservedTokens: reserve(requests, room.tokens, { each: bounds.tokensEach, most: bounds.tokensMost }),
    runId: context.runId,
    because: planning.because,
  });
  await wake.schedule(tx, batchId, 0);
  return { planned: requests, batchId };
}

/** Of what was just given to a batch. Null: it may go out. */
async function refusePlan(
  tx: Queryable,
  { pipeline, room, requests }: { pipeline: Pipeline; room: Room; requests: number },
): Promise<"nothing" | "limit" | "tooFew" | "paused" | null> {
  if (requests === 0) return room.newRequests === null ? "nothing" : "limit";
  if (requests < pipeline.provider.limits.requestsMin) return "tooFew";
  // By now every answer is seen that returned one of these requests, whichever worker collected it.
  return (await pauseWhenFailing(tx, pipeline)) ? "paused" : null;
}
