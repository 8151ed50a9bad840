/**
 * What both answers to "restored or copied?" have in common. Everything is held back while a person's word is carried out, and stays so
 * when it is cut off: the same command begins anew, and finds what is done already.
 */
import { randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import { RowmillError } from "../model/errors.js";
import { suspicionText } from "../model/deployment-identity.js";
import * as batches from "../store/batches.js";
import type { Batch, Lease } from "../store/batches.js";
import { clearSuspicion, suspect } from "../store/deployment.js";
import { pipelineIdsOf, type UnfinishedBatch } from "../store/recovery.js";
import { wakeBatches } from "../store/wake.js";
import type { WorkerContext } from "../worker/context.js";
import { endAll } from "../worker/ending.js";
import { lookAtPlace, type Place } from "./place-of-ledger.js";

/** A lease of a worker that is gone, or in a copy of one that is elsewhere, has ended by then. */
const LEASE_WAIT_MS = batches.LEASE_MS + 5_000;
const LEASE_PAUSE_MS = 250;

/** Until `finishDecision` nothing is sent, collected or deleted, whoever works. */
export async function holdBack({ database }: WorkerContext): Promise<void> {
  await suspect(database, suspicionText("A person began to say what this database is, and was interrupted."));
}

/** Takes back what certainly is not sent: its rows wait again. Batches of pipelines that the config lacks stay as they are. */
export async function withdrawUnsent(
  context: WorkerContext,
  unfinished: readonly UnfinishedBatch[],
  reason: string,
): Promise<void> {
  for (const { id, pipelineId } of unfinished.filter(({ sent }) => !sent)) {
    const pipeline = context.pipelines.get(pipelineId);
    if (pipeline === undefined) continue;
    const lease: Lease = { batchId: id, token: randomUUID() };
    const batch = await claim(context, lease);
    if (batch === null) continue;
    context.leases.hold(lease);
    try {
      const event = batch.state === "planned" ? "nothingToSend" : "refused";
      const facts = () => ({ outcome: "noRoom" as const, detail: reason });
      if (!(await endAll(context, { pipeline, batch, lease, facts, event, reason }))) throw inUse(id);
    } finally {
      context.leases.drop(lease);
    }
  }
}

/** Null: it ended, or was sent after all. */
async function claim({ database, workerId }: WorkerContext, lease: Lease): Promise<Batch | null> {
  const untilMs = performance.now() + LEASE_WAIT_MS;
  for (;;) {
    const batch = await batches.claim(database, lease.batchId, { token: lease.token, worker: workerId });
    if (batch !== null) {
      if (isUnsent(batch)) return batch;
      await batches.release(database, lease, { delayMs: 0, failures: batch.failures });
      return null;
    }
    const now = await batches.get(database, lease.batchId);
    if (now === null || !isUnsent(now)) return null;
    if (performance.now() > untilMs) throw inUse(lease.batchId);
    await sleep(LEASE_PAUSE_MS);
  }
}

function isUnsent(batch: Batch): boolean {
  const { state, createIntentAgoMs } = batch;
  return (
    (state === "planned" || state === "uploading" || state === "submitting") && createIntentAgoMs === null
  );
}

function inUse(batchId: string): RowmillError {
  return new RowmillError("refused", `A worker has batch ${batchId} in hand.`, {
    hints: ["Stop the workers of this database, then give the same command again."],
  });
}

/** The ledger goes on here. */
export async function finishDecision(
  context: WorkerContext,
  place: Place,
  decision: { renamed: boolean; event: string; reason: string },
): Promise<void> {
  const { identity } = await lookAtPlace(context.database, place);
  await context.database.transaction(async (tx) => {
    await clearSuspicion(tx, { identity, ...decision });
    for (const id of await pipelineIdsOf(tx)) await wakeBatches(tx, id);
  });
}
