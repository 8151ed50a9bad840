/**
 * What a batch is billed by that this ledger did not plan: its own model, at the price that the config gives for that model, else at that of
 * the day on which it was created, or of today where that is not said.
 */
import { ratesFor, type Rates } from "../../model/provider/pricing.js";
import type { ProviderBatch } from "../../model/provider/provider.js";
import type { Pipeline } from "../../worker/context.js";

export interface Billed {
  readonly model: string;
  readonly rates: Rates;
}

/** `model`: as its lines name it. Where none does, the pipeline's own is the best guess. */
export function billedAs(
  pipeline: Pipeline,
  model: string | null,
  { createdAt }: Pick<ProviderBatch, "createdAt">,
): Billed {
  const { provider, request } = pipeline.config;
  const billed = model ?? request.model;
  const price = billed === request.model ? request.price : null;
  const at = createdAt === null ? new Date() : new Date(createdAt * 1_000);
  return { model: billed, rates: ratesFor(provider.dialect, { model: billed, price }, at) };
}
