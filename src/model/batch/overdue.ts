/** When a batch is at the provider for longer than its own window allows, and the words for it. Pure. */

const HOUR_MS = 3_600_000;
/** Hours beyond the window, for writing the answers and for clocks that differ. */
export const ALLOWANCE_HOURS = 2;

export interface OverdueBatch {
  readonly pipeline: string;
  readonly providerBatchId: string;
  /** In the provider's own word; null: it was not asked yet. */
  readonly providerStatus: string | null;
  readonly sentAgoMs: number;
  /** When the provider ends a batch as expired. */
  readonly windowHours: number;
}

/** Two sentences: what is wrong, and what to do. */
export function overdueText(batch: OverdueBatch): { readonly wrong: string; readonly fix: string } {
  const { providerBatchId, providerStatus, sentAgoMs, windowHours, pipeline } = batch;
  const hours = Math.floor(sentAgoMs / HOUR_MS);
  const status = providerStatus === null ? "has not ended" : `is still ${providerStatus}`;
  return {
    wrong:
      `Batch ${providerBatchId} of ${pipeline} was sent ${hours} h ago and ${status}, ` +
      `longer than its window of ${windowHours} h.`,
    fix: "Ask the provider why. If you cancel it there, Rowmill keeps its answers and sends the other rows again.",
  };
}
