/**
 * Ends the requests that some lines of an answer file name: written, failed, sent again, or kept until their row is
 * free. Each part of the lines is one transaction. If the target refuses one, in a statement or at its COMMIT, the
 * part is halved down to the row: a savepoint could not catch a failing COMMIT. The ledger guards each part, so a crash
 * in between loses nothing. Refused rows are recorded after all were tried: if the target refuses every row, the rows
 * are not at fault.
 */
import { ANSWERS_JUDGED, refusalText, refusesAll, type Refusal } from "../../../model/batch/failing.js";
import { RowmillError } from "../../../model/errors.js";
import * as changes from "../../../store/pipelines/changes.js";
import * as batches from "../../../store/batches/batches.js";
import type { DatabaseError } from "../../../postgres/database.js";
import * as inFlight from "../../../store/batches/in-flight.js";
import * as keptAnswers from "../../../store/batches/kept-answers.js";
import * as lastAnswers from "../../../store/batches/last-answers.js";
import { answersAbout, endChunk, NotHeld, type Collecting, type Ended, type Trial } from "./answer-chunk.js";
import { acceptAnswers } from "./accept-answers.js";
import { catchUp } from "../../rounds/intake.js";
import type { Outcomes } from "./judge-answer.js";
import { causeOf, isOfStatement, isRaised } from "./row-refusal.js";

/** Short, so that a user's transaction never waits long for ours, nor loses a deadlock against it. */
const LOCK_TIMEOUT_MS = 400;
/** Rows per turn that are singled out because they cannot be written yet; after that their whole part is kept. */
const ALONE_MAX = 16;
/** Failed writes of one row alone by errors that may pass: a user's trigger may raise them each time. */
const PASSING_TRIES_MAX = 10;
/** The same for a lock, which another transaction may hold for long. */
const LOCK_TRIES_MAX = 100;

/** Counts over one turn with a batch. */
export interface Waits {
  /** Rows singled out that cannot be written yet. */
  alone: number;
}

/** Lines that came together, and their outcome so far. */
interface Chunk {
  readonly waits: Waits;
  readonly at: string | null;
  /** By request. */
  readonly refusals: Map<string, Refusal>;
  written: number;
}

interface Part {
  readonly outcomes: Outcomes;
  /** Arrivals were taken in: a row that seems gone is gone. */
  readonly goneBelieved: boolean;
}

/**
 * False: the lease is lost.
 * @throws RowmillError `target_unsupported` where the target refuses all of them alike: no row fails then
 */
export async function endAnswers(turn: Collecting, outcomes: Outcomes, waits: Waits): Promise<boolean> {
  const accepted = await acceptAnswers(turn, outcomes);
  if (accepted === null) return false;
  const chunk: Chunk = { waits, at: accepted.at, refusals: new Map(), written: accepted.written };
  if (!(await endParts(turn, chunk, accepted.left))) return false;
  if (chunk.refusals.size === 0) return true;
  await refuseTarget(turn, chunk);
  return endParts(turn, chunk, pick(outcomes, [...chunk.refusals.keys()]));
}

/** At most 2 × lines transactions where rows are refused. */
async function endParts(turn: Collecting, chunk: Chunk, outcomes: Outcomes): Promise<boolean> {
  const parts: Part[] = [{ outcomes, goneBelieved: false }];
  for (let part = parts.shift(); part !== undefined; part = parts.shift()) {
    if (part.outcomes.size === 0) continue;
    turn.signal.throwIfAborted();
    const next = await endPart(turn, chunk, part);
    if (next === "lost") return false;
    parts.unshift(...next);
  }
  return true;
}

type NextParts = readonly Part[] | "lost";

/** Each call ends or keeps at least one request, halves the part, or lets the next call believe that rows are gone. */
async function endPart(turn: Collecting, chunk: Chunk, part: Part): Promise<NextParts> {
  const trial: Trial = { requests: [], keys: [], atTarget: false };
  let ended: Ended | "lost";
  try {
    ended = await tryPart(turn, chunk, { part, trial });
  } catch (error) {
    return afterFailure(turn, chunk, { part, trial, error });
  }
  if (ended === "lost") return "lost";
  if (ended === "lookFirst") {
    // The row may only have got another key: its arrival is there by now, and the request follows the row.
    await catchUp(turn.context, turn.pipeline, turn.signal);
    return [{ ...part, goneBelieved: true }];
  }
  chunk.written += trial.requests.length;
  return [{ outcomes: ended.left, goneBelieved: false }];
}

