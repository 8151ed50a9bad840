/** "The other database is still in use": withdraws what is not sent, and only reads what is in flight. */
import * as counts from "../../store/requests/counts.js";
import * as recovery from "../../store/ledger/recovery.js";
import type { UnfinishedBatch } from "../../store/ledger/recovery.js";
import type { WorkerContext } from "../../worker/context.js";
import { finishDecision, holdBack, withdrawUnsent } from "./decide-deployment.js";
import type { Place } from "../open/place-of-ledger.js";

export interface CopyCounts {
  /** In flight when it was copied: collected here too. */
  readonly sharedBatches: number;
  readonly sharedRows: number;
  /** Planned and not sent: withdrawn. */
  readonly withdrawnBatches: number;
  /** This database asks and pays for them, whatever the other one does. */
  readonly waitingRows: number;
}

/** What `copyLedger` would do. Writes nothing. */
export async function prepareCopy({ database, pipelines }: WorkerContext): Promise<CopyCounts> {
  const unfinished = await recovery.unfinishedBatches(database);
  const sent = unfinished.filter((batch) => batch.sent);
  const unsent = unfinished.filter((batch) => !batch.sent && pipelines.has(batch.pipelineId));
  let waiting = 0;
  for (const id of pipelines.keys()) waiting += await counts.countState(database, id, "waiting");
  return {
    sharedBatches: sent.length,
    sharedRows: rowsIn(sent),
    withdrawnBatches: unsent.length,
    waitingRows: waiting + rowsIn(unsent),
  };
}

function rowsIn(batches: readonly UnfinishedBatch[]): number {
  return batches.reduce((sum, { rows }) => sum + rows, 0);
}

export async function copyLedger(context: WorkerContext, place: Place): Promise<void> {
  await holdBack(context);
  // First: from now on this ledger deletes or cancels nothing that was at the provider before.
  await context.database.transaction((tx) => recovery.shareBatches(tx));
  const unfinished = await recovery.unfinishedBatches(context.database);
  await withdrawUnsent(context, unfinished, "the database was copied before the batch was sent");
  const reason = "this database is a copy; the other one is still in use";
  await finishDecision(context, place, { renamed: true, event: "copied", reason });
}
