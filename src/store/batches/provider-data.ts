/** The column `provider_data` of a batch. */
import type { Json } from "../../model/pipeline.js";

/** What an adapter needs again about a batch. Each member but the last two is the adapter's own. */
export interface ProviderData {
  readonly staged: Json | null;
  readonly baseline: Json | null;
  readonly refs: Json | null;
  /** When its last create was intended, seconds since the epoch by the database's clock: a refutation goes on looking from then. */
  readonly intendedAt: number | null;
  /** Ids of provider batches that may have been this one, and proved not to be. */
  readonly refuted: readonly string[];
}

export const NO_DATA: ProviderData = {
  staged: null,
  baseline: null,
  refs: null,
  intendedAt: null,
  refuted: [],
};
