/**
 * Asks the rows of a try live, a few at once. Each row is in the ledger with the most that it may cost before its call
 * is made, under the lock of the pipeline's money; so two tries and a planner never spend the same dollars, and what a
 * killed process may have spent counts as spent.
 */
import { RowmillError } from "../../model/errors.js";
import type { ProviderError } from "../../model/provider/provider.js";
import { storable } from "../../worker/turn/ending.js";
import type { Database } from "../../postgres/database.js";
import * as outputSizes from "../../store/batches/output-sizes.js";
import * as tries from "../../store/tries/tries.js";
import type { Overridden, TryAnswer } from "../../store/tries/tries.js";
import * as tryMoney from "../../store/tries/try-money.js";
import type { Asking } from "../../worker/context.js";
import { textOf } from "./config-differences.js";
import { judgeLive, callLive, type CallEnd } from "./live-call.js";
import { boundOf, type Preparation, type Prepared } from "./prepare.js";

/** Calls at a time. */
const CALLS_AT_ONCE = 4;
/** Calls without an answer after which no further row is asked. */
const FAILED_CALLS_MAX = 3;

export interface Trying {
  readonly database: Database;
  readonly asking: Asking;
  readonly preparation: Preparation;
  readonly overridden: Overridden;
  /** After it no further row is asked. */
  readonly signal: AbortSignal;
  readonly onRow: (done: number) => void;
}

/** Why rows were not asked. */
export type Stop =
  | { readonly kind: "budget"; readonly needNanoUsd: number; readonly leftNanoUsd: number }
  | { readonly kind: "provider"; readonly error: ProviderError }
  | { readonly kind: "outcome"; readonly message: string };

export interface Tried {
  readonly no: number;
  readonly answers: readonly TryAnswer[];
  readonly notAsked: number;
  /** Null: all were asked, or you stopped it. */
  readonly stop: Stop | null;
}

/** What is left of the budget for a try that has not begun; null: there is no budget. */
export async function budgetLeft(database: Database, asking: Asking): Promise<number | null> {
  const { budget, name } = asking.config;
  if (budget === null) return null;
  return database.transaction(async (tx) => {
    const row = await tryMoney.lockForSpending(tx, name);
    const of = { per: budget.per, account: asking.provider.account };
    return budget.usd * 1e9 - (await tryMoney.spentOrReserved(tx, { name, row, try: null }, of));
  });
}

/** @throws RowmillError `refused` where the provider has no live endpoint */
export async function runTry(trying: Trying): Promise<Tried> {
  const { database, asking, preparation, onRow } = trying;
  const { answer } = asking.provider;
  if (answer === null)
    throw new RowmillError("refused", `${asking.provider.title} is set up without a live endpoint to try rows on.`);
  const no = await insertTry(trying);
  const left = preparation.rows.map((one, place) => ({ one, place }));
  const course: Course = { stop: null, failures: 0, done: 0 };
  const work = async () => {
    while (course.stop === null && !trying.signal.aborted) {
      const next = left.shift();
      if (next === undefined) return;
      await askRow({ ...trying, answer, no }, course, next);
      onRow(++course.done);
    }
  };
  const ends = await Promise.allSettled(Array.from({ length: CALLS_AT_ONCE }, () => guarded(course, work)));
  const failed = ends.find((end) => end.status === "rejected");
  const answers = await finish(database, asking, no);
  if (failed !== undefined) throw failed.reason;
  return { no, answers, notAsked: preparation.rows.length - answers.length, stop: stopOf(course) };
}

interface Course {
  stop: Stop | "thrown" | null;
  failures: number;
  done: number;
}

function stopOf({ stop }: Course): Stop | null {
  return stop === "thrown" ? null : stop;
}

/** What one throws ends the others after their present row. */
async function guarded(course: Course, work: () => Promise<void>): Promise<void> {
  try {
    await work();
  } catch (error) {
    course.stop ??= "thrown";
    throw error;
  }
}

function insertTry({ database, asking, overridden, preparation }: Trying): Promise<number> {
  const { config, provider, definitionHash, rates } = asking;
  const { system, user, model } = config.request;
  return tries.insertTry(database, {
    pipeline: config.name,
    definitionHash,
    overridden,
    system: system === null ? null : textOf(system),
    prompt: textOf(user),
    provider: provider.name,
    account: provider.account,
    model,
    endpoint: provider.endpoint,
    price: rates.price,
    rows: preparation.rows.length,
  });
}

type Asker = Trying & { readonly no: number; readonly answer: NonNullable<Asking["provider"]["answer"]> };

async function askRow(
  asker: Asker,
  course: Course,
  { one, place }: { readonly one: Prepared; readonly place: number },
): Promise<void> {
  const { database, asking, no, signal } = asker;
  const short = await reserve(asker, one, place);
  if (short !== null) {
    course.stop ??= short;
    return;
  }
  if (one.kind === "unsent") return;
  const end = await callLive(asker.answer, one.request, signal);
  const judged = judgeLive(asking, end, one.row.cells ?? {});
  await tries.recordAnswer(database, { try: no, key: one.row.key }, judged);
  if (judged.outcome !== "failed" && judged.outcome !== "unknown") return;
  course.failures++;
  if (isForAll(end) || course.failures >= FAILED_CALLS_MAX)
    course.stop ??=
      end.kind === "error"
        ? { kind: "provider", error: end.error }
        : { kind: "outcome", message: judged.detail ?? judged.outcome };
}

/** The next row would meet the same. */
function isForAll(end: CallEnd): boolean {
  return end.kind === "error" && end.error.kind !== "refused" && end.error.kind !== "ambiguous";
}

/** The intent, committed before the call. Not null: the budget has no room for it. */
function reserve({ database, asking, no }: Asker, one: Prepared, place: number): Promise<Stop | null> {
  const { budget, name, request } = asking.config;
  const bound = boundOf(one);
  return database.transaction(async (tx) => {
    if (one.kind === "sent" && budget !== null) {
      const row = await tryMoney.lockForSpending(tx, name);
      const of = { per: budget.per, account: asking.provider.account };
      const left = budget.usd * 1e9 - (await tryMoney.spentOrReserved(tx, { name, row, try: no }, of));
      if (bound > left) return { kind: "budget", needNanoUsd: bound, leftNanoUsd: Math.max(0, left) };
    }
    const { key, hash } = one.row;
    const asked = { try: no, place, key, contentHash: hash, room: request.maxOutputTokens };
    const sent =
      one.kind === "sent"
        ? {
            fingerprint: one.fingerprint,
            system: one.request.system,
            prompt: one.request.user,
            outcome: null,
            detail: null,
          }
        : { fingerprint: null, system: null, prompt: null, outcome: one.outcome, detail: storable(one.detail) };
    await tries.insertAsked(tx, { ...asked, ...sent, reservedNanoUsd: bound });
    return null;
  });
}

/** The next plan knows the size of these answers. */
async function finish(database: Database, { config, definitionHash }: Asking, no: number): Promise<TryAnswer[]> {
  await database.transaction((tx) => outputSizes.learn(tx, { pipeline: config.name, definitionHash }));
  return tries.answersOf(database, no);
}
