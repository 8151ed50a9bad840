/** running: asks the provider how the batch stands, at a growing interval. Only reads there; a crash costs one question. */
import { pollDelayMs } from "../model/schedule.js";
import { ProviderError, type ProviderBatch } from "../providers/provider.js";
import * as batches from "../store/batches.js";
import { moveBatch } from "./move-batch.js";
import { refuse } from "./refusal.js";
import { again, lost, type BatchIn, type Next, type Turn } from "./turn.js";
import { warnOverdue } from "./warn-overdue.js";

export async function poll(turn: Turn<BatchIn<"running">>): Promise<Next> {
  const { context, pipeline, batch, lease, signal } = turn;
  const seen = await context.step("poll.ask", () =>
    pipeline.provider.retrieveBatch(batch.providerBatchId, { signal }),
  );
  if (seen.status === "failed") return refuse(turn, seen.errors);
  if (seen.terminal) return beginCollecting(turn, seen);
  const noted = await context.step("poll.note", () =>
    batches.update(context.database, lease, {
      provider_status: seen.statusText,
      provider_counts: seen.counts && { ...seen.counts },
      polls: batch.polls + 1,
    }),
  );
  if (!noted) return lost;
  await warnOverdue(turn);
  // It may mean an end, whose answers are paid for: after some polls in a row a person is told.
  if (seen.status === "unknown")
    throw new ProviderError(
      "retryable",
      `The provider says of batch ${batch.providerBatchId} that its status is ${JSON.stringify(seen.statusText)}, which means nothing to Rowmill.`,
    );
  return { next: "wait", delayMs: pollDelayMs(batch.polls, pipeline.config.polling, context.random()) };
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
        provider_status: seen.statusText,
        provider_counts: seen.counts && { ...seen.counts },
        output_file_id: seen.outputFileId,
        error_file_id: seen.errorFileId,
      },
    },
  );
  return moved ? again : lost;
}
