/** What one batch file may hold: known before it is planned, and kept to line by line when it is rendered. Pure. */
import type { PackingLimits } from "../model/packing.js";
import type { LearnedLimits } from "../store/money.js";
import type { Pipeline } from "./context.js";

/** The narrowest of what the config wants, the provider documents, and the account was seen to refuse. */
export function fileLimits(
  { config, provider }: Pipeline,
  learned: LearnedLimits,
): Pick<PackingLimits, "requestsMax" | "bytesMax"> {
  return {
    requestsMax: Math.min(config.batch.requestsMax ?? Infinity, provider.limits.requestsMax),
    bytesMax: Math.min(
      config.batch.bytesMax ?? Infinity,
      provider.limits.bytesMax,
      learned.inputBytes ?? Infinity,
    ),
  };
}
