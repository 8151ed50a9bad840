/**
 * One transaction over some lines of an answer file, which the caller repeats when it fails: it locks the ledger's
 * rows, reads the source, judges (`judgeChunk`), and writes target rows only for requests that the ledger moved.
 */
import type { Refusal } from "../../../model/batch/failing.js";
import type { SourceRow } from "../../../sources/source.js";
import { sql, type Queryable } from "../../../postgres/database.js";
import * as attempts from "../../../store/requests/attempts.js";
import * as inFlight from "../../../store/batches/in-flight.js";
import type { BatchName } from "../../../store/batches/in-flight.js";
import * as keptAnswers from "../../../store/batches/kept-answers.js";
import * as requests from "../../../store/requests/requests.js";
import * as results from "../../../store/requests/results.js";
import type { Asked } from "./asked.js";
import type { Pipeline } from "../../context.js";
import { followOwnWrite, type Place } from "../../own-write.js";
import { judgeChunk, lineAbout, type ChunkCase, type JudgedChunk, type Outcomes } from "./judge-answer.js";
import type { BatchIn, Turn } from "../turn.js";
import { userCodeTimer } from "../../user-code.js";

/**
 * For the write, which runs the user's triggers; with the reads before it, it takes less time than a lease. PostgreSQL
 * does not bound a COMMIT: triggers that run there are bounded by the connection's time-out alone.
 */
export const WRITE_TIMEOUT_MS = 5_000;

export interface Collecting extends Turn<BatchIn<"collecting">> {
  readonly asked: Asked;
}

/** What a transaction tries to write. */
export interface Trial extends Place {
  requests: readonly string[];
  /** One per request, same order. */
  keys: readonly string[];
}

/** These rows were written without an error, and the target does not hold what was written. */
export class NotHeld extends Error {
  /** Request → key. */
  readonly requests: ReadonlyMap<string, string>;

  constructor(requests: ReadonlyMap<string, string>) {
    super(
      "The database reported no error, but the target does not hold what was written at this key: " +
        "a trigger or a rule keeps it out, moves it to another table or key, or keeps the old row.",
    );
    this.requests = requests;
  }
}

/** `left`: not read or not judged in time, for another transaction. */
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
 * Ends the requests of these lines; lines whose target row another transaction holds are kept in the ledger. Writes
 * nothing and returns `lookFirst` where a row seems gone and is not believed to be yet.
 * @throws NotHeld
 */
export async function endChunk(turn: Collecting, tx: Queryable, chunk: ChunkOfLines): Promise<Ended> {
  const { held, cases } = await readChunk(turn, tx, chunk.outcomes);
  const judged = judgeChunk(turn, cases, { ...chunk, isTimeOver: userCodeTimer() });
  if (judged === "lookFirst") return judged;
  await keptAnswers.keepMany(tx, turn.batch.no, { answers: held, failed: false });
  await writeAccepted(turn, tx, { ...judged, trial: chunk.trial, at: chunk.at });
  await requests.reopenMany(tx, turn.pipeline.id, [...judged.again.values()]);
  return { left: judged.left };
}

/** `held`: lines whose target row another transaction holds. */
async function readChunk(
  turn: Collecting,
  tx: Queryable,
  outcomes: Outcomes,
): Promise<{ readonly held: keptAnswers.AnswerToKeep[]; readonly cases: ChunkCase[] }> {
  const { pipeline, batch } = turn;
  const locked = await inFlight.lockMany(tx, batch.no, [...outcomes.keys()]);
  // The key of an erased row is no key of the tables.
  const all = locked.filter(({ isForgotten }) => !isForgotten);
  const forgotten = locked.filter(({ isForgotten }) => isForgotten);
  // Before the source is read: where it is the target too, no row can change between our read and our write.
  const { busy } = await pipeline.target.lockFree(
    tx,
    all.map((request) => request.key),
  );
  const isBusy = (request: inFlight.InFlight) => busy.has(request.key);
  const free = all.filter((request) => !isBusy(request));
  const { rows, present, unread } = await readContents(
    turn,
    tx,
    free.map((request) => request.key),
  );
  const cases: ChunkCase[] = free.map((request) => ({
    request,
    lines: outcomes.get(request.requestId) ?? [],
    row: rows.get(request.key),
    present: present.get(request.key),
    isUnread: unread.has(request.key),
  }));
  const erased = { row: undefined, present: undefined, isUnread: false };
  for (const request of forgotten) cases.push({ request, lines: outcomes.get(request.requestId) ?? [], ...erased });
  return { held: answersAbout(all.filter(isBusy), outcomes), cases };
}

/** The line about each of these requests; those without one are left out. */
export function answersAbout(requests: readonly inFlight.InFlight[], outcomes: Outcomes): keptAnswers.AnswerToKeep[] {
  return requests.flatMap((request) => {
    const about = lineAbout(request, outcomes.get(request.requestId) ?? []);
    return about === null ? [] : [{ requestId: request.requestId, outcome: about.outcome }];
  });
}

/** `rows` and `present` differ where the definition that asked has another content than the present one. */
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

/** Ends these requests, and writes the results of those that the ledger moved. @throws NotHeld */
export async function writeAccepted(
  {
    pipeline,
    batch,
    asked: { target },
  }: { readonly pipeline: Pipeline; readonly batch: BatchName; readonly asked: Pick<Asked, "target"> },
  tx: Queryable,
  { accepted, others, again, trial, at }: Omit<JudgedChunk, "left"> & Pick<ChunkOfLines, "trial" | "at">,
): Promise<void> {
  const moved = await attempts.endMany(tx, batch, [...others, ...accepted.map(({ ending }) => ending)], at);
  const won = accepted.filter(({ ending }) => moved.has(ending.id));
  if (typeof target === "string" || won.length === 0) return;
  trial.requests = won.map(({ ending }) => ending.id);
  trial.keys = won.map(({ result }) => result.key);
  if (pipeline.config.source.replica !== null) await results.record(tx, pipeline.id, trial.requests);
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
