/**
 * collecting → settled: reads the output and error files as streams and gives every request of the batch its ending.
 *
 * A chunk of lines is one transaction: the ledger's rows are locked first, then the source is read, and an answer counts only for
 * the content that it was given to. Target rows are written from what the ledger's guarded update won. After a crash the files are
 * read again from the start; lines whose requests have left the batch change nothing.
 */
import { pollDelayMs } from "../model/schedule.js";
import type { AnswerOutcome } from "../model/outcome.js";
import { contentsOf, type SourceRow } from "../sources/source.js";
import { OverlongFile, ProviderError } from "../providers/provider.js";
import * as batches from "../store/batches.js";
import { bisect } from "../store/bisect.js";
import type { Queryable } from "../store/database.js";
import {
  countEndings,
  countInFlight,
  endMany,
  lockMany,
  type AttemptEnding,
  type InFlight,
} from "../store/in-flight.js";
import * as pipelines from "../store/pipelines.js";
import type { Result } from "../targets/target.js";
import { followContent, reopenMany } from "../store/requests.js";
import { askedBy, type Asked } from "./asked.js";
import { currentFingerprint } from "./context.js";
import { endAll, endingOf } from "./ending.js";
import { pauseWhenFailing } from "./failing-answers.js";
import { catchUp } from "./intake.js";
import { answerBounds } from "./file-limits.js";
import { attributeLines } from "./line-requests.js";
import { judgeAnswer, type Judged } from "./judge-answer.js";
import { counted, DOWNLOAD_PAUSE_MS, DOWNLOADS_MAX, lookAgain, lookForFiles } from "./missing-files.js";
import { eachStep } from "./step.js";
import { done, lost, type BatchIn, type Next, type Turn } from "./turn.js";
import { userCodeTimer } from "./user-code.js";

/** Lines in one transaction: bounded in number, since a user's table is written, and in size. */
const CHUNK_LINES = 500;
const CHUNK_BYTES = 8 * 1024 * 1024;
/** Short, so that a user's transaction never has to wait for ours for long, nor lose a deadlock against us. */
const LOCK_TIMEOUT_MS = 400;

interface Collecting extends Turn<BatchIn<"collecting">> {
  readonly asked: Asked;
}

interface Tally {
  lines: number;
  unknown: number;
  /** Results whose target row a user's transaction holds. */
  postponed: number;
  /** Files that the provider does not find. */
  gone: string[];
  /** Why a file was not read to its end; null: all were. */
  overlong: string | null;
}

export async function collect(claimed: Turn<BatchIn<"collecting">>): Promise<Next> {
  const turn = { ...claimed, asked: await askedBy(claimed) };
  const tally: Tally = { lines: 0, unknown: 0, postponed: 0, gone: [], overlong: null };
  for (const fileId of [turn.batch.outputFileId, turn.batch.errorFileId]) {
    if (fileId !== null && !(await collectFile(turn, fileId, tally))) return lost;
  }
  return (await lookForFiles(turn, tally)) ?? settle(turn, tally);
}

/** False: the lease is lost. A file that is not there is noted, so that the other one is read all the same. */
async function collectFile(turn: Collecting, fileId: string, tally: Tally): Promise<boolean> {
  try {
    for await (const lines of fileChunks(turn, fileId)) {
      if (!(await collectChunk(turn, lines, tally))) return false;
    }
  } catch (error) {
    const isOverlong = error instanceof OverlongFile;
    if (!isOverlong && (!(error instanceof ProviderError) || error.kind !== "notFound")) throw error;
    const what = isOverlong ? "a file is longer than it may be" : "the provider does not find a file";
    turn.context.log.warn({ batch: turn.batch.id, fileId, err: error }, what);
    if (isOverlong) tally.overlong = error.message;
    else tally.gone.push(fileId);
  }
  return true;
}

function fileChunks(
  { context, pipeline, batch, signal }: Collecting,
  fileId: string,
): AsyncGenerator<string[]> {
  const options = { signal, bounds: answerBounds(batch.lines) };
  return eachStep(context.step, "collect.read", chunks(pipeline.provider.readLines(fileId, options)));
}

async function* chunks(lines: AsyncIterable<string>): AsyncGenerator<string[]> {
  let chunk: string[] = [];
  let bytes = 0;
  let overlong: OverlongFile | null = null;
  try {
    for await (const line of lines) {
      chunk.push(line);
      bytes += line.length;
      if (chunk.length < CHUNK_LINES && bytes < CHUNK_BYTES) continue;
      yield chunk;
      chunk = [];
      bytes = 0;
    }
  } catch (error) {
    if (!(error instanceof OverlongFile)) throw error;
    overlong = error;
  }
  // What came before the bound counts.
  if (chunk.length > 0) yield chunk;
  if (overlong !== null) throw overlong;
}

