/** The lease of a batch for a command, which waits for the turn of a worker to end. */
import { setTimeout as sleep } from "node:timers/promises";
import { RowmillError } from "../../model/errors.js";
import * as batches from "../../store/batches/batches.js";
import type { Batch, Lease } from "../../store/batches/batches.js";
import type { Database } from "../../postgres/database.js";

/** After this time, the lease of a dead worker has ended, and so has a lease that came with a copied database. */
const LEASE_WAIT_MS = batches.LEASE_MS + 5_000;
const LEASE_PAUSE_MS = 250;

/** Null: it ended, or is no longer wanted. @throws RowmillError `refused` when a worker keeps it. */
export async function claimBatch(
  database: Database,
  lease: Lease,
  by: { readonly holder: string; readonly isWanted: (batch: Batch) => boolean },
): Promise<Batch | null> {
  const untilMs = performance.now() + LEASE_WAIT_MS;
  for (;;) {
    const batch = await batches.claim(database, lease.batchId, { token: lease.token, worker: by.holder });
    if (batch !== null) {
      if (by.isWanted(batch)) return batch;
      await batches.release(database, lease, { delayMs: 0, failures: batch.failures });
      return null;
    }
    const now = await batches.get(database, lease.batchId);
    if (now === null || isEnded(now) || !by.isWanted(now)) return null;
    if (performance.now() > untilMs) throw batchInUse(lease.batchId);
    await sleep(LEASE_PAUSE_MS);
  }
}

export function isEnded({ state }: Pick<Batch, "state">): boolean {
  return state === "settled" || state === "rejected" || state === "cancelled";
}

/** Certainly not sent. */
export function isUnsent({ state, createIntentAgoMs }: Batch): boolean {
  return (state === "planned" || state === "uploading" || state === "submitting") && createIntentAgoMs === null;
}

export function batchInUse(batchId: string): RowmillError {
  return new RowmillError("refused", `A worker is working on batch ${batchId}.`, {
    hints: ["Stop the workers of this database, then run the same command again."],
  });
}
