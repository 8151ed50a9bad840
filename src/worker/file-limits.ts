/**
 * What one batch file may hold: of requests, known before it is planned and kept to line by line when it is rendered; of answers, so
 * that who sends them does not decide how much is read. Pure.
 */
import type { PackingLimits } from "../model/packing.js";
import type { FileBounds } from "../model/former-provider.js";
import type { LearnedLimits } from "../store/money.js";
import type { Pipeline } from "./context.js";

/** Some providers write a line twice, and empty ones between. */
const LINES_FACTOR_MAX = 2;
const LINES_BESIDE_MAX = 1_000;
/** On average, with what a small file may have in one line. */
const BYTES_PER_LINE_MAX = 1024 * 1024;
const BYTES_BESIDE_MAX = 64 * 1024 * 1024;

/** Of one file of answers to so many requests. */
export function answerBounds(requests: number): FileBounds {
  return {
    linesMax: requests * LINES_FACTOR_MAX + LINES_BESIDE_MAX,
    bytesMax: requests * BYTES_PER_LINE_MAX + BYTES_BESIDE_MAX,
  };
}

export interface FileLimits extends Pick<PackingLimits, "requestsMax" | "bytesMax"> {
  /** What a file should rather not have, since a larger one was refused; a line that has more goes alone. Null: nothing is guessed. */
  readonly bytesGuess: number | null;
}

/** The narrowest of what the config wants, the provider documents, and the account was seen to refuse. */
export function fileLimits({ config, provider }: Pipeline, learned: LearnedLimits): FileLimits {
  const isGuess = learned.sizeGuesses > 0;
  return {
    bytesGuess: isGuess ? learned.inputBytes : null,
    requestsMax: Math.min(config.batch.requestsMax ?? Infinity, provider.limits.requestsMax),
    bytesMax: Math.min(
      config.batch.bytesMax ?? Infinity,
      provider.limits.bytesMax,
      isGuess ? Infinity : (learned.inputBytes ?? Infinity),
    ),
  };
}
