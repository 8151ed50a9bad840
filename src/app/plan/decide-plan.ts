/** Composes what was read about a pipeline into its plan. Pure. */
import { decidePlanning } from "../../model/batch/schedule.js";
import type { OutputSizes } from "../../model/request/output-limit.js";
import type { LearnedLimits, Spending } from "../../store/batches/money.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import type { Asking } from "../../worker/context.js";
import { estimateOf } from "../../worker/rounds/estimate.js";
import { requestsInFile, type FileLimits } from "../../worker/rounds/file-limits.js";
import { redefinedOf, type RowFacts } from "./count-rows.js";
import type { ExaminedRows } from "./examine-rows.js";
import { packBatches } from "./pack-batches.js";
import type {
  AskingPlan,
  BudgetPlan,
  DefinitionPlan,
  LedgerSetup,
  PackingPlan,
  RepeatedPlan,
  RowsPlan,
  StartPlan,
} from "./pipeline-plan.js";

export interface PlanFacts {
  readonly pipeline: Asking;
  readonly ledger: LedgerSetup;
  /** Null: the ledger does not know the pipeline. */
  readonly row: Pick<PipelineRow, "definitionHash" | "pauseKind" | "pauseReason"> | null;
  readonly rows: RowFacts;
  readonly decision: DefinitionPlan["decision"];
  readonly examined: ExaminedRows;
  readonly money: MoneyFacts;
  readonly isApproved: boolean;
  /** Of those that wait; null: none does. */
  readonly oldestWaitMs: number | null;
}

export interface MoneyFacts {
  readonly sizes: OutputSizes | null;
  readonly learned: { readonly tokens: number; readonly nanoUsd: number };
  readonly limits: LearnedLimits;
  readonly file: FileLimits;
  readonly reservedTokens: number;
  readonly spending: Spending;
}

const NANO_USD_PER_USD = 1e9;

export function decidePlan(facts: PlanFacts): AskingPlan {
  const { pipeline, row, examined, money, isApproved } = facts;
  const { config } = pipeline;
  const rows = decideRows(pipeline, facts.rows, asksAnswered(facts.decision));
  const { sample } = examined;
  const { sizes } = money;
  const estimate = { ...estimateOf(pipeline, { sample, sizes, rows: rows.send }), arrived: rows.arrived };
  const isCheap = estimate.likelyNanoUsd !== null && isWithin(estimate.likelyNanoUsd, config.approveAboveUsd);
  const state = isApproved ? "given" : isCheap || rows.send === 0 ? "notNeeded" : "needed";
  return {
    model: config.request.model,
    definition: decideDefinition(facts),
    rows,
    packing: decidePacking(facts, rows.send),
    start: decideStart(facts, rows.send),
    estimate,
    measured: { read: Math.min(sample.rows, rows.send), of: rows.send },
    repeated: decideRepeated(facts, rows.send),
    budget: decideBudget(pipeline, money.spending, estimate.likelyNanoUsd),
    approval: { state, aboveUsd: config.approveAboveUsd },
    pause: row === null || row.pauseKind === null ? null : { kind: row.pauseKind, reason: row.pauseReason ?? "" },
    requests: examined.requests,
  };
}

function isWithin(nanoUsd: number, usd: number): boolean {
  return nanoUsd <= usd * NANO_USD_PER_USD;
}

/** An undecided one too: you see what it would cost to say yes. */
export function asksAnswered(decision: DefinitionPlan["decision"]): boolean {
  return decision !== "newOnly" && decision !== "keep";
}

/** Counts are exact; why rows wait, and what a changed definition sends again, may be by a sample. */
function decideRows({ config }: Asking, facts: RowFacts, asksAgain: boolean): RowsPlan {
  const { waiting, reasons, compared, unrecorded } = facts;
  const ofWaiting = (count: number) => (reasons.read === 0 ? 0 : Math.round((waiting * count) / reasons.read));
  const waitingRedefined = redefinedOf(facts);
  const waitingChanged = ofWaiting(reasons.changed);
  const again = ofWaiting(reasons.again);
  const waitingFresh = Math.max(0, waiting - waitingRedefined - waitingChanged - again);
  const reaffirmed = Math.min(waitingRedefined, compared?.reaffirmed ?? 0);
  const reopened = { answered: asksAgain ? (compared?.answered ?? 0) : 0, failed: compared?.failed ?? 0 };
  const changedNow = { answered: compared?.changedAnswered ?? 0, failed: compared?.changedFailed ?? 0 };
  const changed = waitingChanged + changedNow.answered + changedNow.failed;
  const redefined = waitingRedefined - reaffirmed + reopened.answered + reopened.failed;
  const answered = Math.max(0, facts.answered - reopened.answered - changedNow.answered) + reaffirmed;
  const failed = Math.max(0, facts.failed - reopened.failed - changedNow.failed);
  const wanted = waitingFresh + (unrecorded?.rows ?? 0);
  const allowed = config.limit === null ? Infinity : Math.max(0, config.limit - facts.asked);
  const fresh = Math.min(wanted, allowed);
  // A change of the rows that were compared was recorded too.
  const unseen = Math.max(0, facts.arrived - changedNow.answered - changedNow.failed);
  const arrived = Math.min(unseen, allowed - fresh + answered + failed);
  return {
    send: fresh + changed + redefined + again + arrived,
    fresh,
    changed,
    redefined,
    again,
    arrived,
    heldByLimit: wanted - fresh,
    answered,
    failed,
    inFlight: facts.inFlight,
    skipped: facts.skipped,
    refused: facts.refused,
    counted: unrecorded?.how ?? null,
    reasons: reasons.read < waiting ? { read: reasons.read, of: waiting } : null,
  };
}

