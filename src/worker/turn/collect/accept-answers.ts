/**
 * The usual case of a chunk of lines: answers to the present definition that fit its schema. Their rows need not be
 * read: the statement that ends the requests compares the content. `end-answers.ts` does all others, row by row.
 */
import type { Json } from "../../../model/pipeline.js";
import { parseCustomId } from "../../../model/request/custom-id.js";
import type { AnswerOutcome } from "../../../model/provider/outcome.js";
import * as batches from "../../../store/batches/batches.js";
import { DatabaseError, isDataError } from "../../../postgres/database.js";
import * as attempts from "../../../store/requests/attempts.js";
import * as results from "../../../store/requests/results.js";
import * as inFlight from "../../../store/batches/in-flight.js";
import { WRITE_TIMEOUT_MS, type Collecting } from "./answer-chunk.js";
import type { Place } from "../../own-write.js";
import type { Outcomes } from "./judge-answer.js";
import { countedUsage, storable } from "../ending.js";
import { causeOf } from "./row-refusal.js";

/** The longest that a user's transaction waits for ours; far below PostgreSQL's `deadlock_timeout`. */
const LOCK_TIMEOUT_MS = 100;

/** The SQLSTATE of a statement over too many large rows; `end-answers.ts` reads them by their sizes. */
const TOO_LONG = "57014";

export interface Accepted {
  /** Lines to look at row by row. */
  readonly left: Outcomes;
  readonly written: number;
  /** When answers were written, for the rest of the chunk too, as the lines have no order. Null: none was written. */
  readonly at: string | null;
}

/** Null: the lease is lost. */
export async function acceptAnswers(turn: Collecting, outcomes: Outcomes): Promise<Accepted | null> {
  const good = mayAccept(turn) ? goodAnswers(turn, outcomes) : new Map<string, Good>();
  if (good.size === 0) return { left: outcomes, written: 0, at: null };
  const place: Place = { atTarget: false };
  let written: Written | null;
  try {
    written = await accept(turn, good, place);
  } catch (error) {
    if (!mayBeOneRow(error, place)) throw error;
    turn.context.log.debug({ batch: turn.batch.id, err: error }, "judging a chunk row by row");
    return { left: outcomes, written: 0, at: null };
  }
  if (written === null) return null;
  const { ids, at } = written;
  const left = new Map([...outcomes].filter(([id]) => !ids.has(id)));
  return { left, written: ids.size, at };
}

/** Whether a single row, or a transaction that holds it, can cause this error: then the others go one by one. */
function mayBeOneRow(error: unknown, { atTarget }: Place): boolean {
  if (error instanceof NotWritten) return true;
  if (!(error instanceof DatabaseError)) return false;
  return causeOf(error, atTarget) !== null || isDataError(error) || error.sqlState === TOO_LONG;
}

/** The row is not needed: not for `validate`, not to compare definitions or names, not as what is written. */
function mayAccept({ pipeline, batch, asked: { changed, target } }: Collecting): boolean {
  const isOurs = batch.adoptedPattern === null && !batch.recovered;
  const isApart = typeof target !== "string" && !target.isSource;
  return isOurs && isApart && !changed && pipeline.config.validate === null;
}

interface Good {
  readonly answer: attempts.GoodAnswer;
  readonly cells: Readonly<Record<string, Json>>;
}

function goodAnswers(turn: Collecting, outcomes: Outcomes): Map<string, Good> {
  const good = new Map<string, Good>();
  for (const [id, lines] of outcomes) {
    const [line] = lines;
    const one = line !== undefined && lines.length === 1 ? goodAnswer(turn, line) : null;
    // Another request's, whose line this one shares.
    if (one?.answer.id === id) good.set(id, one);
  }
  return good;
}

function goodAnswer({ pipeline, batch }: Collecting, line: AnswerOutcome): Good | null {
  const name = line.kind === "text" ? parseCustomId(line.customId) : null;
  if (line.kind !== "text" || name === null) return null;
  const parsed = pipeline.answer.parse(line.text, line);
  if (!parsed.ok) return null;
  const { input, cached, output, cost } = countedUsage(batch, line.usage);
  // A text may be cut off at a learned limit without a word: judged row by row.
  const room = batch.room ?? Infinity;
  const isLearned = room < pipeline.config.request.maxOutputTokens;
  if (pipeline.answer.schema === null && isLearned && output >= room) return null;
  const answer: attempts.GoodAnswer = {
    id: name.requestId,
    attempt: name.attempt,
    ending: "succeeded",
    hashPrefix: name.hashPrefix,
    model: storable(line.model),
    input,
    cached,
    output,
    cost,
    demo: line.demo === true,
  };
  return { answer, cells: parsed.cells };
}

/** A trigger or a rule of the user did something else. */
class NotWritten extends Error {}

interface Written {
  readonly ids: ReadonlySet<string>;
  readonly at: string | null;
}

/** Returns the requests that are answered. Null: the lease is lost, or the definition changed. */
function accept(
  { context, pipeline, batch, lease, asked: { target } }: Collecting,
  good: ReadonlyMap<string, Good>,
  place: Place,
): Promise<Written | null> {
  if (typeof target === "string") return Promise.resolve({ ids: new Set(), at: null });
  const answers = [...good.values()].map(({ answer }) => answer);
  return context.step("collect.chunk", () =>
    context.database.transaction(
      async (tx) => {
        // Sent together to save a round trip: a lock that turns out not to be needed does no harm.
        const held = batches.holds(tx, lease, pipeline);
        await inFlight.lockQuietly(tx, batch.no, [...good.keys()]);
        const [isHeld, { plain }] = await Promise.all([held, target.lock(tx)]);
        if (!isHeld) return null;
        const { ids, keys, at } = await attempts.acceptMany(tx, batch, { answers, row: pipeline.source.inSql });
        if (pipeline.config.source.replica !== null) await results.record(tx, pipeline.id, ids);
        const written = ids.map((id, index) => {
          const { cells, answer } = good.get(id) ?? { cells: {}, answer: null };
          return { key: keys[index] ?? "", cells, model: answer?.model ?? batch.model, version: batch.version };
        });
        place.atTarget = true;
        if ((await target.write(tx, written, plain)).size > 0) throw new NotWritten();
        return { ids: new Set(ids), at: ids.length === 0 ? null : at };
      },
      { writingFor: pipeline.id, lockTimeoutMs: LOCK_TIMEOUT_MS, statementTimeoutMs: WRITE_TIMEOUT_MS },
    ),
  );
}
