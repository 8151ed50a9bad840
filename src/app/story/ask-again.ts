/**
 * Asks failed rows again on your command: they wait, with a fresh count of tries, and a worker sends them. One
 * transaction a chunk: after a crash some of them wait, and the same command finds the others.
 */
import * as failures from "../../store/requests/failures.js";
import type { FailedRows } from "../../store/requests/failures.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import { estimateAgain, type Estimate } from "../../worker/rounds/estimate.js";

const CHUNK_ROWS = 5_000;
const SAMPLE_KEYS = 100;

/** Rows whose kept answer is no longer of use. */
type Overtaken = readonly { readonly id: string; readonly key: string }[];

export interface Again {
  readonly rows: number;
  /** Of them: cut off at the output limit that they would get again. */
  readonly sameRoom: number;
  /** Null: there are none. */
  readonly estimate: Estimate | null;
}

/** What asking these rows again would cost: those without a kept answer, and those whose answer is of no use. */
export async function prepareAgain(
  context: WorkerContext,
  pipeline: Pipeline,
  { meant, overtaken }: { meant: FailedRows; overtaken: Overtaken },
): Promise<Again> {
  const { database } = context;
  const { lost, sameRoom } = await failures.countFailed(database, meant, pipeline.config.request.maxOutputTokens);
  const rows = lost + overtaken.length;
  if (rows === 0) return { rows, sameRoom, estimate: null };
  const keys = [...(await failures.failedSample(database, meant, SAMPLE_KEYS)), ...overtaken.map(({ key }) => key)];
  return { rows, sameRoom, estimate: await estimateAgain(context, pipeline, { rows, keys }) };
}

/** Returns how many wait again. Stops between two chunks at the signal. */
export async function askAgain(
  { database }: WorkerContext,
  { meant, overtaken, signal }: { meant: FailedRows; overtaken: Overtaken; signal: AbortSignal },
): Promise<number> {
  let reopened = 0;
  for (let at = 0; at < overtaken.length && !signal.aborted; at += CHUNK_ROWS) {
    const ids = overtaken.slice(at, at + CHUNK_ROWS).map(({ id }) => id);
    reopened += await database.transaction((tx) => failures.reopenFailed(tx, meant.pipelineId, ids));
  }
  for (let after = "0"; !signal.aborted;) {
    const bounds = { after, max: CHUNK_ROWS };
    const chunk = await database.transaction((tx) => failures.reopenLost(tx, meant, bounds));
    if (chunk === null) break;
    reopened += chunk.reopened;
    after = chunk.last;
  }
  return reopened;
}