function tryPart(
  turn: Collecting,
  { refusals, at }: Chunk,
  { part, trial }: { part: Part; trial: Trial },
): Promise<Ended | "lost"> {
  const { context, pipeline, lease } = turn;
  return context.step("collect.chunk", () =>
    context.database.transaction(
      async (tx) => {
        // Otherwise the sweep of a definition that is registered in the meantime skips these rows, and nothing reopens
        // them.
        if (!(await batches.holds(tx, lease, pipeline))) return "lost";
        const { asked } = turn;
        const now = asked.changed ? { ...asked, reopens: await changes.reopens(tx, pipeline.id) } : asked;
        const ended = await endChunk({ ...turn, asked: now }, tx, { ...part, at, refusals, trial });
        // What fails from here on fails at COMMIT.
        trial.atTarget = trial.requests.length > 0;
        return ended;
      },
      { writingFor: pipeline.id, lockTimeoutMs: LOCK_TIMEOUT_MS },
    ),
  );
}

/** @throws what is no fault of a row, and does not pass */
async function afterFailure(
  turn: Collecting,
  chunk: Chunk,
  failed: { part: Part; trial: Trial; error: unknown },
): Promise<NextParts> {
  const { part, trial, error } = failed;
  if (error instanceof NotHeld) {
    for (const [id, key] of error.requests)
      chunk.refusals.set(id, { key, sqlState: null, detail: error.message, ofStatement: false });
    return [without(part, [...error.requests.keys()])];
  }
  const found = causeOf(error, trial.atTarget);
  if (found === null) throw error;
  if (found.cause === "passing") return postpone(turn, chunk, { part, trial, error: found.error });
  if (trial.requests.length > 1) return halves(part, trial.requests);
  refuse(chunk, trial, found.error);
  return [without(part, trial.requests)];
}

/** What is in the way may be gone next time: the row is singled out, if that does not take too long, and kept. */
async function postpone(
  turn: Collecting,
  chunk: Chunk,
  { part, trial, error }: { part: Part; trial: Trial; error: DatabaseError },
): Promise<NextParts> {
  const isAlone = trial.atTarget && trial.requests.length === 1;
  if (trial.atTarget && !isAlone && chunk.waits.alone < ALONE_MAX) return halves(part, trial.requests);
  if (isAlone) chunk.waits.alone++;
  const ids = isAlone ? trial.requests : [...part.outcomes.keys()];
  const tries = await keep(turn, pick(part.outcomes, ids), isAlone);
  if (tries === null) return "lost";
  const isLock = error.sqlState === "55P03" && !isRaised(error);
  const triesMax = isLock ? LOCK_TRIES_MAX : PASSING_TRIES_MAX;
  if (isAlone && ids.some((id) => (tries.get(id) ?? 0) >= triesMax)) refuse(chunk, trial, error);
  return [without(part, ids)];
}

/** Null: the lease is lost. */
function keep(
  { context, batch, lease }: Collecting,
  outcomes: Outcomes,
  failed: boolean,
): Promise<ReadonlyMap<string, number> | null> {
  return context.step("collect.chunk", () =>
    context.database.transaction(
      async (tx) => {
        if (!(await batches.holds(tx, lease))) return null;
        const requests = await inFlight.lockMany(tx, batch.no, [...outcomes.keys()]);
        return keptAnswers.keepMany(tx, batch.no, { answers: answersAbout(requests, outcomes), failed });
      },
      { lockTimeoutMs: LOCK_TIMEOUT_MS },
    ),
  );
}

function refuse({ refusals }: Chunk, { requests, keys }: Trial, error: DatabaseError): void {
  const [id = ""] = requests;
  const [key = ""] = keys;
  const { sqlState, message: detail } = error;
  refusals.set(id, { key, sqlState, detail, ofStatement: isOfStatement(error) });
}

/** A missing right, or a trigger that raises for every row, needs you: the rows stay in their batch until then. */
async function refuseTarget({ context, pipeline }: Collecting, { refusals, written }: Chunk): Promise<void> {
  if (written > 0) return;
  const of = { pipelineId: pipeline.id, definitionHash: pipeline.definitionHash };
  const all = [...refusals.values()];
  const last = await lastAnswers.readAll(context.read, of, { max: ANSWERS_JUDGED, first: false });
  if (!refusesAll(all, last) || (await lastAnswers.isAccepted(context.read, of, "unwritable"))) return;
  throw new RowmillError("target_unsupported", refusalText(all, pipeline.config), {
    hints: ["Fix the target: its triggers, its constraints, or the rights of the database user."],
  });
}

function halves(part: Part, tried: readonly string[]): readonly Part[] {
  const middle = Math.ceil(tried.length / 2);
  return [
    { ...part, outcomes: pick(part.outcomes, tried.slice(0, middle)) },
    { ...part, outcomes: pick(part.outcomes, tried.slice(middle)) },
    without(part, tried),
  ];
}

function pick(outcomes: Outcomes, ids: readonly string[]): Outcomes {
  return new Map(ids.map((id) => [id, outcomes.get(id) ?? []]));
}

function without(part: Part, ids: readonly string[]): Part {
  const left = new Set(ids);
  return { ...part, outcomes: new Map([...part.outcomes].filter(([id]) => !left.has(id))) };
}
