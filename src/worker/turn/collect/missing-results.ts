/**
 * Results that the provider no longer has, counts but does not show yet, or that cannot be read to their end. They may
 * only be late, so Rowmill looks again; then you decide, because rows that are sent again are paid again.
 */
import type { ResultsEnd } from "../../../model/provider/provider.js";
import { pollDelayMs } from "../../../model/batch/schedule.js";
import * as batches from "../../../store/batches/batches.js";
import * as inFlight from "../../../store/batches/in-flight.js";
import { pauseToAsk } from "../reconciler.js";
import type { BatchIn, Next, Turn } from "../turn.js";

/** Results that seem incomplete are believed after this many downloads. */
export const DOWNLOADS_MAX = 3;
export const DOWNLOAD_PAUSE_MS = 2_000;
/** The same for answers that are counted and not shown, at the polling interval. */
const PENDING_LOOKS_MAX = 8;

type Collecting = Turn<BatchIn<"collecting">>;

/** Null: no answer is missing, or you decided already. */
export async function lookForResults(turn: Collecting, end: ResultsEnd): Promise<Next | null> {
  const { context, batch } = turn;
  if (end.complete || batch.told) return null;
  const left = await inFlight.countUnanswered(context.read, batch.no);
  if (left === 0) return null;
  return (await missGone(turn, end, left)) ?? (await missRest(turn, end, left)) ?? missPending(turn, end, left);
}

/** Deleted results do not come back, but the provider's list of them may be late. */
async function missGone(turn: Collecting, { gone }: ResultsEnd, left: number): Promise<Next | null> {
  const { pipeline, batch } = turn;
  if (gone.length === 0) return null;
  if (batch.downloads + 1 < DOWNLOADS_MAX)
    return lookAgain(turn, DOWNLOAD_PAUSE_MS, { downloads: batch.downloads + 1 });
  return pauseForResults(
    turn,
    `The provider has batch ${batch.providerBatchId}, but not its ${gone.join(" and ")} any more: ` +
      `the answers of ${left} rows are lost. ` +
      `To send these rows again, which costs money again: rowmill resume ${pipeline.config.name}`,
  );
}

/** Results beyond a bound are not read. */
async function missRest(turn: Collecting, { unread }: ResultsEnd, left: number): Promise<Next | null> {
  const { pipeline, batch } = turn;
  if (unread === null) return null;
  return pauseForResults(
    turn,
    `Batch ${batch.providerBatchId} has ${batch.lines} requests, and ${unread}. ` +
      `Everything before that is collected; ${left} rows have no answer. ` +
      `To send these rows again, which costs money again: rowmill resume ${pipeline.config.name}`,
  );
}

/** Null: nothing pending, or unpaid answers that stayed away long enough. Of paid ones only your resume says that. */
async function missPending(turn: Collecting, { pending }: ResultsEnd, left: number): Promise<Next | null> {
  const { context, pipeline, batch } = turn;
  if (pending === null) return null;
  const looksMax = pending.isPaid ? PENDING_LOOKS_MAX : DOWNLOADS_MAX;
  if (batch.downloads + 1 < looksMax) {
    const delayMs = pollDelayMs(batch.downloads, pipeline.config.polling, context.random());
    return lookAgain(turn, delayMs, { downloads: batch.downloads + 1 });
  }
  if (!pending.isPaid) return null;
  return pauseForResults(
    turn,
    `The provider ${pending.text}: ${left} rows have no answer. Rowmill asked ${PENDING_LOOKS_MAX} times. ` +
      "To look once more and then send these rows again, which costs money again: " +
      `rowmill resume ${pipeline.config.name}`,
  );
}

/** After a resume the next look believes what is missing. Until it can ask, it looks less and less often. */
async function pauseForResults(turn: Collecting, reason: string): Promise<Next> {
  const { context, pipeline, batch } = turn;
  const delayMs = pollDelayMs(batch.polls, pipeline.config.polling, context.random());
  await pauseToAsk(turn, { reason, whileUnasked: { polls: batch.polls + 1 } });
  return { next: "wait", delayMs };
}

/** Records the counters; the next turn notices a lost lease. */
export async function lookAgain(
  { context, lease }: Collecting,
  delayMs: number,
  fields: batches.BatchFields,
): Promise<Next> {
  await context.step("collect.postpone", () => batches.update(context.database, lease, fields));
  return { next: "wait", delayMs };
}
