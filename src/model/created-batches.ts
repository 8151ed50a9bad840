/**
 * Which of the provider's batches is the one that an intent made, and which are second ones beside it. Pure.
 *
 * A batch of ours may be created more than once: a create whose reply was lost, one of a worker that froze before it. Before each
 * further create the input file of the former one is deleted, so a batch of a former file has failed, or will.
 */

/** What is looked at of a provider's batch. */
export interface CreatedBatch {
  readonly id: string;
  readonly status: string;
  readonly inputFileId: string;
  /** Seconds since the epoch, by the provider's clock; null: not said, and taken for the latest. */
  readonly createdAt: number | null;
}

export interface Intent {
  /** The file that the last create named. */
  readonly inputFileId: string;
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

const [OF_FILE, OF_FORMER_FILE, FAILED] = [0, 1, 2];

/** `listed`: all that bear the name of the batch or of its input file. */
export function judgeCreated<B extends CreatedBatch>(listed: readonly B[], intent: Intent): JudgedBatches<B> {
  const isOfFile = (batch: B) => batch.inputFileId === intent.inputFileId;
  // One of a former file that failed ran nothing, and says nothing of the last create.
  const ours = listed.filter(
    (batch) => !intent.seconds.has(batch.id) && (isOfFile(batch) || batch.status !== "failed"),
  );
  // The last create's own, before one of a former file that is not known to have failed, before one that ran nothing.
  const rank = (batch: B) =>
    batch.status === "failed" ? FAILED : isOfFile(batch) ? OF_FILE : OF_FORMER_FILE;
  const at = (batch: B) => batch.createdAt ?? Number.MAX_SAFE_INTEGER;
  const [first, ...others] = ours.sort(
    (a, b) => rank(a) - rank(b) || at(a) - at(b) || (a.id < b.id ? -1 : 1),
  );
  // One of a former file that is not validated yet will fail, and the right one may be missing from the list.
  const isDoubtful =
    first !== undefined && intent.mayAppear && !isOfFile(first) && first.status === "validating";
  return {
    right: isDoubtful ? null : (first ?? null),
    // One that failed ran nothing: there is nothing to cancel, nor to count.
    seconds: others.filter(({ status }) => status !== "failed"),
  };
}
