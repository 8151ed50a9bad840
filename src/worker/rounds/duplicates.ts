/**
 * Compares the provider's list of batches with the ledger. A **duplicate** is a second provider batch for one of ours:
 * it is recorded, counted as spent, reported, and cancelled where it is certain. An **orphan** bears our name and is
 * unknown to the ledger, which was then restored from a backup or copied: everything waits for your decision. A late or
 * repeated comparison does no harm, and finishes what a crash left: a duplicate is recorded before it is cancelled.
 */
import { suspicionText, unknownBatchesText } from "../../model/deployment-identity.js";
import {
  ProviderError,
  type ListedBatch,
  type Provider,
  type ProviderBatch,
  type Recovery,
} from "../../model/provider/provider.js";
import * as deployment from "../../store/ledger/deployment.js";
import * as duplicates from "../../store/batches/duplicates.js";
import { providersOf, type WorkerContext } from "../context.js";
import { CLOCKS_APART_SECONDS, listSince } from "./provider-clock.js";

/** The list is read back this many windows of a batch, */
const LOOK_BACK_WINDOWS = 2;
/** or back to the last create that the ledger knows of, at most a week. */
const LOOK_BACK_HOURS_MAX = 168;
/** A younger duplicate is for the reconciler to find, or may not be listed yet. */
const REST_SECONDS = 300;
/** Recorded, and cancelled, in one comparison; the rest in the next ones. */
const DUPLICATES_MAX = 50;
/** A process compares again after this time, even if nothing else makes it read the list. */
const LOOK_AGAIN_MS = 3_500_000;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const SEEN_LATE = "a duplicate was created for the same requests, and seen late";
const POSSIBLE = "a batch with the same time and number of requests showed up late: perhaps a duplicate";

/**
 * Whether this process may send and delete: it has compared the list with the ledger, and nothing speaks against it.
 * @throws ProviderError when the list cannot be read; the next call tries again
 */
export async function lookOnce(context: WorkerContext, provider: Provider, signal: AbortSignal): Promise<boolean> {
  await (context.memory.comparisons.get(provider)?.ended ?? look(context, provider, signal));
  return (await deployment.suspicion(context.read)) === null;
}

/** What a provider does not answer now waits for the next comparison. `isSoonNeeded`: there is something to send. */
export async function compareWithList(
  context: WorkerContext,
  signal: AbortSignal,
  isSoonNeeded = false,
): Promise<void> {
  for (const provider of providersOf(context)) {
    try {
      if (await isLookDue(context, provider, isSoonNeeded)) await look(context, provider, signal);
      await cancelDuplicates(context, provider, { signal });
    } catch (error) {
      signal.throwIfAborted();
      if (!(error instanceof ProviderError)) throw error;
      context.log.warn(
        { err: error },
        "the provider's batches could not be compared with the ledger; trying again later",
      );
    }
  }
}

async function isLookDue(context: WorkerContext, provider: Provider, isSoonNeeded: boolean): Promise<boolean> {
  const last = context.memory.comparisons.get(provider);
  // Without any batch yet, and nothing to send, there is nothing to find, and perhaps no key.
  if (last === undefined) return isSoonNeeded || deployment.hasBatches(context.read);
  if (performance.now() - last.atMs > LOOK_AGAIN_MS) return true;
  const since = { hours: lookBackHours(provider), restSeconds: REST_SECONDS };
  return duplicates.mayHaveDuplicates(context.read, provider.account, since);
}

function look(context: WorkerContext, provider: Provider, signal: AbortSignal): Promise<void> {
  const { comparisons } = context.memory;
  const ended = compare(context, provider, signal);
  const started = { atMs: performance.now(), ended };
  comparisons.set(provider, started);
  // The callers that wait get the error; a failed comparison does not count.
  ended.catch(() => comparisons.get(provider) === started && comparisons.delete(provider));
  return ended;
}

async function compare(context: WorkerContext, provider: Provider, signal: AbortSignal): Promise<void> {
  const { account, recovery } = provider;
  const deploymentId = await deployment.deploymentId(context.read);
  const since = listSince(provider, await lookBackSeconds(context, provider));
  const listed = await context.step("compare.look", () =>
    listOurs(provider.list(since, { signal }), { deployment: deploymentId, recovery }),
  );
  logUntold(context.log, listed.untold);
  if (recovery.find === "circumstance") return recordPossible(context, provider, listed.unmarked);
  const named = listed.ours.map(({ id, mark }) => ({ providerBatchId: id, batchId: mark?.batch ?? "" }));
  // The list first, then the ledger: it has whatever is created in the meantime.
  const orphans = await duplicates.orphansAmong(context.read, account, named);
  if (orphans.length === 0) return recordDuplicates(context, account, named);
  const reason = suspicionText(unknownBatchesText(orphans));
  // Checked again in the transaction: by now you may have decided, and another worker may have recorded them.
  const suspected = await context.step("compare.suspect", () =>
    context.database.transaction(
      async (tx) => (await duplicates.orphansAmong(tx, account, named)).length > 0 && deployment.suspect(tx, reason),
    ),
  );
  if (suspected) context.log.warn({ providerBatches: orphans }, reason);
}

export interface ListedOurs {
  /** They bear this ledger's name, and ran or may run. Newest first. */
  readonly ours: readonly ProviderBatch[];
  /** Why no one can tell whose an entry is, each reason once. */
  readonly untold: readonly string[];
  /** All entries with an id, where the list shows no names. */
  readonly unmarked: readonly ProviderBatch[];
}

