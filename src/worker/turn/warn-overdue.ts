/**
 * Says of a batch that the provider has had it for longer than its window: once a day and process. Nothing else follows: only a person
 * can ask the provider. A crash forgets that it was said, and it is said once more.
 */
import { overdueText } from "../../model/batch/overdue.js";
import { overdueBatches } from "../../store/batches/overdue-batches.js";
import type { BatchIn, Turn } from "./turn.js";

const SAY_AGAIN_MS = 24 * 3_600_000;
/** Batches remembered; beyond that one may be told of again too soon. */
const TOLD_MAX = 1_000;

/** When it was said of which batch, by the process's own clock that never jumps. */
const toldAtMs = new Map<string, number>();

/** For a batch that was just found not to have ended. */
export async function warnOverdue({ context, batch }: Turn<BatchIn<"running">>): Promise<void> {
  const before = toldAtMs.get(batch.id);
  if (before !== undefined && performance.now() - before < SAY_AGAIN_MS) return;
  const [overdue] = await overdueBatches(context.read, { max: 1, of: batch.id });
  if (overdue === undefined) return;
  if (toldAtMs.size >= TOLD_MAX) toldAtMs.clear();
  toldAtMs.set(batch.id, performance.now());
  const { wrong, mend } = overdueText(overdue);
  context.log.warn({ pipeline: batch.pipeline, batch: batch.id }, `${wrong} ${mend}`);
}
