/**
 * Does what `rowmill cancel` recorded. What was not sent goes back to the waiting rows, or is dropped; a batch that
 * runs is cancelled at the provider, then polled and collected as any other: what is done is kept and paid. Every step
 * may be repeated: a crash after the provider's reply asks it once more, which changes nothing.
 */
import { asSentence } from "../../model/words/as-sentence.js";
import { ProviderError, type ProviderBatch } from "../../model/provider/provider.js";
import * as batches from "../../store/batches/batches.js";
import type { Queryable } from "../../postgres/database.js";
import type { Source } from "../../sources/source.js";
import * as queue from "../../store/requests/queue.js";
import * as requests from "../../store/requests/requests.js";
import { undoRendering, withdraw } from "./ending.js";
import { reported } from "./poller.js";
import { AGAIN, DONE, LOST, moveBatch, type BatchIn, type Next, type Turn } from "./turn.js";

const UNSENT = "canceled with rowmill cancel before it was sent";

export function withdrawCancelled(
  turn: Turn<BatchIn<"planned"> | BatchIn<"uploading"> | BatchIn<"submitting">>,
): Promise<Next> {
  return withdraw(turn, UNSENT, { outcome: "withdrawn" });
}

/** planned → settled. Rows that are gone wait: the next look at them ends their requests. */
export async function dropQueued(turn: Turn<BatchIn<"planned">>): Promise<Next> {
  const { context, batch } = turn;
  if (!(await undoRendering(turn))) return LOST;
  for (let dropped = 0; ;) {
    turn.signal.throwIfAborted();
    const part = await context.step("cancel.drop", () => context.database.transaction((tx) => dropPart(turn, tx)));
    if (part === "lost") return LOST;
    if (part !== null) {
      dropped += part;
      continue;
    }
    const reason = `${UNSENT}; ${dropped} rows are dropped`;
    return (await moveBatch("cancel.drop", turn, { batch, event: "nothingToSend", reason })) ? DONE : LOST;
  }
}

async function dropPart(
  { pipeline, batch, lease }: Turn<BatchIn<"planned">>,
  tx: Queryable,
): Promise<number | null | "lost"> {
  if (!(await batches.holds(tx, lease))) return "lost";
  return dropQueuedRow(tx, { source: pipeline.source, pipelineId: pipeline.id, batch: batch.no });
}

/**
 * Drops one row of the batch's queue, or as much of it as there is time to read, with the content that its rows have
 * now. Null: none is left. The caller holds the batch's lease.
 */
export async function dropQueuedRow(
  tx: Queryable,
  { source, pipelineId, batch }: { readonly source: Source; readonly pipelineId: number; readonly batch: number },
): Promise<number | null> {
  const queued = await queue.firstOfBatch(tx, batch);
  if (queued === null) return null;
  const { versions, left } = await source.readVersions(
    tx,
    queued.requests.map(({ key }) => key),
  );
  const unread = new Set(left);
  const hashes = new Map(versions.map(({ key, hash }) => [key, hash]));
  const rows = queued.requests.flatMap(({ id, key }) => {
    const hash = hashes.get(key);
    return hash === undefined ? [] : [{ id, hash }];
  });
  const gone = queued.requests.filter(({ key }) => !hashes.has(key) && !unread.has(key)).map(({ id }) => id);
  await queue.putBack(tx, queued.no, { ids: gone, delayMs: 0 });
  const rest = queued.requests.filter(({ key }) => unread.has(key)).map(({ id }) => id);
  await tx.run(queue.shortened(queued.no, rest));
  return (await requests.dropWaiting(tx, pipelineId, rows)).size;
}

export async function cancelAtProvider(turn: Turn<BatchIn<"running">>): Promise<Next> {
  const { context, batch, lease } = turn;
  const { seen, reason } = await askProvider(turn);
  const fields = { ...(seen === null ? {} : reported(seen)), polls: 0, cancelAsked: true } as const;
  const noted = await context.step("cancel.noted", () =>
    context.database.transaction(async (tx) => {
      if (!(await batches.update(tx, lease, fields))) return false;
      await batches.addBatchEvent(tx, batch.id, { from: batch.state, to: batch.state, reason });
      return true;
    }),
  );
  context.log.info({ pipeline: batch.pipeline, batch: batch.id }, reason);
  return noted ? AGAIN : LOST;
}

interface Asked {
  /** Null: it does not cancel this batch, which is collected when it has ended. */
  readonly seen: ProviderBatch | null;
  readonly reason: string;
}

async function askProvider({ context, pipeline, batch, signal }: Turn<BatchIn<"running">>): Promise<Asked> {
  const { provider } = pipeline;
  try {
    const seen = await context.step("cancel.ask", () => provider.cancel(batch.providerBatchId, { signal }));
    return { seen, reason: `the provider was asked to cancel it, and says ${seen.statusText}` };
  } catch (error) {
    if (!(error instanceof ProviderError) || (error.kind !== "refused" && error.kind !== "unsupported")) throw error;
    return { seen: null, reason: `the provider did not cancel it: ${asSentence(error.message)}` };
  }
}
