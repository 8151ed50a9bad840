/**
 * Writes kept answers that the target refused before, at no cost, once the target accepts them. In the collector's
 * order: locks the ledger's rows, then the target's free rows, reads the source, and writes only what still answers the
 * row and the question. A chunk is one transaction: a crash leaves it whole or not at all. One that fails by its rows
 * is halved, down to the row, each in a transaction of its own, because a deferred constraint fails at the commit.
 */
import { RowmillError } from "../../model/errors.js";
import type { Json } from "../../model/pipeline.js";
import { storableText } from "../../model/words/storable-text.js";
import { DatabaseError, isConflict, type Database, type Queryable } from "../../postgres/database.js";
import type { FailedRows } from "../../store/requests/failures.js";
import * as resultList from "../../store/requests/results.js";
import * as unwritten from "../../store/requests/unwritten.js";
import type { KeptAnswer } from "../../store/requests/unwritten.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Result } from "../../targets/target.js";
import { currentFingerprint, type Pipeline } from "../../worker/context.js";
import { followOwnWrite, type Place } from "../../worker/own-write.js";
import { NotHeld } from "../../worker/turn/collect/answer-chunk.js";
import { causeOf, isOfStatement } from "../../worker/turn/collect/row-refusal.js";
import { userCodeTimer } from "../../worker/user-code.js";
import { failedPages } from "./failed-pages.js";

/** In one transaction. */
const CHUNK_ROWS = 500;
/** Short: your own transactions must not wait for ours. */
const LOCK_TIMEOUT_MS = 400;
/** For rows whose locks others hold, where the write does not say which; then they are left. */
const CONFLICT_TRIES_MAX = 5;
/** Held rows that a command searches for by halving; beyond it, a chunk that fails is left whole. */
const ALONE_MAX = 16;
const MESSAGE_CHARACTERS_MAX = 2_000;
const KEPT_REASON = "unwritable";
/** Their ids stay in memory until you have answered. */
const OVERTAKEN_MAX = 100_000;

export interface KeptTally {
  written: number;
  /** Failed again, with the new message. */
  refused: number;
  /** One of them. */
  example: { readonly key: string; readonly message: string } | null;
  /** Another transaction holds the target's row. */
  held: number;
  /** Their rows were deleted: the next look ends their requests. */
  gone: number;
  /** The row or the question has changed: the answer is of no use. */
  readonly overtaken: { readonly id: string; readonly key: string }[];
  /** The same, beyond what fits into memory. */
  overtakenMore: number;
}

/** Counts over one command. */
interface Waits {
  /** Held rows that were found alone. */
  alone: number;
}

export interface Writing {
  readonly database: Database;
  readonly pipeline: Pipeline;
  readonly meant: FailedRows;
  /** Only of the rows that match it. */
  readonly where?: string | undefined;
  /** Answers of the demo model are written for its own account only. */
  readonly account: string;
  readonly signal: AbortSignal;
  readonly onChunk: (tally: KeptTally) => void;
}

/** At the signal it stops between two chunks, and returns what it has written so far. */
export async function writeKept(writing: Writing): Promise<KeptTally> {
  const { database, pipeline, meant, where, signal } = writing;
  const tally: KeptTally = {
    written: 0,
    refused: 0,
    example: null,
    held: 0,
    gone: 0,
    overtaken: [],
    overtakenMore: 0,
  };
  const waits: Waits = { alone: 0 };
  const chosen = { meant: { ...meant, reasons: keptReasons(meant) }, where, signal };
  for await (const page of failedPages(database, pipeline, chosen))
    await writePage({ ...writing, meant: page, waits }, tally);
  return tally;
}

/** No other answer is kept, so no other row has to be compared. */
function keptReasons({ reasons }: FailedRows): readonly string[] {
  return (reasons ?? [KEPT_REASON]).filter((reason) => reason === KEPT_REASON);
}

