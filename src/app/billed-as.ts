/** What a batch is billed by that this ledger did not plan: its own model, at the price of the day on which it was created, or of today. */
import { ratesOf, type Rates } from "../model/pricing.js";
import type { ProviderBatch } from "../providers/provider.js";
import type { Pipeline } from "../worker/context.js";

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
  const billed = model ?? pipeline.config.request.model;
  return {
    model: billed,
    rates: ratesOf(billed, createdAt === null ? new Date() : new Date(createdAt * 1_000)),
  };
}
