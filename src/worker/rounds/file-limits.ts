/** What the input of one batch may hold: used when it is planned, and line by line when it is rendered. Pure. */
import { budgetWords, dollars } from "../../model/provider/pricing.js";
import type { LineSize, PackingLimits } from "../../model/request/packing.js";
import type { LearnedLimits } from "../../store/batches/money.js";
import type { Pipeline } from "../context.js";

export interface FileLimits extends Pick<PackingLimits, "requestsMax" | "bytesMax"> {
  /** A larger file was refused: files stay below this, except for a single larger line. Null: no guess. */
  readonly bytesGuess: number | null;
}

export interface WholeLimits extends FileLimits {
  /** The account's own limit of enqueued tokens; null: none was learned. */
  readonly tokensWhole: number | null;
}

/** Requests in one batch, as far as the config and the provider's documentation say. */
export function requestsMax({ config, provider }: Pick<Pipeline, "config" | "provider">): number {
  return Math.min(config.batch.requestsMax ?? Infinity, provider.limits.requestsMax);
}

/** Requests of this size in one file. More would be given back by rendering, which leaves an attempt each time. */
export function requestsInFile({ requestsMax: most, bytesMax, bytesGuess }: FileLimits, bytesEach: number): number {
  return Math.min(most, Math.max(1, Math.floor(Math.min(bytesMax, bytesGuess ?? Infinity) / bytesEach)));
}

/** The narrowest of what the config says, the provider documents, and the account refused before. */
export function fileLimits(
  { config, provider }: Pick<Pipeline, "config" | "provider">,
  learned: LearnedLimits,
): FileLimits {
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

/** Why no batch can ever hold this line; null: some can. */
export function overWhole(pipeline: Pick<Pipeline, "config">, size: LineSize, limits: WholeLimits): string | null {
  const { budget } = pipeline.config;
  if (size.bytes > limits.bytesMax)
    return `The request has ${size.bytes} bytes; a batch file may have at most ${limits.bytesMax}.`;
  if (limits.tokensWhole !== null && size.tokens > limits.tokensWhole) {
    return (
      `The request may need ${size.tokens} tokens; ` +
      `the account may have at most ${limits.tokensWhole} enqueued for this model.`
    );
  }
  if (budget === null || size.nanoUsd <= budget.usd * 1e9) return null;
  return `The request may cost ${dollars(size.nanoUsd)}, more than the whole budget of ${budgetWords(budget)}.`;
}