async function writePage(writing: Pass, tally: KeptTally): Promise<void> {
  const { database, meant, signal } = writing;
  for (let after = "0"; !signal.aborted;) {
    const ids = await unwritten.nextKept(database, meant, { after, max: CHUNK_ROWS });
    const last = ids.at(-1);
    if (last === undefined) return;
    await writePart(writing, tally, ids);
    after = last;
    writing.onChunk(tally);
  }
}

/** With what it counts over all chunks. */
type Pass = Writing & { readonly waits: Waits };

async function writePart(writing: Pass, tally: KeptTally, ids: readonly string[]): Promise<void> {
  let open = ids;
  for (let tries = 1; open.length > 0 && !writing.signal.aborted;) {
    const trial: Place = { atTarget: false };
    try {
      const chunk = await writeOnce(writing, open, trial);
      count(tally, chunk);
      open = chunk.left;
      tries = 1;
    } catch (error) {
      if (error instanceof NotHeld) {
        const { requests, message } = error;
        await noteRefusal(writing, tally, { ids: [...requests.keys()], message });
        open = open.filter((id) => !requests.has(id));
        continue;
      }
      if (isConflict(error)) {
        // An inserted key, or a lock that a trigger waits for, belongs to one row.
        if (trial.atTarget && open.length > 1 && writing.waits.alone < ALONE_MAX) return halve(writing, tally, open);
        if (tries++ < CONFLICT_TRIES_MAX) continue;
        if (open.length === 1) writing.waits.alone++;
        tally.held += open.length;
        return;
      }
      if (!isRowsOwn(error, trial)) throw error;
      if (open.length > 1) return halve(writing, tally, open);
      return noteRefusal(writing, tally, { ids: open, message: error.message });
    }
  }
}

async function halve(writing: Pass, tally: KeptTally, ids: readonly string[]): Promise<void> {
  const middle = Math.ceil(ids.length / 2);
  await writePart(writing, tally, ids.slice(0, middle));
  await writePart(writing, tally, ids.slice(middle));
}

/** A failure of the statement (a missing right), the source or the ledger is not a row's own, and ends the command. */
function isRowsOwn(error: unknown, { atTarget }: Place): error is DatabaseError {
  return error instanceof DatabaseError && causeOf(error, atTarget) !== null && !isOfStatement(error);
}

interface Refused {
  readonly id: string;
  readonly key: string;
  readonly message: string;
}

interface Chunk {
  readonly written: number;
  readonly refused: readonly Refused[];
  readonly held: number;
  readonly gone: number;
  readonly overtaken: readonly { id: string; key: string }[];
  /** What did not fit into memory with the others, or was not judged in time. */
  readonly left: readonly string[];
}

function count(tally: KeptTally, chunk: Chunk): void {
  tally.written += chunk.written;
  tally.held += chunk.held;
  tally.gone += chunk.gone;
  tally.refused += chunk.refused.length;
  tally.example ??= chunk.refused[0] ?? null;
  const room = OVERTAKEN_MAX - tally.overtaken.length;
  tally.overtaken.push(...chunk.overtaken.slice(0, room));
  tally.overtakenMore += Math.max(0, chunk.overtaken.length - room);
}

async function noteRefusal(
  { database }: Writing,
  tally: KeptTally,
  { ids, message }: { ids: readonly string[]; message: string },
): Promise<void> {
  const refused = await database.transaction(async (tx) => {
    const kept = await unwritten.lockKept(tx, ids);
    const notes = kept.map(({ id, key }) => ({ id, key, message: storedMessage(message) }));
    await unwritten.noteRefusals(tx, notes);
    return notes;
  });
  count(tally, { written: 0, refused, held: 0, gone: 0, overtaken: [], left: [] });
}

function storedMessage(message: string): string {
  return storableText(message.slice(0, MESSAGE_CHARACTERS_MAX));
}

