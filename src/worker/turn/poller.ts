/** running: asks the provider how the batch stands, less and less often. A crash costs one question. */
import * as batches from "../../store/batches/batches.js";
import { pollDelayMs } from "../../model/batch/schedule.js";
import { ProviderError, type ProviderBatch } from "../../model/provider/provider.js";
import { pause } from "../guard.js";
import { refute } from "./reconciler.js";
import { refuse } from "./refusal.js";
import { AGAIN, LOST, moveBatch, type BatchIn, type Next, type Turn } from "./turn.js";
import { overdueText } from "../../model/batch/overdue.js";
import * as stuckBatches from "../../store/batches/stuck-batches.js";

/** This many unknown statuses in a row pause the pipeline: you decide what the provider's word means. */
const UNKNOWN_POLLS_MAX = 10;
const OVERDUE_WARNING_EVERY_MS = 24 * 3_600_000;
/** Batches remembered; beyond that a warning may come again too soon. */
const OVERDUE_REMEMBERED_MAX = 1_000;

export async function poll(turn: Turn<BatchIn<"running">>): Promise<Next> {
  const { context, pipeline, batch, lease, signal } = turn;
  const seen = await context.step("poll.ask", async () => {
    try {
      return await pipeline.provider.status(batch.providerBatchId, { signal });
    } catch (error) {
      // In an account of our own no one else can have removed it.
      const mayBeOthers = batch.presumed && !pipeline.provider.recovery.exclusive;
      if (mayBeOthers && error instanceof ProviderError && error.kind === "notFound") return null;
      throw error;
    }
  });
  if (seen === null) return refute(turn, "someone else removed it");
  if (seen.status === "failed" && batch.presumed) return refute(turn, "it failed, and ran nothing");
  if (seen.status === "failed") return refuse(turn, seen.errors);
  if (seen.terminal) return beginCollecting(turn, seen);
  const noted = await context.step("poll.note", () =>
    batches.update(context.database, lease, { ...reported(seen), polls: batch.polls + 1 }),
  );
  if (!noted) return LOST;
  await warnOverdue(turn);
  const delayMs = pollDelayMs(batch.polls, pipeline.config.polling, context.random());
  if (seen.status !== "unknown") return { next: "wait", delayMs };
  if (batch.failures + 1 >= UNKNOWN_POLLS_MAX) return pauseForStatus(turn, seen, delayMs);
  const trouble = `The provider reports the status "${seen.statusText}", a word that Rowmill does not know.`;
  return { next: "wait", delayMs, failures: batch.failures + 1, trouble };
}

/**
 * The unknown status may be an end, and the answers are paid for. Where another pause lets polling continue, this pause
 * comes after as many more polls.
 */
async function pauseForStatus(turn: Turn, { id, statusText }: ProviderBatch, delayMs: number): Promise<Next> {
  const reason =
    `The provider reports the status "${statusText}" for batch ${id}, a word that Rowmill does not know: ` +
    `the batch may be running or ended. Rowmill asked ${UNKNOWN_POLLS_MAX} times. ` +
    `To ask again: rowmill resume ${turn.pipeline.config.name}`;
  await pause(turn, { kind: "provider", reason });
  return { next: "wait", delayMs };
}

async function beginCollecting(turn: Turn<BatchIn<"running">>, seen: ProviderBatch): Promise<Next> {
  const moved = await moveBatch("poll.move", turn, {
    batch: turn.batch,
    event: "providerDone",
    reason: `the provider says ${seen.statusText}`,
    fields: { ...reported(seen), providerData: { refs: seen.refs } },
  });
  return moved ? AGAIN : LOST;
}

/** What of it is kept with the batch. */
export function reported({ statusText, counts }: ProviderBatch): batches.BatchFields {
  return { providerStatus: statusText, providerCounts: counts && { ...counts } };
}

/** Warns once a day about a batch that is at the provider for longer than its window. */
async function warnOverdue({ context, batch }: Turn<BatchIn<"running">>): Promise<void> {
  const { overdueWarnedMs } = context.memory;
  const before = overdueWarnedMs.get(batch.id);
  if (before !== undefined && performance.now() - before < OVERDUE_WARNING_EVERY_MS) return;
  const [overdue] = await stuckBatches.overdue(context.read, { max: 1, of: batch.id });
  if (overdue === undefined) return;
  if (overdueWarnedMs.size >= OVERDUE_REMEMBERED_MAX) overdueWarnedMs.clear();
  overdueWarnedMs.set(batch.id, performance.now());
  const { wrong, fix } = overdueText(overdue);
  context.log.warn({ pipeline: batch.pipeline, batch: batch.id }, `${wrong} ${fix}`);
}
