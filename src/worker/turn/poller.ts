/** running: asks the provider how the batch stands, at a growing interval. Only reads there; a crash costs one question. */
import * as batches from "../../store/batches/batches.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { pollDelayMs } from "../../model/batch/schedule.js";
import { ProviderError, type ProviderBatch } from "../../model/provider/provider.js";
import { moveBatch } from "./move-batch.js";
import { refute } from "./reconciler.js";
import { refuse } from "./refusal.js";
import { AGAIN, LOST, type BatchIn, type Next, type Turn } from "./turn.js";
import { overdueText } from "../../model/batch/overdue.js";
import * as stuckBatches from "../../store/batches/stuck-batches.js";

/** In a row: then a person is asked what the provider's word for a batch means. */
const UNKNOWN_POLLS_MAX = 10;

export async function poll(turn: Turn<BatchIn<"running">>): Promise<Next> {
  const { context, pipeline, batch, lease, signal } = turn;
  const seen = await context.step("poll.ask", async () => {
    try {
      return await pipeline.provider.status(batch.providerBatchId, { signal });
    } catch (error) {
      // In an account of our own nobody else can have removed it.
      const isAnothers = batch.presumed && !pipeline.provider.recovery.exclusive;
      if (isAnothers && error instanceof ProviderError && error.kind === "notFound") return null;
      throw error;
    }
  });
  if (seen === null) return refute(turn, "it was removed by somebody else");
  if (seen.status === "failed" && batch.presumed) return refute(turn, "it failed, and ran nothing");
  if (seen.status === "failed") return refuse(turn, seen.errors);
  if (seen.terminal) return beginCollecting(turn, seen);
  const noted = await context.step("poll.note", () =>
    batches.update(context.database, lease, {
      providerStatus: seen.statusText,
      providerCounts: seen.counts && { ...seen.counts },
      polls: batch.polls + 1,
    }),
  );
  if (!noted) return LOST;
  await warnOverdue(turn);
  const delayMs = pollDelayMs(batch.polls, pipeline.config.polling, context.random());
  if (seen.status !== "unknown") return { next: "wait", delayMs };
  if (batch.failures + 1 >= UNKNOWN_POLLS_MAX) return askAbout(turn, seen, delayMs);
  return { next: "wait", delayMs, failures: batch.failures + 1 };
}

/** The word may mean an end, and its answers are paid for. Under another pause, one that lets the polls go on, it is asked after as many more. */
async function askAbout(
  { context, pipeline }: Turn,
  { id, statusText }: ProviderBatch,
  delayMs: number,
): Promise<Next> {
  const { name } = pipeline.config;
  const reason = `The provider says of batch ${id} that its status is "${statusText}", a word that Rowmill does not know: neither that it runs nor that it ended. It was asked ${UNKNOWN_POLLS_MAX} times. To ask again: rowmill resume ${name}.`;
  await context.step("turn.pause", () =>
    pipelines.pause(context.database, pipeline.id, { kind: "provider", reason }),
  );
  return { next: "wait", delayMs };
}

async function beginCollecting(
  { context, batch, lease }: Turn<BatchIn<"running">>,
  seen: ProviderBatch,
): Promise<Next> {
  const moved = await moveBatch(
    "poll.move",
    { context, lease },
    {
      batch,
      event: "providerDone",
      reason: `the provider says ${seen.statusText}`,
      fields: {
        providerStatus: seen.statusText,
        providerCounts: seen.counts && { ...seen.counts },
        providerData: { refs: seen.refs },
      },
    },
  );
  return moved ? AGAIN : LOST;
}

/**
 * Says of a batch that the provider has had it for longer than its window: once a day and process. Nothing else follows: only a person
 * can ask the provider. A crash forgets that it was said, and it is said once more.
 */

const SAY_AGAIN_MS = 24 * 3_600_000;
/** Batches remembered; beyond that one may be told of again too soon. */
const TOLD_MAX = 1_000;

/** When it was said of which batch, by the process's own clock that never jumps. */
const toldAtMs = new Map<string, number>();

/** For a batch that was just found not to have ended. */
async function warnOverdue({ context, batch }: Turn<BatchIn<"running">>): Promise<void> {
  const before = toldAtMs.get(batch.id);
  if (before !== undefined && performance.now() - before < SAY_AGAIN_MS) return;
  const [overdue] = await stuckBatches.overdue(context.read, { max: 1, of: batch.id });
  if (overdue === undefined) return;
  if (toldAtMs.size >= TOLD_MAX) toldAtMs.clear();
  toldAtMs.set(batch.id, performance.now());
  const { wrong, mend } = overdueText(overdue);
  context.log.warn({ pipeline: batch.pipeline, batch: batch.id }, `${wrong} ${mend}`);
}
