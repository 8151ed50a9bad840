/**
 * One transaction over some lines of an answer file: the ledger's rows are locked first, then the source is read, and an answer counts only
 * for the content that it was given to. Target rows are written from what the ledger's guarded update won. The caller repeats it when it fails.
 */
import type { Refusal } from "../../../model/batch/failing.js";
import type { AnswerOutcome } from "../../../model/provider/outcome.js";
import { contentsOf, type SourceRow } from "../../../sources/source.js";
import { sql, type Queryable } from "../../../postgres/database.js";
import * as attempts from "../../../store/requests/attempts.js";
import type { AttemptEnding } from "../../../store/requests/attempts.js";
import * as inFlight from "../../../store/batches/in-flight.js";
import type { InFlight } from "../../../store/batches/in-flight.js";
import * as keptAnswers from "../../../store/batches/kept-answers.js";
import type { AnswerToKeep } from "../../../store/batches/kept-answers.js";
import { followContent, reopenMany } from "../../../store/requests/requests.js";
import type { Result } from "../../../targets/target.js";
import type { Asked } from "./asked.js";
import { currentFingerprint, type Pipeline } from "../../context.js";
import { endingOf, type EndingFacts } from "../ending.js";
import { judgeAnswer, lineAbout } from "./judge-answer.js";
import type { BatchIn, Turn } from "../turn.js";
import { userCodeTimer } from "../../user-code.js";

/**
 * For the write, which runs the user's triggers: with what is read before it takes less time than a lease. PostgreSQL bounds no COMMIT, so
 * what triggers do there is bounded by the connection's own time-out alone.
 */
export const WRITE_TIMEOUT_MS = 5_000;

export interface Collecting extends Turn<BatchIn<"collecting">> {
  readonly asked: Asked;
}

/** What lines say, by request. */
export type Outcomes = ReadonlyMap<string, readonly AnswerOutcome[]>;

/** Where a transaction is; tells whose doing it is when it fails. */
export interface Place {
  /** What runs now is the user's: the target's write, what reads after it, or the COMMIT. Not a statement over the ledger. */
  atTarget: boolean;
}

/** What a transaction tries to write. */
export interface Trial extends Place {
  /** The requests, and their keys in the same order. */
  requests: readonly string[];
  keys: readonly string[];
}

/** These rows were written without an error, and the target does not hold what was written. */
export class NotHeld extends Error {
  /** Request → key. */
  readonly requests: ReadonlyMap<string, string>;

  constructor(requests: ReadonlyMap<string, string>) {
    super(
      "The database reported no error, but the target does not hold what was written at this key: a trigger or a rule keeps it out, moves it to another table or key, or keeps the old row.",
    );
    this.requests = requests;
  }
}

/** `left`: what did not go into memory together with the others, or was not judged in time, for another transaction. */
export type Ended = "lookFirst" | { readonly left: Outcomes };

interface ChunkOfLines {
  readonly outcomes: Outcomes;
  readonly goneBelieved: boolean;
  /** When the lines came that are judged together; null: now. */
  readonly at: string | null;
  /** By request: tried alone before, and not to be written. */
  readonly refusals: ReadonlyMap<string, Refusal>;
  readonly trial: Trial;
}

/**
 * Ends the requests of these lines, and keeps the lines of those whose target row is held. Requests of another definition are reopened
 * where the present one would ask something else. Writes nothing and says `lookFirst` where a row seems gone and is not yet believed to be.
 * @throws NotHeld
 */
export async function endChunk(turn: Collecting, tx: Queryable, chunk: ChunkOfLines): Promise<Ended> {
  const { outcomes } = chunk;
  const { pipeline, batch } = turn;
  const all = await inFlight.lockMany(tx, batch.no, [...outcomes.keys()]);
  // Before the source is read: where it is the target too, nobody else can change a row between the reading and our write.
  const { busy } = await pipeline.target.lockFree(
    tx,
    all.map((request) => request.key),
  );
  const isBusy = (request: InFlight) => busy.has(request.key);
  const held = answersAbout(all.filter(isBusy), outcomes);
  const judged = await judgeAll(turn, tx, { ...chunk, free: all.filter((request) => !isBusy(request)) });
  if (judged === "lookFirst") return judged;
  await keptAnswers.keepMany(tx, batch.no, { answers: held, failed: false });
  await writeAccepted(turn, tx, { ...judged, trial: chunk.trial, at: chunk.at });
  await reopenMany(tx, pipeline.id, [...judged.again.values()]);
  return { left: judged.left };
}

/** The line about each of these requests; those without one are left out. */
export function answersAbout(requests: readonly InFlight[], outcomes: Outcomes): AnswerToKeep[] {
  return requests.flatMap((request) => {
    const about = lineAbout(request, outcomes.get(request.requestId) ?? []);
    return about === null ? [] : [{ requestId: request.requestId, outcome: about.outcome }];
  });
}

interface JudgedChunk {
  readonly accepted: readonly Accepted[];
  /** Endings without a result. */
  readonly others: readonly AttemptEnding[];
  /** Key → request: asked again by the present definition. */
  readonly again: ReadonlyMap<string, string>;
  readonly left: Outcomes;
}

interface Accepted {
  readonly ending: AttemptEnding;
  readonly result: Result;
}

