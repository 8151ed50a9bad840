/**
 * Which of the provider's batches is the one that an intent made, and which are second ones beside it. Pure.
 *
 * A batch of ours may be created more than once: a create whose reply was lost, one of a worker that froze before it. Before each
 * further create what was staged for the former one is removed, so a batch of a former input has failed, or will.
 */

/** What is looked at of a provider's batch. */
export interface CreatedBatch {
  readonly id: string;
  readonly status: string;
  /** False: by an earlier create, before its input was staged again. */
  readonly isOfThisCreate: boolean;
  /** Seconds since the epoch, by the provider's clock; null: not said, and taken for the latest. */
  readonly createdAt: number | null;
}

export interface Intent {
  /** Ids that are recorded as second ones already. */
  readonly seconds: ReadonlySet<string>;
  /** The last create may still show up. */
  readonly mayAppear: boolean;
}

export interface JudgedBatches<B> {
  /** Null: none that can be told yet. */
  readonly right: B | null;
  /** They run, or may: to be recorded and cancelled. */
  readonly seconds: readonly B[];
}

const [OF_INPUT, OF_FORMER_INPUT, FAILED] = [0, 1, 2];

/** `listed`: all that are certain to be made for the batch. */
export function judgeCreated<B extends CreatedBatch>(listed: readonly B[], intent: Intent): JudgedBatches<B> {
  // One of a former input that failed ran nothing, and says nothing of the last create.
  const ours = listed.filter(
    (batch) => !intent.seconds.has(batch.id) && (batch.isOfThisCreate || batch.status !== "failed"),
  );
  // The last create's own, before one of a former input that is not known to have failed, before one that ran nothing.
  const rank = (batch: B) =>
    batch.status === "failed" ? FAILED : batch.isOfThisCreate ? OF_INPUT : OF_FORMER_INPUT;
  const at = (batch: B) => batch.createdAt ?? Number.MAX_SAFE_INTEGER;
  const [first, ...others] = ours.sort(
    (a, b) => rank(a) - rank(b) || at(a) - at(b) || (a.id < b.id ? -1 : 1),
  );
  // One of a former input that is not validated yet will fail, and the right one may be missing from the list.
  const isDoubtful =
    first !== undefined && intent.mayAppear && !first.isOfThisCreate && first.status === "validating";
  return {
    right: isDoubtful ? null : (first ?? null),
    // One that failed ran nothing: there is nothing to cancel, nor to count.
    seconds: others.filter(({ status }) => status !== "failed"),
  };
}