export async function listOurs(
  listed: AsyncIterable<ListedBatch>,
  { deployment: deploymentId, recovery }: { deployment: string; recovery: Recovery },
): Promise<ListedOurs> {
  const ours: ProviderBatch[] = [];
  const unmarked: ProviderBatch[] = [];
  const reasons = new Set<string>();
  const byCircumstance = recovery.find === "circumstance";
  for await (const { batch, untold } of listed) {
    if (byCircumstance && batch.id !== "") unmarked.push(batch);
    else if (untold !== null) reasons.add(untold);
    else if (isOurs(batch, deploymentId)) ours.push(batch);
  }
  ours.sort((a, b) => (b.createdAt ?? 0) - (a.createdAt ?? 0));
  return { ours, untold: [...reasons], unmarked };
}

/** An entry without a readable name counts as someone else's. */
export function logUntold(log: WorkerContext["log"], untold: readonly string[]): void {
  if (untold.length > 0)
    log.debug({ entries: untold.slice(0, DUPLICATES_MAX) }, "entries of the list of batches were skipped");
}

function lookBackHours({ limits }: Provider): number {
  return LOOK_BACK_WINDOWS * limits.windowHours;
}

async function lookBackSeconds(context: WorkerContext, provider: Provider): Promise<number> {
  const known = await deployment.secondsSinceLastCreate(context.read);
  const least = lookBackHours(provider) * 3_600;
  return Math.max(least, Math.min(LOOK_BACK_HOURS_MAX * 3_600, known));
}

async function recordDuplicates(
  context: WorkerContext,
  account: string,
  named: readonly { readonly providerBatchId: string; readonly batchId: string }[],
): Promise<void> {
  const found = (await duplicates.duplicatesAmong(context.read, account, named)).slice(0, DUPLICATES_MAX);
  for (const { pipeline, ...duplicate } of found) {
    await context.step("compare.record", () =>
      duplicates.recordDuplicate(context.database, { account, ...duplicate, reason: SEEN_LATE, certain: true }),
    );
    context.log.warn(
      { pipeline, batch: duplicate.batchId, providerBatch: duplicate.providerBatchId },
      `${SEEN_LATE}; cancelling it`,
    );
  }
}

/** Where the list shows no names: reported once and never cancelled. Counts as spent where the account is our own. */
async function recordPossible(
  context: WorkerContext,
  provider: Provider,
  listed: readonly ProviderBatch[],
): Promise<void> {
  const { account, recovery } = provider;
  const creates = await duplicates.unresolvedCreates(context.read, account, {
    hours: lookBackHours(provider),
    clocksApartSeconds: CLOCKS_APART_SECONDS,
  });
  const ids = listed.map(({ id }) => id);
  const known = await duplicates.knownProviderBatches(context.read, account, { ids });
  for (const { batch, create } of possibleDuplicates(listed, creates, known).slice(0, DUPLICATES_MAX)) {
    const duplicate = {
      account,
      providerBatchId: batch.id,
      batchId: create.batchId,
      reason: POSSIBLE,
      reservedNanoUsd: recovery.exclusive ? create.reservedNanoUsd : 0,
      certain: false,
    };
    await context.step("compare.record", () => duplicates.recordDuplicate(context.database, duplicate));
    context.log.warn({ batch: create.batchId, providerBatch: batch.id }, POSSIBLE);
  }
}

interface PossibleDuplicate {
  readonly batch: ProviderBatch;
  readonly create: duplicates.UnresolvedCreate;
}

/** Unknown batches with the time and number of requests of a create whose ending is unknown. Pure. */
export function possibleDuplicates(
  listed: readonly ProviderBatch[],
  creates: readonly duplicates.UnresolvedCreate[],
  known: ReadonlySet<string>,
): PossibleDuplicate[] {
  return listed.flatMap((batch) => {
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
}

/** By its mark. A batch that failed ran nothing and cost nothing. */
function isOurs({ status, mark }: ProviderBatch, deploymentId: string): boolean {
  return status !== "failed" && mark !== null && mark.deployment === deploymentId && UUID.test(mark.batch);
}

/** Cancels the recorded duplicates that are not cancelled yet: of all batches, or of one. */
export async function cancelDuplicates(
  context: WorkerContext,
  provider: Provider,
  of: { readonly batchId?: string; readonly signal: AbortSignal },
): Promise<void> {
  const ids = await duplicates.duplicatesToCancel(
    context.read,
    { account: provider.account, batchId: of.batchId },
    DUPLICATES_MAX,
  );
  for (const id of ids) {
    try {
      await context.step("compare.cancel", () => provider.cancel(id, { signal: of.signal }));
    } catch (error) {
      if (!(error instanceof ProviderError)) throw error;
      if (error.kind === "refused" || error.kind === "unsupported") {
        // The next comparison tries again; the other duplicates need not wait for it.
        context.log.warn({ providerBatch: id, err: error }, "a duplicate could not be canceled");
        continue;
      }
      if (error.kind !== "notFound") throw error;
      context.log.warn({ providerBatch: id, err: error }, "the provider no longer has a duplicate");
    }
    await context.step("compare.cancelled", () =>
      duplicates.duplicateCancelled(context.database, provider.account, id),
    );
  }
}
