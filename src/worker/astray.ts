/**
 * Compares the provider's list with the ledger: a second batch that was made for requests of ours, and that nobody saw within
 * `reconcile.window`, is recorded, cancelled, told and counted as spent. Late or repeated, it does no harm: a stray is recorded once,
 * before it is cancelled, and what a crash left uncancelled is cancelled by the next look.
 */
import { ProviderError, type Provider, type ProviderBatch } from "../providers/provider.js";
import { deploymentId } from "../store/deployment.js";
import { mayHaveStrays, recordStray, strayBatches, strayCancelled, straysToCancel } from "../store/money.js";
import type { WorkerContext } from "./context.js";

/** A batch runs for a day at most; so far back by its creation the list is read. */
const LOOK_BACK_HOURS = 48;
/** Before that a second batch is the reconciler's to find, or not in the list yet. */
const REST_SECONDS = 300;
/** Recorded, and cancelled, in one look; the others in the next one. */
const STRAYS_MAX = 50;

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface AstrayCounts {
  found: number;
  cancelled: number;
}

/** One look. What the provider does not answer is looked for by the next one. */
export async function lookForStrays(context: WorkerContext, signal: AbortSignal): Promise<AstrayCounts> {
  const counts: AstrayCounts = { found: 0, cancelled: 0 };
  for (const provider of providersOf(context)) {
    try {
      counts.found += await recordStrays(context, provider, signal);
      counts.cancelled += await cancelStrays(context, provider, signal);
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ProviderError)) throw error;
      context.log.warn(
        { err: error },
        "the provider's batches could not be compared with the ledger; trying again later",
      );
    }
  }
  return counts;
}

function providersOf(context: WorkerContext): Iterable<Provider> {
  const all = [...context.pipelines.values()].map(({ provider }) => [provider.account, provider] as const);
  return new Map(all).values();
}

async function recordStrays(
  context: WorkerContext,
  provider: Provider,
  signal: AbortSignal,
): Promise<number> {
  const { account } = provider;
  const since = { hours: LOOK_BACK_HOURS, restSeconds: REST_SECONDS };
  if (!(await mayHaveStrays(context.read, account, since))) return 0;
  const deployment = await deploymentId(context.read);
  const sinceSeconds = (provider.clockSeconds() ?? Date.now() / 1_000) - LOOK_BACK_HOURS * 3_600;
  const seen = await context.step("astray.look", () =>
    provider.findBatches(sinceSeconds, (batch) => isOurs(batch, deployment), { signal }),
  );
  const named = seen.map((batch) => ({ providerBatchId: batch.id, batchId: nameIn(batch) }));
  const strays = (await strayBatches(context.read, account, named)).slice(0, STRAYS_MAX);
  for (const { pipeline, ...stray } of strays) {
    const reason = "a second batch was created for the same requests, and seen late";
    await context.step("astray.record", () => recordStray(context.database, { account, ...stray, reason }));
    context.log.warn(
      { pipeline, batch: stray.batchId, providerBatch: stray.providerBatchId },
      "a second batch was created for the same requests, and seen late; cancelling it",
    );
  }
  return strays.length;
}

/** One that failed ran nothing and cost nothing. */
function isOurs(batch: ProviderBatch, deployment: string): boolean {
  return (
    batch.status !== "failed" &&
    batch.metadata["rowmill_deployment"] === deployment &&
    uuid.test(nameIn(batch))
  );
}

function nameIn({ metadata }: ProviderBatch): string {
  return metadata["rowmill_batch"] ?? "";
}

async function cancelStrays(
  context: WorkerContext,
  provider: Provider,
  signal: AbortSignal,
): Promise<number> {
  const ids = await straysToCancel(context.read, provider.account, STRAYS_MAX);
  for (const id of ids) {
    try {
      await context.step("astray.cancel", () => provider.cancelBatch(id, { signal }));
    } catch (error) {
      if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
      context.log.warn({ providerBatch: id, err: error }, "a second batch is not at the provider any more");
    }
    await context.step("astray.cancelled", () => strayCancelled(context.database, provider.account, id));
  }
  return ids.length;
}