/** False: the lease is lost. */
async function collectChunk(turn: Collecting, lines: readonly string[], tally: Tally): Promise<boolean> {
  const { context, pipeline } = turn;
  let open = await readOutcomes(turn, lines, tally);
  let goneBelieved = false;
  // Each round ends at least one request, or believes in the next one what this one did not.
  while (open.size > 0) {
    turn.signal.throwIfAborted();
    const ended = await endLines(turn, open, { goneBelieved });
    if (ended === "lost") return false;
    if (ended === "lookFirst") {
      // A row that seems gone may only have got another key: the arrival that says so is there by now, and its request follows it.
      await catchUp(context, pipeline, turn.signal);
      goneBelieved = true;
      continue;
    }
    tally.postponed += ended.postponed;
    open = ended.left;
    goneBelieved = false;
  }
  return true;
}

type Outcomes = ReadonlyMap<string, readonly AnswerOutcome[]>;

/** What the lines say, by request. */
async function readOutcomes(
  { context, pipeline, batch }: Collecting,
  lines: readonly string[],
  tally: Tally,
): Promise<Outcomes> {
  const read = lines.map((line) => pipeline.provider.readOutcome(line));
  const { outcomes, unknown } = await attributeLines(context.read, batch, read);
  tally.lines += lines.length;
  tally.unknown += unknown;
  return outcomes;
}

/** `left`: what did not go into memory together with the others, or was not judged in time, for another transaction. */
type Ended = "lost" | "lookFirst" | { readonly postponed: number; readonly left: Outcomes };

async function endLines(
  turn: Collecting,
  outcomes: Outcomes,
  options: { goneBelieved: boolean },
): Promise<Ended> {
  const { context, pipeline, lease } = turn;
  return context.step("collect.chunk", () =>
    context.database.transaction(
      async (tx) => {
        // Else the sweep of a definition that another worker registers meanwhile leaves these rows out, and nobody reopens them.
        const isCurrent = (await pipelines.keepDefinition(tx, pipeline.id)) === pipeline.definitionHash;
        if (!isCurrent || !(await batches.holds(tx, lease))) return "lost";
        return endChunk(turn, tx, { outcomes, ...options });
      },
      { writingFor: pipeline.id, lockTimeoutMs: LOCK_TIMEOUT_MS },
    ),
  );
}

/**
 * Ends the requests of these lines. Those of another definition are reopened where the present one would ask something else. Writes
 * nothing and says `lookFirst` where a row seems gone and is not yet believed to be.
 */
async function endChunk(
  turn: Collecting,
  tx: Queryable,
  chunk: { outcomes: Outcomes; goneBelieved: boolean },
): Promise<Ended> {
  const { outcomes, goneBelieved } = chunk;
  const { pipeline, batch, asked } = turn;
  const all = await lockMany(tx, batch.id, [...outcomes.keys()]);
  // Before the source is read: where it is the target too, nobody else can change a row between the reading and our write.
  const { busy } = await pipeline.target.lockFree(
    tx,
    all.map((request) => request.key),
  );
  const free = all.filter((request) => !busy.has(request.key));
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
    const about = outcomes.get(request.requestId);
    if (about === undefined) continue;
    if (unread.has(request.key) || isTimeOver()) {
      left.set(request.requestId, about);
      continue;
    }
    const now = present.get(request.key);
    const judged = judgeAnswer(pipeline, {
      request,
      lines: about,
      row: rows.get(request.key),
      present: now,
      asked,
    });
    if (judged === null) continue;
    if (judged.facts.outcome === "gone" && !goneBelieved) return "lookFirst";
    const judgedEnding = endingOf(turn, request, judged.facts);
    const isAgain =
      now !== undefined && asked.changed && isAskedAgain(pipeline, { request, now, ending: judgedEnding });
    if (isAgain) again.set(request.key, request.requestId);
    // The tries of one definition are not those of the next one, whichever state the row is in.
    const ending =
      isAgain && judgedEnding.to === "waiting" ? { ...judgedEnding, tries: 0, returns: 0 } : judgedEnding;
    const model = ending.model ?? batch.model;
    if (judged.cells === null) others.push(ending);
    else accepted.push({ request, judged, ending, result: { key: request.key, cells: judged.cells, model } });
  }
  await endMany(tx, { id: batch.id, pipelineId: pipeline.id }, others);
  await writeAccepted(turn, tx, { accepted, again });
  await reopenMany(tx, pipeline.id, [...again.values()]);
  return { postponed: busy.size, left };
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

