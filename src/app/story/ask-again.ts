/**
 * Asks failed rows again on your command: they wait, with a fresh count of tries, and a worker sends them. One
 * transaction a chunk: after a crash some of them wait, and the same command finds the others.
 */
import * as failures from "../../store/requests/failures.js";
import type { FailedRows } from "../../store/requests/failures.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import { estimateAgain, type Estimate } from "../../worker/rounds/estimate.js";
import { failedPages, type ChosenRows } from "./failed-pages.js";

const CHUNK_ROWS = 5_000;
const SAMPLE_KEYS = 100;

/** Rows whose kept answer is no longer of use. */
type Overtaken = readonly { readonly id: string; readonly key: string }[];

type Chosen = ChosenRows & { readonly overtaken: Overtaken };

export interface Again {
  readonly rows: number;
  /** Of them: cut off at the output limit that they would get again. */
  readonly sameRoom: number;
  /** Null: there are none. */
  readonly estimate: Estimate | null;
}

/** What sending these rows again would cost: those without a kept answer, and those whose answer is of no use. */
export async function prepareAgain(context: WorkerContext, pipeline: Pipeline, chosen: Chosen): Promise<Again> {
  const { database } = context;
  const { overtaken } = chosen;
  let [rows, sameRoom] = [overtaken.length, 0];
  const ends: FailedRows[] = [];
  for await (const page of failedPages(database, pipeline, chosen)) {
    const counts = await failures.countFailed(database, page, pipeline.config.request.maxOutputTokens);
    rows += counts.lost;
    sameRoom += counts.sameRoom;
    // The first and the last one.
    if (counts.lost > 0) ends.splice(1, 1, page);
  }
  if (rows === 0) return { rows, sameRoom, estimate: null };
  const keys = overtaken.slice(0, SAMPLE_KEYS).map(({ key }) => key);
  for (const page of ends) keys.push(...(await failures.failedSample(database, page, SAMPLE_KEYS / ends.length)));
  return { rows, sameRoom, estimate: await estimateAgain(context, pipeline, { rows, keys: keys.slice(-SAMPLE_KEYS) }) };
}

/**
 * Returns how many wait again: at most `rowsMax`, for which you saw the cost, whatever failed or began to match since.
 * Stops between two chunks at the signal.
 */
export async function askAgain(
  { database }: WorkerContext,
  pipeline: Pipeline,
  { overtaken, rowsMax, signal, ...chosen }: Chosen & { readonly rowsMax: number; readonly signal: AbortSignal },
): Promise<number> {
  const { pipelineId } = chosen.meant;
  let reopened = 0;
  for (let at = 0; at < overtaken.length && !signal.aborted; at += CHUNK_ROWS) {
    const ids = overtaken.slice(at, at + CHUNK_ROWS).map(({ id }) => id);
    reopened += await database.transaction((tx) => failures.reopenFailed(tx, pipelineId, ids));
  }
  for await (const page of failedPages(database, pipeline, { ...chosen, signal }))
    for (let after = "0"; !signal.aborted;) {
      const max = Math.min(CHUNK_ROWS, rowsMax - reopened);
      if (max <= 0) return reopened;
      const chunk = await database.transaction((tx) => failures.reopenLost(tx, page, { after, max }));
      if (chunk === null) break;
      reopened += chunk.reopened;
      after = chunk.last;
    }
  return reopened;
}