function writeOnce(writing: Writing, ids: readonly string[], trial: Place): Promise<Chunk> {
  const { database, pipeline } = writing;
  return database.transaction(
    async (tx) => {
      if ((await pipelines.keepDefinition(tx, pipeline.id)) !== pipeline.definitionHash) throw changed(pipeline);
      const all = await unwritten.lockKept(tx, ids);
      const { busy } = await pipeline.target.lockFree(
        tx,
        all.map(({ key }) => key),
      );
      const free = all.filter(({ key }) => !busy.has(key));
      const { fit, ...others } = await judge(writing, tx, free);
      if (fit.length > 0) await writeResults(tx, pipeline, { fit, trial });
      // What fails from here on fails at COMMIT.
      trial.atTarget = fit.length > 0;
      return { written: fit.length, refused: [], held: all.length - free.length, ...others };
    },
    { writingFor: pipeline.id, lockTimeoutMs: LOCK_TIMEOUT_MS },
  );
}

function changed({ config }: Pipeline): RowmillError {
  return new RowmillError("refused", `Another rowmill up changed ${config.name} in the meantime.`, {
    hints: [`What was written stays. For the rest: rowmill retry ${config.name}`],
  });
}

interface Fit {
  readonly id: string;
  readonly result: Result;
}

type JudgedKept = Pick<Chunk, "gone" | "overtaken" | "left"> & { readonly fit: readonly Fit[] };

/** Which of them still answer the row and the question of today. */
async function judge({ pipeline, account }: Writing, tx: Queryable, kept: readonly KeptAnswer[]): Promise<JudgedKept> {
  const read = await pipeline.source.readRows(
    tx,
    kept.map(({ key }) => key),
  );
  const rows = new Map(read.rows.map((row) => [row.key, row]));
  const unread = new Set(read.left);
  const isTimeOver = userCodeTimer();
  const fit: Fit[] = [];
  const overtaken: KeptAnswer[] = [];
  const left: string[] = [];
  let gone = 0;
  for (const answer of kept) {
    const row = rows.get(answer.key);
    if (unread.has(answer.key) || isTimeOver()) left.push(answer.id);
    else if (row === undefined && !answer.rowGone) gone++;
    else {
      // As in the collector: the answer of a deleted row stands for what was asked.
      const isAsked =
        row === undefined ||
        (row.hash === answer.contentHash && currentFingerprint(pipeline, row.cells) === answer.fingerprint);
      const isOthersDemo = answer.demo && answer.account !== account;
      const cells = isAsked && !isOthersDemo ? cellsOf(answer) : null;
      if (cells === null) overtaken.push(answer);
      else
        fit.push({ id: answer.id, result: { key: answer.key, cells, model: answer.model, version: answer.version } });
    }
  }
  return { fit, gone, overtaken: overtaken.map(({ id, key }) => ({ id, key })), left };
}

function cellsOf({ answer }: KeptAnswer): Readonly<Record<string, Json>> {
  // Written by the collector from the cells that it could not write.
  return JSON.parse(answer) as Readonly<Record<string, Json>>;
}

/** @throws NotHeld: what a trigger or rule did instead is rolled back */
async function writeResults(
  tx: Queryable,
  pipeline: Pipeline,
  { fit, trial }: { fit: readonly Fit[]; trial: Place },
): Promise<void> {
  const { target } = pipeline;
  const results = fit.map(({ result }) => result);
  trial.atTarget = true;
  const missing = await target.write(tx, results);
  const notHeld = fit.filter(({ result }) => missing.has(result.key));
  if (notHeld.length > 0) throw new NotHeld(new Map(notHeld.map(({ id, result }) => [id, result.key])));
  trial.atTarget = false;
  const ids = fit.map(({ id }) => id);
  await unwritten.endKept(tx, pipeline.id, ids);
  if (pipeline.config.source.replica !== null) await resultList.record(tx, pipeline.id, ids);
  if (!target.isSource) return;
  trial.atTarget = true;
  await followOwnWrite(tx, pipeline, { keys: results.map(({ key }) => key), again: new Map(), trial });
}
