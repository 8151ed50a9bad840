/**
 * What both answers to "restored or copied?" have in common. Everything is held back until the decision is carried out,
 * also when a crash cuts it off: the same command starts again, and finds what is done already.
 */
import { randomUUID } from "node:crypto";
import { suspicionText } from "../../model/deployment-identity.js";
import type { Lease } from "../../store/batches/batches.js";
import * as deployment from "../../store/ledger/deployment.js";
import * as deliveries from "../../store/deliveries/deliveries.js";
import * as recovery from "../../store/ledger/recovery.js";
import type { UnfinishedBatch } from "../../store/ledger/recovery.js";
import * as wake from "../../store/ledger/wake.js";
import type { WorkerContext } from "../../worker/context.js";
import { endAll } from "../../worker/turn/ending.js";
import { batchInUse, claimBatch, isUnsent } from "../adopt/claim-batch.js";
import { lookAtPlace, type Place } from "../open/place-of-ledger.js";

/** Until `finishDecision`, no worker sends, collects or deletes anything. */
export async function holdBack({ database }: WorkerContext): Promise<void> {
  await deployment.suspect(database, suspicionText("A rowmill deployment command was interrupted before it was done."));
}

/** Ends batches that certainly are not sent: their rows wait again. Those of pipelines that the config lacks stay. */
export async function withdrawUnsent(
  context: WorkerContext,
  unfinished: readonly UnfinishedBatch[],
  reason: string,
): Promise<void> {
  for (const { id, pipelineId } of unfinished.filter(({ sent }) => !sent)) {
    const pipeline = context.pipelines.get(pipelineId);
    if (pipeline === undefined) continue;
    const lease: Lease = { batchId: id, token: randomUUID() };
    const batch = await claimBatch(context.database, lease, { holder: context.workerId, isWanted: isUnsent });
    if (batch === null) continue;
    context.leases.hold(lease);
    try {
      const event = batch.state === "planned" ? "nothingToSend" : "refused";
      const facts = () => ({ outcome: "noRoom" as const, detail: reason });
      const ended = await endAll(context, { pipeline, batch, lease, facts, event, reason });
      if (ended === "lost") throw batchInUse(id);
    } finally {
      context.leases.drop(lease);
    }
  }
}

/** Work resumes. */
export async function finishDecision(
  context: WorkerContext,
  place: Place,
  decision: { renamed: boolean; event: string; reason: string },
): Promise<void> {
  const { identity } = await lookAtPlace(context.database, place);
  await context.database.transaction(async (tx) => {
    await deployment.clearSuspicion(tx, { identity, ...decision });
    await deliveries.renewFences(tx);
    for (const id of await recovery.pipelineIdsOf(tx)) await wake.wakeBatches(tx, id);
  });
}
