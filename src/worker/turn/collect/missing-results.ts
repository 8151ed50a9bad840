/**
 * Results that the provider does not have any more, counts and does not show yet, or that cannot be read to their end. Each may be a
 * matter of moments, so they are asked for again; then a person decides, since what is asked again is paid again.
 */
import type { ResultsEnd } from "../../../model/provider/provider.js";
import { pollDelayMs } from "../../../model/batch/schedule.js";
import * as batches from "../../../store/batches/batches.js";
import type { Queryable } from "../../../postgres/database.js";
import * as inFlight from "../../../store/batches/in-flight.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import type { BatchIn, Next, Turn } from "../turn.js";

/** How often results that seem incomplete are read again before what they miss is believed. */
export const DOWNLOADS_MAX = 3;
export const DOWNLOAD_PAUSE_MS = 2_000;
/** The same of answers that are counted and not shown, at the pace of ordinary polls. */
const PENDING_LOOKS_MAX = 8;

type Collecting = Turn<BatchIn<"collecting">>;

/** Null: no answer is lost by what is missing, or a person knows. */
export async function lookForResults(turn: Collecting, end: ResultsEnd): Promise<Next | null> {
  const { context, batch } = turn;
  if (end.complete || batch.told) return null;
  const left = await inFlight.countUnanswered(context.read, batch.no);
  if (left === 0) return null;
  return (
    (await missGone(turn, end, left)) ?? (await missRest(turn, end, left)) ?? missPending(turn, end, left)
  );
}

/** They do not come back, but the list of them may be late. */
async function missGone(turn: Collecting, { gone }: ResultsEnd, left: number): Promise<Next | null> {
  const { pipeline, batch } = turn;
  if (gone.length === 0) return null;
  if (batch.downloads + 1 < DOWNLOADS_MAX)
    return lookAgain(turn, DOWNLOAD_PAUSE_MS, { downloads: batch.downloads + 1 });
  return tell(
    turn,
    `The provider has batch ${batch.providerBatchId}, but not its ${gone.join(" and ")} any more: the answers of ${left} rows are lost. To ask these rows again, which is paid again: rowmill resume ${pipeline.config.name}`,
  );
}

/** What stands behind a bound is not read. */
async function missRest(turn: Collecting, { unread }: ResultsEnd, left: number): Promise<Next | null> {
  const { pipeline, batch } = turn;
  if (unread === null) return null;
  return tell(
    turn,
    `Batch ${batch.providerBatchId} asked ${batch.lines} requests, and ${unread}. What came before that is collected; ${left} rows have no answer in it. To ask these rows again, which is paid again: rowmill resume ${pipeline.config.name}`,
  );
}

/** Null: for so long that it is believed to have none, which for answers, that are paid, a person does by "go on". */
async function missPending(turn: Collecting, { pending }: ResultsEnd, left: number): Promise<Next | null> {
  const { context, pipeline, batch } = turn;
  if (pending === null) return null;
  const looksMax = pending.isPaid ? PENDING_LOOKS_MAX : DOWNLOADS_MAX;
  if (batch.downloads + 1 < looksMax) {
    const delayMs = pollDelayMs(batch.downloads, pipeline.config.polling, context.random());
    return lookAgain(turn, delayMs, { downloads: batch.downloads + 1 });
  }
  if (!pending.isPaid) return null;
  return tell(
    turn,
    `The provider ${pending.text}: ${left} rows have no answer. It was asked ${PENDING_LOOKS_MAX} times. To ask it once more, and then these rows again, which is paid again: rowmill resume ${pipeline.config.name}`,
  );
}

/**
 * With the pause it is written that it was told: the next look, after a person said "go on", believes it. Under another pause, one that
 * lets the collecting go on, it is not told yet: it is after that one, and until then the results are asked for at the pace of polls.
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
  await batches.update(tx, lease, told ? { told: true } : { polls: batch.polls + 1 });
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