function decideDefinition({ pipeline, ledger, row, rows, decision, examined, money }: PlanFacts): DefinitionPlan {
  const { compared } = rows;
  const isAsked = asksAnswered(decision);
  const answered = compared?.answered ?? 0;
  const asksAgain = (isAsked ? answered : 0) + (compared?.failed ?? 0);
  const costOf = (count: number) =>
    estimateOf(pipeline, { sample: examined.sample, sizes: money.sizes, rows: count }).likelyNanoUsd;
  const likelyNanoUsd = costOf(asksAgain);
  const inFlight = isAsked ? rows.inFlight : 0;
  const known = row?.definitionHash === pipeline.definitionHash ? "unchanged" : "changed";
  return {
    state: ledger === "foreign" ? "unknown" : row === null ? "new" : known,
    compared: compared?.sampled ?? null,
    asksAgain,
    likelyNanoUsd,
    decision,
    keepsAnswer: isAsked ? 0 : answered,
    inFlight:
      known === "unchanged" || rows.inFlight === 0
        ? null
        : { rows: rows.inFlight, asksAgain: inFlight, likelyNanoUsd: costOf(inFlight) },
  };
}

function decideRepeated({ pipeline, examined }: PlanFacts, send: number): RepeatedPlan | null {
  const { config, provider } = pipeline;
  if (examined.repeated === 0 || provider.limits.requestsMin > 1) return null;
  return { rows: examined.repeated, read: examined.read, of: send, shared: config.dedupe };
}

function decidePacking({ pipeline, examined, money }: PlanFacts, rows: number): PackingPlan {
  const { config, provider } = pipeline;
  const { budget, batch } = config;
  const { spentNanoUsd, reservedNanoUsd, batchesInFlight } = money.spending;
  const left = budget === null ? Infinity : budget.usd * NANO_USD_PER_USD - spentNanoUsd - reservedNanoUsd;
  return packBatches({
    rows,
    least: provider.limits.requestsMin,
    inFile: requestsInFile(money.file, examined.bounds.bytesEach),
    tokensLeft: (money.limits.enqueuedTokens ?? Infinity) - money.reservedTokens,
    money: { left, inFlight: budget !== null && batchesInFlight > 0 },
    bounds: examined.bounds,
    file: money.file,
    requestsMax: { config: batch.requestsMax, provider: provider.limits.requestsMax },
    bytesMax: { config: batch.bytesMax, provider: provider.limits.bytesMax },
  });
}

function decideStart({ pipeline, money, oldestWaitMs }: PlanFacts, rows: number): StartPlan {
  const { when } = pipeline.config;
  if (rows === 0) return { kind: "nothing" };
  if (money.limits.waitMs > 0) return { kind: "provider", waitMs: money.limits.waitMs };
  const waitedMs = oldestWaitMs ?? 0;
  const decision = decidePlanning({
    ready: Math.max(rows, pipeline.provider.limits.requestsMin),
    oldestWaitMs: waitedMs,
    rowsThreshold: when.rows,
    maxWaitMs: when.maxWaitMs,
    flush: false,
  });
  if (decision.plan) return { kind: "now", because: decision.because };
  return { kind: "waits", rows: when.rows, waitMs: when.maxWaitMs - waitedMs };
}

function decideBudget({ config }: Asking, spending: Spending, likelyNanoUsd: number | null): BudgetPlan | null {
  const { budget } = config;
  if (budget === null) return null;
  const { spentNanoUsd, reservedNanoUsd } = spending;
  const leftNanoUsd = Math.max(0, budget.usd * NANO_USD_PER_USD - spentNanoUsd - reservedNanoUsd);
  return { ...budget, spentNanoUsd, reservedNanoUsd, leftNanoUsd, stops: (likelyNanoUsd ?? 0) > leftNanoUsd };
}