async function judgeAll(
  turn: Collecting,
  tx: Queryable,
  { outcomes, goneBelieved, refusals, free }: ChunkOfLines & { free: readonly InFlight[] },
): Promise<JudgedChunk | "lookFirst"> {
  const { pipeline, batch, asked } = turn;
  const { rows, present, unread } = await readContents(
    turn,
    tx,
    free.map((request) => request.key),
  );
  const left = new Map<string, readonly AnswerOutcome[]>();
  const again = new Map<string, string>();
  const accepted: Accepted[] = [];
  const others: AttemptEnding[] = [];
  const isTimeOver = userCodeTimer();
  for (const request of free) {
    const lines = outcomes.get(request.requestId);
    if (lines === undefined) continue;
    if (unread.has(request.key) || isTimeOver()) {
      left.set(request.requestId, lines);
      continue;
    }
    const now = present.get(request.key);
    const row = rows.get(request.key);
    const judged = judgeAnswer(pipeline, { request, lines, row, present: now, asked });
    if (judged === null) continue;
    if ((row === undefined || now === undefined) && !goneBelieved) return "lookFirst";
    const refusal = judged.cells === null ? undefined : refusals.get(request.requestId);
    const facts = refusal === undefined ? judged.facts : refusedFacts(judged, refusal);
    const judgedEnding = endingOf(turn, request, facts);
    const isAgain =
      now !== undefined && asked.changed && isAskedAgain(pipeline, { request, now, ending: judgedEnding });
    if (isAgain) again.set(request.key, request.requestId);
    // The tries of one definition are not those of the next one, whichever state the row is in.
    const ending =
      isAgain && judgedEnding.to === "waiting" ? { ...judgedEnding, tries: 0, returns: 0 } : judgedEnding;
    const model = ending.model ?? batch.model;
    if (judged.cells === null || refusal !== undefined) others.push(ending);
    else accepted.push({ ending, result: { key: request.key, cells: judged.cells, model } });
  }
  return { accepted, others, again, left };
}

function refusedFacts(
  judged: { facts: EndingFacts; cells: object | null },
  { detail }: Refusal,
): EndingFacts {
  return { ...judged.facts, outcome: "unwritable", detail, answer: JSON.stringify(judged.cells) };
}

/** The same rows twice where the definition that asked has another content than the present one. */
async function readContents(
  { pipeline, asked }: Collecting,
  tx: Queryable,
  keys: readonly string[],
): Promise<{ rows: Contents; present: Contents; unread: ReadonlySet<string> }> {
  const read = await (asked.source ?? pipeline.source).readRows(tx, keys);
  const rows = new Map(read.rows.map((row) => [row.key, row]));
  if (asked.source === null) return { rows, present: rows, unread: new Set(read.left) };
  const now = await pipeline.source.readRows(tx, keys);
  const present = new Map(now.rows.map((row) => [row.key, row]));
  return { rows, present, unread: new Set([...read.left, ...now.left]) };
}

type Contents = ReadonlyMap<string, SourceRow>;

/** As the present definition's sweep would, which left out what was in flight. */
function isAskedAgain(
  pipeline: Collecting["pipeline"],
  { request, now, ending }: { request: InFlight; now: SourceRow; ending: AttemptEnding },
): boolean {
  if (now.hash !== request.contentHash) return true;
  if (currentFingerprint(pipeline, now.cells) !== request.fingerprint) return true;
  const isCutShort = ending.to === "failed" && ending.outcome === "truncated";
  return isCutShort && (request.room ?? 0) < pipeline.config.request.maxOutputTokens;
}

async function writeAccepted(
  { pipeline, batch, asked: { target } }: Collecting,
  tx: Queryable,
  { accepted, others, again, trial, at }: Omit<JudgedChunk, "left"> & Pick<ChunkOfLines, "trial" | "at">,
): Promise<void> {
  const moved = await attempts.endMany(tx, batch, [...others, ...accepted.map(({ ending }) => ending)], at);
  const won = accepted.filter(({ ending }) => moved.has(ending.id));
  if (typeof target === "string" || won.length === 0) return;
  trial.requests = won.map(({ ending }) => ending.id);
  trial.keys = won.map(({ result }) => result.key);
  await tx.run(sql`select set_config('statement_timeout', ${String(WRITE_TIMEOUT_MS)}, true)`);
  trial.atTarget = true;
  const missing = await target.write(
    tx,
    won.map(({ result }) => result),
  );
  if (missing.size > 0) {
    const requests = won.filter(({ result }) => missing.has(result.key));
    throw new NotHeld(new Map(requests.map(({ ending, result }) => [ending.id, result.key])));
  }
  if (target.isSource) await followOwnWrite(tx, pipeline, { keys: trial.keys, again, trial });
  trial.atTarget = false;
}

/**
 * Our write into the source may change declared columns (a touch trigger, a generated column): that is no new content, or every
 * sweep would ask again. The rows are locked since before they were read, so these changes are ours. `again`: rows that the present
 * definition asks again keep the fingerprint of the one that asked.
 */
export async function followOwnWrite(
  tx: Queryable,
  pipeline: Pipeline,
  { keys, again, trial }: { keys: readonly string[]; again: ReadonlyMap<string, string>; trial: Place },
): Promise<void> {
  for await (const rows of contentsOf(pipeline.source, tx, keys)) {
    const seen = rows.map(({ key, hash, cells }) => ({
      key,
      hash,
      fingerprint: again.has(key) ? null : currentFingerprint(pipeline, cells),
    }));
    trial.atTarget = false;
    await followContent(tx, pipeline.id, seen);
    trial.atTarget = true;
  }
}
