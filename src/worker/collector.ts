/**
 * collecting → settled: reads the output and error files as streams and gives every request of the batch its ending, chunk by chunk
 * (`end-answers.ts`). After a crash the files are read again from the start; lines whose requests have left the batch change nothing.
 *
 * Answers whose target rows somebody holds are kept in the ledger. Once the files were read to their end and nothing else is open, the batch
 * says so (`files_read`), and later turns write from what is kept, and read no file again.
 */
import { pollDelayMs } from "../model/schedule.js";
import { OverlongFile, ProviderError } from "../model/former-provider.js";
import type * as batches from "../store/batches.js";
import type { Queryable } from "../store/database.js";
import { countEndings, countUnanswered } from "../store/in-flight.js";
import { nextKept, passStart, type KeptAnswer } from "../store/kept-answers.js";
import * as pipelines from "../store/pipelines.js";
import type { Collecting, Outcomes } from "./answer-chunk.js";
import { askedBy } from "./asked.js";
import { endAnswers, type Waits } from "./end-answers.js";
import { endAll } from "./ending.js";
import { pauseWhenFailing } from "./failing-answers.js";
import { answerBounds } from "./file-limits.js";
import { attributeLines } from "./line-requests.js";
import { counted, DOWNLOAD_PAUSE_MS, DOWNLOADS_MAX, lookAgain, lookForFiles } from "./missing-files.js";
import { eachStep } from "./step.js";
import { done, lost, type BatchIn, type Next, type Turn } from "./turn.js";

/** Lines in one transaction: bounded in number, since a user's table is written, and in size. */
const CHUNK_LINES = 500;
const CHUNK_BYTES = 8 * 1024 * 1024;

interface Tally {
  lines: number;
  unknown: number;
  /** Requests that the files did not name, and that ended so. */
  missing: number;
  /** Files that the provider does not find. */
  gone: string[];
  /** Why a file was not read to its end; null: all were. */
  overlong: string | null;
}

export async function collect(claimed: Turn<BatchIn<"collecting">>): Promise<Next> {
  const turn = { ...claimed, asked: await askedBy(claimed) };
  const waits: Waits = { alone: 0 };
  if (turn.batch.keepsAnswers && !(await collectKept(turn, waits))) return lost;
  const { filesRead, outputFileId, errorFileId } = turn.batch;
  const tally: Tally = { lines: 0, unknown: 0, missing: 0, ...filesRead, gone: [], overlong: null };
  for (const fileId of filesRead === null ? [outputFileId, errorFileId] : []) {
    if (fileId !== null && !(await collectFile(turn, fileId, { tally, waits }))) return lost;
  }
  return (await lookForFiles(turn, tally)) ?? settle(turn, tally);
}

/** False: the lease is lost. A file that is not there is noted, so that the other one is read all the same. */
async function collectFile(
  turn: Collecting,
  fileId: string,
  { tally, waits }: { tally: Tally; waits: Waits },
): Promise<boolean> {
  try {
    for await (const lines of fileChunks(turn, fileId)) {
      if (!(await endAnswers(turn, await readOutcomes(turn, lines, tally), waits))) return false;
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

/** Tries once more to write what came in an earlier turn and could not be written then. False: the lease is lost. */
async function collectKept(turn: Collecting, waits: Waits): Promise<boolean> {
  const { context, batch } = turn;
  const before = await passStart(context.read);
  for (let after: KeptAnswer | null = null; ;) {
    const pass = { before, after };
    const kept = await nextKept(context.read, batch.id, { pass, max: CHUNK_LINES, bytesMax: CHUNK_BYTES });
    after = kept.at(-1) ?? null;
    if (after === null) return true;
    const outcomes = new Map(kept.map(({ requestId, outcome }) => [requestId, [outcome]]));
    if (!(await endAnswers(turn, outcomes, waits))) return false;
  }
}

async function settle(turn: Collecting, tally: Tally): Promise<Next> {
  const { context, pipeline, batch } = turn;
  const left = await countUnanswered(context.read, batch.id);
  const counts = batch.providerCounts;
  const believable = counts === null || tally.lines >= counts.completed + counts.failed;
  if (left > 0 && !believable && batch.downloads + 1 < DOWNLOADS_MAX)
    return lookAgain(turn, DOWNLOAD_PAUSE_MS, { downloads: batch.downloads + 1 });
  const { outcome, detail } = unnamed(batch, tally);
  const read = { lines: tally.lines, unknown: tally.unknown, missing: tally.missing + left };
  const ended = await endAll(context, {
    ...turn,
    facts: () => ({ outcome, detail }),
    event: "allEnded",
    reason:
      read.missing === 0
        ? "every request was named in the files"
        : `${read.missing} requests were named in neither file: ${outcome}`,
    detail: read,
    first: (tx) => lookAtAnswers(tx, pipeline),
  });
  if (ended === "lost") return lost;
  if (ended === "kept") return waitForRows(turn, read);
  const sums = await countEndings(context.read, batch.id);
  context.log.info({ pipeline: batch.pipeline, batch: batch.id, ...sums }, "batch settled");
  return done;
}

/** The files are not needed any more. */
function waitForRows(turn: Collecting, read: batches.FilesRead): Promise<Next> {
  const { context, pipeline, batch } = turn;
  context.log.info(
    { pipeline: batch.pipeline, batch: batch.id },
    "answers are kept until their rows can be written: others hold them",
  );
  const delayMs = pollDelayMs(batch.polls, pipeline.config.polling, context.random());
  return lookAgain(turn, delayMs, { polls: batch.polls + 1, files_read: read });
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
