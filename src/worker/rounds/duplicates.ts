/**
 * Compares the provider's list with the ledger, for duplicates and orphans. A **duplicate** is a second provider batch that was made for one
 * of ours: recorded once, counted as spent, told, and cancelled where it is certain. An **orphan** bears our name, and this ledger never
 * created it: the ledger was restored from a backup, or copied, and everything waits for a person. Late or repeated, a look does no harm:
 * a duplicate is recorded before it is cancelled, and what a crash left uncancelled is cancelled by the next look.
 */
import { suspicionText, unknownBatchesText } from "../../model/deployment-identity.js";
import {
  ProviderError,
  type ListedBatch,
  type Provider,
  type ProviderBatch,
  type Recovery,
} from "../../model/provider/provider.js";
import {
  deploymentId,
  hasBatches,
  secondsSinceLastCreate,
  suspect,
  suspicion,
} from "../../store/ledger/deployment.js";
import * as duplicates from "../../store/batches/duplicates.js";
import { providersOf, type WorkerContext } from "../context.js";
import { CLOCKS_APART_SECONDS, listSince } from "./provider-clock.js";

/** So far back by its creation the list is read, in windows of a batch, */
const LOOK_BACK_WINDOWS = 2;
/** and back to the last create that the ledger knows of, as far as that is within a week. */
const LOOK_BACK_HOURS_MAX = 168;
/** Before that a second batch is the reconciler's to find, or not in the list yet. */
const REST_SECONDS = 300;
/** Recorded, and cancelled, in one look; the others in the next one. */
const DUPLICATES_MAX = 50;
/** A process looks for strangers again after so long, also where nothing else makes it read the list. */
const LOOK_AGAIN_MS = 3_500_000;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export interface CompareCounts {
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

/** One look. What the provider does not answer is looked for by the next one. `isSoonNeeded`: there is something to send. */
export async function compareWithList(
  context: WorkerContext,
  signal: AbortSignal,
  isSoonNeeded = false,
): Promise<CompareCounts> {
  const counts: CompareCounts = { found: 0, cancelled: 0 };
  for (const provider of providersOf(context)) {
    try {
      if (await isLookDue(context, provider, isSoonNeeded))
        counts.found += await look(context, provider, signal);
      counts.cancelled += await cancelDuplicates(context, provider, { signal });
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

async function isLookDue(
  context: WorkerContext,
  provider: Provider,
  isSoonNeeded: boolean,
): Promise<boolean> {
  const last = looks.get(provider);
  // Where there never was a batch, and nothing is to be sent, there is nothing to find, and perhaps no key yet.
  if (last === undefined) return isSoonNeeded || hasBatches(context.read);
  if (performance.now() - last.atMs > LOOK_AGAIN_MS) return true;
  const since = { hours: lookBackHours(provider), restSeconds: REST_SECONDS };
  return duplicates.mayHaveDuplicates(context.read, provider.account, since);
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
  const since = listSince(provider, await lookBackSeconds(context, provider));
  const { recovery } = provider;
  const listed = await context.step("compare.look", () =>
    listOurs(provider.list(since, { signal }), { deployment, recovery }),
  );
  logUntold(context.log, listed.untold);
  if (recovery.find === "circumstance") return recordPossible(context, provider, listed.unmarked);
  const named = listed.ours.map(({ id, mark }) => ({ providerBatchId: id, batchId: mark?.batch ?? "" }));
  // The list first, the ledger then: what is created meanwhile is in the ledger.
  const orphans = await duplicates.orphansAmong(context.read, account, named);
  if (orphans.length === 0) return recordDuplicates(context, account, named);
  const reason = suspicionText(unknownBatchesText(orphans));
  // Looked at again where it is written: by then a person may have said what they are, and another worker have recorded them.
  const suspected = await context.step("compare.suspect", () =>
    context.database.transaction(
      async (tx) => (await duplicates.orphansAmong(tx, account, named)).length > 0 && suspect(tx, reason),
    ),
  );
  if (suspected) context.log.warn({ providerBatches: orphans }, reason);
  return 0;
}

export interface ListedOurs {
  /** That bear this ledger's name, and ran or may. Newest first. */
  readonly ours: readonly ProviderBatch[];
  /** Why nobody can tell whose an entry is, each once. */
  readonly untold: readonly string[];
  /** Those that bear no name of ours, where the list shows none. */
  readonly unmarked: readonly ProviderBatch[];
}

export async function listOurs(
  listed: AsyncIterable<ListedBatch>,
  { deployment, recovery }: { deployment: string; recovery: Recovery },
): Promise<ListedOurs> {
  const ours: ProviderBatch[] = [];
  const unmarked: ProviderBatch[] = [];
  const reasons = new Set<string>();
  const byCircumstance = recovery.find === "circumstance";
  for await (const { batch, untold } of listed) {
    if (byCircumstance && batch.id !== "") unmarked.push(batch);
    else if (untold !== null) reasons.add(untold);
    else if (isOurs(batch, deployment)) ours.push(batch);
  }
  ours.sort((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0));
  return { ours, untold: [...reasons], unmarked };
}

/** Whatever bears our name says so by what can be read of it: what says nothing is taken for somebody else's. */
export function logUntold(log: WorkerContext["log"], untold: readonly string[]): void {
  if (untold.length > 0)
    log.debug({ entries: untold.slice(0, DUPLICATES_MAX) }, "entries of the list of batches were skipped");
}

function lookBackHours({ limits }: Provider): number {
  return LOOK_BACK_WINDOWS * limits.windowHours;
}

async function lookBackSeconds(context: WorkerContext, provider: Provider): Promise<number> {
  const known = await secondsSinceLastCreate(context.read);
  const least = lookBackHours(provider) * 3_600;
  return Math.max(least, Math.min(LOOK_BACK_HOURS_MAX * 3_600, known));
}

async function recordDuplicates(
  context: WorkerContext,
  account: string,
  named: readonly { readonly providerBatchId: string; readonly batchId: string }[],
): Promise<number> {
  const found = (await duplicates.duplicatesAmong(context.read, account, named)).slice(0, DUPLICATES_MAX);
  for (const { pipeline, ...duplicate } of found) {
    const reason = "a second batch was created for the same requests, and seen late";
    await context.step("compare.record", () =>
      duplicates.recordDuplicate(context.database, { account, ...duplicate, reason, certain: true }),
    );
    context.log.warn(
      { pipeline, batch: duplicate.batchId, providerBatch: duplicate.providerBatchId },
      "a second batch was created for the same requests, and seen late; cancelling it",
    );
  }
  return found.length;
}

/**
 * Where the list shows no name: a batch that the ledger does not know, of as many requests as a create whose ending nobody knows. It is told
 * once and never cancelled; where nobody else creates batches in the account, it counts as spent.
 */
async function recordPossible(
  context: WorkerContext,
  provider: Provider,
  listed: readonly ProviderBatch[],
): Promise<number> {
  const { account, recovery } = provider;
  const creates = await duplicates.unresolvedCreates(context.read, account, {
    hours: lookBackHours(provider),
    clocksApartSeconds: CLOCKS_APART_SECONDS,
  });
  const ids = listed.map(({ id }) => id);
  const known = await duplicates.knownProviderBatches(context.read, account, { ids });
  const matches = listed.flatMap((batch) => {
    if (known.has(batch.id) || batch.status === "failed") return [];
    const create = creates.find(
      ({ lines, since, until, refuted }) =>
        lines === batch.counts?.total &&
        !refuted.includes(batch.id) &&
        (batch.createdAt ?? since) >= since &&
        (batch.createdAt ?? until) <= until,
    );
    return create === undefined ? [] : [{ batch, create }];
  });
  for (const { batch, create } of matches.slice(0, DUPLICATES_MAX)) {
    const duplicate = {
      account,
      providerBatchId: batch.id,
      batchId: create.batchId,
      reason:
        "a batch of the same time and number of requests was seen late: perhaps a second one for the same requests",
      reservedNanoUsd: recovery.exclusive ? create.reservedNanoUsd : 0,
      certain: false,
    };
    await context.step("compare.record", () => duplicates.recordDuplicate(context.database, duplicate));
    context.log.warn({ batch: create.batchId, providerBatch: batch.id }, duplicate.reason);
  }
  return matches.length;
}

/** By its mark. One that failed ran nothing and cost nothing. */
function isOurs({ status, mark }: ProviderBatch, deployment: string): boolean {
  return status !== "failed" && mark !== null && mark.deployment === deployment && UUID.test(mark.batch);
}

/** Cancels what is recorded and not cancelled yet: of all batches, or of one. */
export async function cancelDuplicates(
  context: WorkerContext,
  provider: Provider,
  of: { readonly batchId?: string; readonly signal: AbortSignal },
): Promise<number> {
  const ids = await duplicates.duplicatesToCancel(
    context.read,
    { account: provider.account, batchId: of.batchId },
    DUPLICATES_MAX,
  );
  let cancelled = 0;
  for (const id of ids) {
    try {
      await context.step("compare.cancel", () => provider.cancel(id, { signal: of.signal }));
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
    await context.step("compare.cancelled", () =>
      duplicates.duplicateCancelled(context.database, provider.account, id),
    );
    cancelled++;
  }
  return cancelled;
}
