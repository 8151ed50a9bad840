/** The column `provider_data` of a batch. */
import type { Json } from "../../model/pipeline.js";

/** The first three belong to the adapter. */
export interface ProviderData {
  readonly staged: Json | null;
  readonly baseline: Json | null;
  readonly refs: Json | null;
  /**
   * The last intent to create, seconds since the epoch by the database's clock: a refuted search continues from
   * there.
   */
  readonly intendedAt: number | null;
  /** Provider batches that could have been this one and proved not to be. */
  readonly refuted: readonly string[];
}

export const NO_DATA: ProviderData = {
  staged: null,
  baseline: null,
  refs: null,
  intendedAt: null,
  refuted: [],
};
