/**
 * Which of the provider's batches is the one that an intent made, and which are duplicates. Pure.
 *
 * A batch may be created more than once: when a reply is lost, or a worker freezes before its create. The staged input
 * is removed before each further create, so a batch of an earlier input has failed, or will.
 */

/** What counts about a provider's batch. */
export interface CreatedBatch {
  readonly id: string;
  readonly status: string;
  /** False: made by an earlier create, before the input was staged again. */
  readonly isOfThisCreate: boolean;
  /** Seconds since the epoch, by the provider's clock; null: unknown, and taken for the latest. */
  readonly createdAt: number | null;
}

export interface Intent {
  /** Ids that are recorded as duplicates already. */
  readonly known: ReadonlySet<string>;
  /** The last create may still show up. */
  readonly mayAppear: boolean;
}

export interface JudgedBatches<B> {
  /** Null: no one can tell yet. */
  readonly right: B | null;
  /** They run, or may run: to be recorded and cancelled. */
  readonly duplicates: readonly B[];
}

const [OF_INPUT, OF_EARLIER_INPUT, FAILED] = [0, 1, 2];

/** `listed`: all provider batches that were certainly made for the batch. */
export function judgeCreated<B extends CreatedBatch>(listed: readonly B[], intent: Intent): JudgedBatches<B> {
  // A failed batch of an earlier input ran nothing, and tells nothing about the last create.
  const ours = listed.filter(
    (batch) => !intent.known.has(batch.id) && (batch.isOfThisCreate || batch.status !== "failed"),
  );
  // The last create's own first, then one of an earlier input that may run, then one that ran nothing.
  const rank = (batch: B) => (batch.status === "failed" ? FAILED : batch.isOfThisCreate ? OF_INPUT : OF_EARLIER_INPUT);
  const at = (batch: B) => batch.createdAt ?? Number.MAX_SAFE_INTEGER;
  const [first, ...others] = ours.sort((a, b) => rank(a) - rank(b) || at(a) - at(b) || (a.id < b.id ? -1 : 1));
  // A batch of an earlier input that is not validated yet will fail, and the right one may not be listed yet.
  const isDoubtful = first !== undefined && intent.mayAppear && !first.isOfThisCreate && first.status === "validating";
  return {
    right: isDoubtful ? null : (first ?? null),
    // A failed one ran nothing: there is nothing to cancel or to count.
    duplicates: others.filter(({ status }) => status !== "failed"),
  };
}
