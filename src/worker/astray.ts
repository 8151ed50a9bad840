/**
 * Compares the provider's list with the ledger. A second batch that was made for requests of ours, and that nobody saw within
 * `reconcile.window`, is recorded, cancelled, told and counted as spent. A batch of ours that this ledger never created says that it was
 * restored from a backup, or copied: everything waits for a person then. Late or repeated, a look does no harm: a stray is recorded
 * once, before it is cancelled, and what a crash left uncancelled is cancelled by the next look.
 */
import { suspicionText, unknownBatchesText } from "../model/deployment-identity.js";
import { ProviderError, type Provider, type ProviderBatch } from "../model/former-provider.js";
import {
  deploymentId,
  hasBatches,
  neverCreated,
  secondsSinceLastCreate,
  suspect,
  suspicion,
} from "../store/deployment.js";
import { mayHaveStrays, recordStray, strayBatches, strayCancelled, straysToCancel } from "../store/money.js";
import type { WorkerContext } from "./context.js";
import { listSince } from "./provider-clock.js";

/** A batch runs for a day at most; so far back by its creation the list is read, */
const LOOK_BACK_HOURS = 48;
/** and back to the last create that the ledger knows of, as far as that is within a week. */
const LOOK_BACK_HOURS_MAX = 168;
/** Before that a second batch is the reconciler's to find, or not in the list yet. */
const REST_SECONDS = 300;
/** Recorded, and cancelled, in one look; the others in the next one. */
const STRAYS_MAX = 50;
/** A process looks for strangers again after so long, also where nothing else makes it read the list. */
const LOOK_AGAIN_MS = 3_500_000;

const uuid = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface AstrayCounts {
  found: number;
  cancelled: number;
}

/** The last look of this process at each provider, by a clock that never jumps. */
const looks = new WeakMap<Provider, { readonly atMs: number; readonly ended: Promise<number> }>();

/**
 * Whether this process may send and delete: true when it has compared the list with the ledger, and nothing speaks against it.
 * @throws ProviderError when the list cannot be read; the next call tries again.
 */
export async function lookOnce(
  context: WorkerContext,
  provider: Provider,
  signal: AbortSignal,
): Promise<boolean> {
  await (looks.get(provider)?.ended ?? look(context, provider, signal));
  return (await suspicion(context.read)) === null;
}

/** One look. What the provider does not answer is looked for by the next one. */
export async function lookForStrays(context: WorkerContext, signal: AbortSignal): Promise<AstrayCounts> {
  const counts: AstrayCounts = { found: 0, cancelled: 0 };
  for (const provider of providersOf(context)) {
    try {
      if (await isLookDue(context, provider)) counts.found += await look(context, provider, signal);
      counts.cancelled += await cancelStrays(context, provider, { signal });
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

async function isLookDue(context: WorkerContext, provider: Provider): Promise<boolean> {
  const last = looks.get(provider);
  // Where there never was a batch the first upload is soon enough.
  if (last === undefined) return hasBatches(context.read);
  if (performance.now() - last.atMs > LOOK_AGAIN_MS) return true;
  const since = { hours: LOOK_BACK_HOURS, restSeconds: REST_SECONDS };
  return mayHaveStrays(context.read, provider.account, since);
}

/** Returns how many second batches were found. */
function look(context: WorkerContext, provider: Provider, signal: AbortSignal): Promise<number> {
  const ended = compare(context, provider, signal);
  const started = { atMs: performance.now(), ended };
  looks.set(provider, started);
  // Whoever waits for it is told; it is only not taken for a look.
  ended.catch(() => looks.get(provider) === started && looks.delete(provider));
  return ended;
}

async function compare(context: WorkerContext, provider: Provider, signal: AbortSignal): Promise<number> {
  const { account } = provider;
  const deployment = await deploymentId(context.read);
  const since = listSince(provider, await lookBackSeconds(context));
  const { found, untold } = await context.step("astray.look", () =>
    provider.findBatches(since, (batch) => isOurs(batch, deployment), { signal }),
  );
  logUntold(context.log, untold);
  const named = found.map((batch) => ({ providerBatchId: batch.id, batchId: nameIn(batch) }));
  // The list first, the ledger then: what is created meanwhile is in the ledger.
  const strangers = await neverCreated(context.read, account, named);
  if (strangers.length === 0) return recordStrays(context, account, named);
  const reason = suspicionText(unknownBatchesText(strangers));
  // Looked at again where it is written: by then a person may have said what they are, and another worker have recorded them.
  const suspected = await context.step("astray.suspect", () =>
    context.database.transaction(
      async (tx) => (await neverCreated(tx, account, named)).length > 0 && suspect(tx, reason),
    ),
  );
  if (suspected) context.log.warn({ providerBatches: strangers }, reason);
  return 0;
}

/** Whatever bears our name says so by what can be read of it: what says nothing is taken for somebody else's. */
export function logUntold(log: WorkerContext["log"], untold: readonly string[]): void {
  if (untold.length > 0)
    log.debug({ entries: untold.slice(0, STRAYS_MAX) }, "entries of the list of batches were skipped");
}

async function lookBackSeconds(context: WorkerContext): Promise<number> {
  const known = await secondsSinceLastCreate(context.read);
  return Math.min(LOOK_BACK_HOURS_MAX * 3_600, Math.max(LOOK_BACK_HOURS * 3_600, known));
}

async function recordStrays(
  context: WorkerContext,
  account: string,
  named: readonly { readonly providerBatchId: string; readonly batchId: string }[],
): Promise<number> {
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

/** By its metadata. One that failed ran nothing and cost nothing. */
export function isOurs(batch: ProviderBatch, deployment: string): boolean {
  return (
    batch.status !== "failed" &&
    batch.metadata["rowmill_deployment"] === deployment &&
    uuid.test(nameIn(batch))
  );
}

/** Our own id of a batch that is ours. */
export function nameIn({ metadata }: ProviderBatch): string {
  return metadata["rowmill_batch"] ?? "";
}

/** Cancels what is recorded and not cancelled yet: of all batches, or of one. */
export async function cancelStrays(
  context: WorkerContext,
  provider: Provider,
  of: { readonly batchId?: string; readonly signal: AbortSignal },
): Promise<number> {
  const ids = await straysToCancel(
    context.read,
    { account: provider.account, batchId: of.batchId },
    STRAYS_MAX,
  );
  let cancelled = 0;
  for (const id of ids) {
    try {
      await context.step("astray.cancel", () => provider.cancelBatch(id, { signal: of.signal }));
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      if (error.kind === "refused" || error.kind === "unsupported") {
        // The next look tries again; the others need not wait for it.
        context.log.warn({ providerBatch: id, err: error }, "a second batch could not be cancelled");
        continue;
      }
      if (error.kind !== "notFound") throw error;
      context.log.warn({ providerBatch: id, err: error }, "a second batch is not at the provider any more");
    }
    await context.step("astray.cancelled", () => strayCancelled(context.database, provider.account, id));
    cancelled++;
  }
  return cancelled;
}