interface Accepted {
  readonly request: InFlight;
  readonly judged: Judged;
  readonly ending: AttemptEnding;
  readonly result: Result;
}

async function writeAccepted(
  turn: Collecting,
  tx: Queryable,
  { accepted, again }: { accepted: readonly Accepted[]; again: ReadonlyMap<string, string> },
): Promise<void> {
  const { pipeline, batch, asked } = turn;
  const { target } = asked;
  const of = { id: batch.id, pipelineId: pipeline.id };
  await bisect(
    tx,
    accepted,
    async (part) => {
      const moved = await endMany(
        tx,
        of,
        part.map(({ ending }) => ending),
      );
      const results = part.filter(({ ending }) => moved.has(ending.id)).map(({ result }) => result);
      if (typeof target === "string") return;
      await target.write(tx, results);
      if (target.isSource) await followOwnWrite(tx, pipeline, { results, again });
    },
    async ({ request, judged, ending }, error) => {
      const facts = {
        ...judged.facts,
        outcome: "unwritable" as const,
        detail: error.message,
        answer: JSON.stringify(judged.cells),
      };
      await endMany(tx, of, [{ ...endingOf(turn, request, facts), hash: ending.hash }]);
    },
  );
}

/**
 * Our write into the source may change declared columns (a touch trigger, a generated column): that is no new content, or every
 * sweep would ask again, for ever. The rows are locked since before they were read, so that nobody else's change is taken for ours.
 */
async function followOwnWrite(
  tx: Queryable,
  pipeline: Collecting["pipeline"],
  { results, again }: { results: readonly Result[]; again: ReadonlyMap<string, string> },
): Promise<void> {
  const keys = results.map((result) => result.key);
  for await (const rows of contentsOf(pipeline.source, tx, keys)) {
    const seen = rows.map(({ key, hash, cells }) => ({
      key,
      hash,
      // One that the present definition asks again keeps the fingerprint of the one that asked.
      fingerprint: again.has(key) ? null : currentFingerprint(pipeline, cells),
    }));
    await followContent(tx, pipeline.id, seen);
  }
}

async function settle(turn: Collecting, tally: Tally): Promise<Next> {
  const { context, pipeline, batch } = turn;
  const left = await countInFlight(context.read, batch.id);
  if (left > 0 && tally.postponed > 0)
    return lookAgain(turn, pollDelayMs(batch.polls, pipeline.config.polling, context.random()), {
      polls: batch.polls + 1,
    });
  const counts = batch.providerCounts;
  const believable = counts === null || tally.lines >= counts.completed + counts.failed;
  if (left > 0 && !believable && batch.downloads + 1 < DOWNLOADS_MAX)
    return lookAgain(turn, DOWNLOAD_PAUSE_MS, { downloads: batch.downloads + 1 });
  const { outcome, detail } = unnamed(batch, tally);
  const ended = await endAll(context, {
    ...turn,
    facts: () => ({ outcome, detail }),
    event: "allEnded",
    reason:
      left === 0
        ? "every request was named in the files"
        : `${left} requests were named in neither file: ${outcome}`,
    detail: { lines: tally.lines, unknown: tally.unknown, missing: left },
    first: (tx) => lookAtAnswers(tx, pipeline),
  });
  if (!ended) return lost;
  const sums = await countEndings(context.read, batch.id);
  context.log.info({ pipeline: batch.pipeline, batch: batch.id, ...sums }, "batch settled");
  return done;
}

/** Before the batch is over, so that whoever waits for the end sees the pause. Locks the pipeline, which comes before its batches. */
async function lookAtAnswers(tx: Queryable, pipeline: Collecting["pipeline"]): Promise<void> {
  const row = await pipelines.lock(tx, pipeline.id);
  if (row?.definitionHash === pipeline.definitionHash) await pauseWhenFailing(tx, pipeline);
}

/** How requests end that no line names. */
function unnamed(
  { providerStatus }: Collecting["batch"],
  { gone }: Tally,
): { outcome: "expired" | "cancelled" | "missing"; detail: string } {
  if (gone.length > 0)
    return {
      outcome: "missing",
      detail: `The provider does not have ${counted(gone)} of the batch any more.`,
    };
  const outcome = providerStatus === "expired" || providerStatus === "cancelled" ? providerStatus : "missing";
  const detail = `The provider's files do not name this request; the batch was ${providerStatus ?? "done"}.`;
  return { outcome, detail };
}
