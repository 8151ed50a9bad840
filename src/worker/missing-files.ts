/**
 * Files of a batch that the provider does not find, or that it counts lines of and does not name. Either may be a matter of moments, so
 * they are looked for again; then a person decides, since what is asked again is paid again.
 */
import { pollDelayMs } from "../model/schedule.js";
import { ProviderError } from "../model/former-provider.js";
import * as batches from "../store/batches.js";
import type { Queryable } from "../store/database.js";
import { countUnanswered } from "../store/in-flight.js";
import * as pipelines from "../store/pipelines.js";
import { again, type BatchIn, type Next, type Turn } from "./turn.js";

/** How often files that seem incomplete are fetched again before their missing lines are believed. */
export const DOWNLOADS_MAX = 3;
export const DOWNLOAD_PAUSE_MS = 2_000;
/** How often the provider is asked for the name of a file, at the pace of ordinary polls. */
const NAME_LOOKS_MAX = 8;
/** Stands in `downloads`: a person was told that files are missing, and it is believed. */
export const TOLD = 100;

type Collecting = Turn<BatchIn<"collecting">>;

interface Read {
  /** Files that the provider does not find. */
  readonly gone: readonly string[];
  /** Why a file was not read to its end. */
  readonly overlong: string | null;
}

/** Null: no answer is lost by what is missing, or a person knows. */
export async function lookForFiles(turn: Collecting, { gone, overlong }: Read): Promise<Next | null> {
  const { context, batch } = turn;
  const unnamed = countsUnnamed(batch);
  const isMissing = gone.length > 0 || overlong !== null || unnamed.output || unnamed.error;
  if (!isMissing) return null;
  const left = await countUnanswered(context.read, batch.id);
  if (left === 0) return null;
  return (
    (await missGone(turn, gone, left)) ??
    (await missRest(turn, overlong, left)) ??
    (await missUnnamed(turn, left))
  );
}

/** What stands behind the bound of a file is not read. Null: every file was read to its end, or a person knows. */
async function missRest(turn: Collecting, overlong: string | null, left: number): Promise<Next | null> {
  const { pipeline, batch } = turn;
  if (overlong === null || batch.downloads >= TOLD) return null;
  return tell(
    turn,
    `Batch ${batch.providerBatchId} asked ${batch.lines} requests, and ${overlong}. What came before that is collected; ${left} rows have no answer in it. To ask these rows again, which is paid again: rowmill resume ${pipeline.config.name}`,
  );
}

/**
 * A file may be late, or the key another one; where the batch itself is found with this key, its file is gone for good.
 * Null: none is, or a person knows.
 */
async function missGone(turn: Collecting, gone: readonly string[], left: number): Promise<Next | null> {
  const { context, pipeline, batch, signal } = turn;
  if (gone.length === 0 || batch.downloads >= TOLD) return null;
  if (batch.downloads + 1 < DOWNLOADS_MAX)
    return lookAgain(turn, DOWNLOAD_PAUSE_MS, { downloads: batch.downloads + 1 });
  await context.step("poll.ask", () => pipeline.provider.retrieveBatch(batch.providerBatchId, { signal }));
  return tell(
    turn,
    `The provider has batch ${batch.providerBatchId}, but not its ${counted(gone)} any more: the answers of ${left} rows are lost. To ask these rows again, which is paid again: rowmill resume ${pipeline.config.name}`,
  );
}

export function counted(gone: readonly string[]): string {
  return gone.length === 1 ? `file ${gone.join()}` : `files ${gone.join(" and ")}`;
}

/**
 * Null: it names all that it counts; or did not for so long that it is believed to have none, which for answers, that are paid, a person
 * does by "go on". Then too it is asked once more.
 */
async function missUnnamed(turn: Collecting, left: number): Promise<Next | null> {
  const { context, pipeline, batch } = turn;
  const unnamed = countsUnnamed(batch);
  if (!unnamed.output && !unnamed.error) return null;
  const named = await askForNames(turn);
  if (named !== null) {
    await lookAgain(turn, 0, { ...named, downloads: 0 });
    return again;
  }
  if (batch.downloads >= TOLD) return null;
  const looksMax = unnamed.output ? NAME_LOOKS_MAX : DOWNLOADS_MAX;
  if (batch.downloads + 1 < looksMax) {
    const delayMs = pollDelayMs(batch.downloads, pipeline.config.polling, context.random());
    return lookAgain(turn, delayMs, { downloads: batch.downloads + 1 });
  }
  if (!unnamed.output) return null;
  return tell(
    turn,
    `The provider counts ${batch.providerCounts?.completed} answers in batch ${batch.providerBatchId}, but names no file of them: ${left} rows have no answer. It was asked ${NAME_LOOKS_MAX} times. To ask it once more, and then these rows again, which is paid again: rowmill resume ${pipeline.config.name}`,
  );
}

/** Null: it says no more than before. */
async function askForNames({ context, pipeline, batch, signal }: Collecting) {
  try {
    const seen = await context.step("poll.ask", () =>
      pipeline.provider.retrieveBatch(batch.providerBatchId, { signal }),
    );
    const outputFileId = batch.outputFileId ?? seen.outputFileId;
    const errorFileId = batch.errorFileId ?? seen.errorFileId;
    if (outputFileId === batch.outputFileId && errorFileId === batch.errorFileId) return null;
    return { output_file_id: outputFileId, error_file_id: errorFileId };
  } catch (error) {
    const isGone = error instanceof ProviderError && error.kind === "notFound";
    // A person was told, and said "go on".
    if (isGone && batch.downloads >= TOLD) return null;
    throw error;
  }
}

/** Of which kinds the provider counts lines without naming their file. */
function countsUnnamed({ outputFileId, errorFileId, providerCounts }: Collecting["batch"]) {
  return {
    output: outputFileId === null && (providerCounts?.completed ?? 0) > 0,
    error: errorFileId === null && (providerCounts?.failed ?? 0) > 0,
  };
}

/**
 * With the pause it is written that it was told: the next look, after a person said "go on", believes it. Under another pause, one that
 * lets the collecting go on, it is not told yet: it is after that one, and until then the files are looked for at the pace of polls.
 */
async function tell(turn: Collecting, reason: string): Promise<Next> {
  const { context, pipeline, batch } = turn;
  const delayMs = pollDelayMs(batch.polls, pipeline.config.polling, context.random());
  await context.step("turn.pause", () => context.database.transaction((tx) => pauseOnce(tx, turn, reason)));
  return { next: "wait", delayMs };
}

async function pauseOnce(tx: Queryable, { pipeline, batch, lease }: Collecting, reason: string) {
  await pipelines.lock(tx, pipeline.id);
  if (!(await batches.holds(tx, lease))) return;
  const told = await pipelines.pause(tx, pipeline.id, { kind: "provider", reason });
  await batches.update(tx, lease, told ? { downloads: TOLD } : { polls: batch.polls + 1 });
}

/** Writes what was counted. A lost lease is noticed by whatever this turn does next. */
export async function lookAgain(
  { context, lease }: Collecting,
  delayMs: number,
  fields: batches.BatchFields,
): Promise<Next> {
  await context.step("collect.postpone", () => batches.update(context.database, lease, fields));
  return { next: "wait", delayMs };
}
