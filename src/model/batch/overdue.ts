/** When a batch has been at the provider for longer than it may be there by its own window, and what is said of it then. Pure. */

const HOUR_MS = 3_600_000;
/** For writing what was answered, and for clocks that differ. Sent longer ago than its window and this, and not ended: somebody should ask. */
export const ALLOWANCE_HOURS = 2;

export interface OverdueBatch {
  readonly pipeline: string;
  readonly providerBatchId: string;
  /** In the provider's own word; null: it was not asked yet. */
  readonly providerStatus: string | null;
  readonly sentAgoMs: number;
  /** By when the provider ends a batch as expired. */
  readonly windowHours: number;
}

/** Two sentences: what is wrong, and what to do. */
export function overdueText(batch: OverdueBatch): { readonly wrong: string; readonly mend: string } {
  const { providerBatchId, providerStatus, sentAgoMs, windowHours, pipeline } = batch;
  const hours = Math.floor(sentAgoMs / HOUR_MS);
  const status = providerStatus === null ? "has not ended" : `is still ${providerStatus}`;
  return {
    wrong: `Batch ${providerBatchId} of ${pipeline} was sent ${hours} h ago and ${status}, longer than its window of ${windowHours} h.`,
    mend: "Ask the provider what holds it. Its rows wait for it; if it is cancelled there, what it answered is kept and the rest goes out again.",
  };
}
