/** What the input of one batch may hold: known before it is planned, and kept to line by line when it is rendered. Pure. */
import type { PackingLimits } from "../../model/request/packing.js";
import type { LearnedLimits } from "../../store/batches/money.js";
import type { Pipeline } from "../context.js";

export interface FileLimits extends Pick<PackingLimits, "requestsMax" | "bytesMax"> {
  /** What a file should rather not have, since a larger one was refused; a line that has more goes alone. Null: nothing is guessed. */
  readonly bytesGuess: number | null;
}

/** In one batch, by what is known before any is refused. */
export function requestsMax({ config, provider }: Pick<Pipeline, "config" | "provider">): number {
  return Math.min(config.batch.requestsMax ?? Infinity, provider.limits.requestsMax);
}

/** The narrowest of what the config wants, the provider documents, and the account was seen to refuse. */
export function fileLimits({ config, provider }: Pipeline, learned: LearnedLimits): FileLimits {
  const isGuess = learned.sizeGuesses > 0;
  const { head, separator, tail } = provider.frame;
  // Each line is counted with a separator, of which there is one less than lines.
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
