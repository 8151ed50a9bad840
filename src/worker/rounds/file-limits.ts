/** What the input of one batch may hold: used when it is planned, and line by line when it is rendered. Pure. */
import type { PackingLimits } from "../../model/request/packing.js";
import type { LearnedLimits } from "../../store/batches/money.js";
import type { Pipeline } from "../context.js";

export interface FileLimits extends Pick<PackingLimits, "requestsMax" | "bytesMax"> {
  /** A larger file was refused: files stay below this, except for a single larger line. Null: no guess. */
  readonly bytesGuess: number | null;
}

/** Requests in one batch, as far as the config and the provider's documentation say. */
export function requestsMax({ config, provider }: Pick<Pipeline, "config" | "provider">): number {
  return Math.min(config.batch.requestsMax ?? Infinity, provider.limits.requestsMax);
}

/** The narrowest of what the config says, the provider documents, and the account refused before. */
export function fileLimits({ config, provider }: Pipeline, learned: LearnedLimits): FileLimits {
  const isGuess = learned.sizeGuesses > 0;
  const { head, separator, tail } = provider.frame;
  // Each line is counted with a separator, and the file has one separator less.
  const frameBytes = Math.max(0, Buffer.byteLength(head + tail) - Buffer.byteLength(separator));
  return {
    bytesGuess: isGuess ? learned.inputBytes : null,
    requestsMax: requestsMax({ config, provider }),
    bytesMax:
      Math.min(
        config.batch.bytesMax ?? Infinity,
        provider.limits.bytesMax,
        isGuess ? Infinity : (learned.inputBytes ?? Infinity),
      ) - frameBytes,
  };
}
