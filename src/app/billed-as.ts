/**
 * What a batch is billed by that this ledger did not plan: its own model, at the price that the config gives for that model, else at that of
 * the day on which it was created.
 */
import { ratesFor, type Rates } from "../model/pricing.js";
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
  const { request } = pipeline.config;
  const billed = model ?? request.model;
  const price = billed === request.model ? request.price : null;
  return { model: billed, rates: ratesFor({ model: billed, price }, new Date(createdAt * 1_000)) };
}
