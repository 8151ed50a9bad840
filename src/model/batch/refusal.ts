/** Why a provider refuses a file, in the words of no vendor, and what follows from it. Pure. */

export type RefusalAbout =
  /** One line of the file. */
  | "line"
  /** Every request of the pipeline: the model, the endpoint. */
  | "definition"
  /** The size of the file: a smaller one may pass. `limit`: bytes. */
  | "size"
  /** What is queued at the provider: later, or less at once, it may pass. `limit`: enqueued tokens. */
  | "tokens"
  /** The input file is not there, or not ready, yet. */
  | "notReady"
  /** Quota, storage, billing: nothing will work until you act. */
  | "account"
  | "other";

export interface Refusal {
  readonly about: RefusalAbout;
  /** The limit that the provider names, where it does. */
  readonly limit: number | null;
}

/** `line` is 1-based, null when not bound to a line. */
export interface BatchInputError extends Refusal {
  readonly code: string | null;
  readonly line: number | null;
  readonly message: string;
  readonly param: string | null;
}

export type RefusalVerdict =
  /** Other code wrote the file: it teaches nothing about ours, and its requests wait again. */
  | { readonly kind: "othersFile" }
  /** Learn a token limit; the requests wait until the provider's queue drains. */
  | { readonly kind: "tokens"; readonly tokens: BatchInputError }
  /** About all requests, at least one of these: learn a size limit, pause for the definition, pause for the account. */
  | {
      readonly kind: "shared";
      readonly size: BatchInputError | null;
      readonly definition: BatchInputError | null;
      readonly account: BatchInputError | null;
    }
  /** These lines fail, each with its own error; the others wait again at once. */
  | { readonly kind: "lines"; readonly lines: ReadonlyMap<number, BatchInputError> }
  /** No line and no known reason: no row fails; the same rows are sent again a few times. */
  | { readonly kind: "unexplained" };

export function judgeRefusal(
  errors: readonly BatchInputError[],
  file: {
    readonly lines: number;
    /** By other code, in an adopted batch. */
    readonly isOthers: boolean;
    /** By a lost state of this ledger: only the lines whose rows still wait are known. */
    readonly isRecovered: boolean;
  },
): RefusalVerdict {
  if (file.isOthers) return { kind: "othersFile" };
  const about = (what: RefusalAbout) => errors.find((error) => error.about === what) ?? null;
  const tokens = about("tokens");
  if (tokens !== null) return { kind: "tokens", tokens };
  const shared = { size: about("size"), definition: about("definition"), account: about("account") };
  if (Object.values(shared).some((error) => error !== null)) return { kind: "shared", ...shared };
  // A line that the file does not have names no request.
  const inFile = (line: number | null): line is number => line !== null && line >= 1 && line <= file.lines;
  const lines = new Map(errors.flatMap((error) => (inFile(error.line) ? [[error.line, error] as const] : [])));
  return lines.size === 0 || file.isRecovered ? { kind: "unexplained" } : { kind: "lines", lines };
}

/** The limit that follows from a refusal for too many enqueued tokens, and whether the next batch has to wait first. */
export function tokenLimit(facts: {
  /** The limit that the message names; null: none. */
  readonly named: number | null;
  readonly inFlight: number;
  readonly ofBatch: number;
  readonly ofRequest: number;
}): { readonly enqueuedTokens: number; readonly waits: boolean } {
  const { named, inFlight, ofBatch, ofRequest } = facts;
  // A limit that we were not over: others use the room. Half the batch is tried, never the same size again.
  const learned = named !== null && named < inFlight ? named : Math.floor(ofBatch / 2);
  const enqueuedTokens = Math.ceil(Math.max(1, learned, Math.min(ofRequest, named ?? Infinity)));
  return { enqueuedTokens, waits: inFlight > ofBatch || learned !== named };
}

/** Refusals for the same reason in a row that pause the pipeline. */
export const REFUSALS_MAX = 3;
/** The next file is this many times smaller, where no limit is named: 200 MB get below 1 MB in two steps. */
const SIZE_STEP = 16;

export type SizeLesson =
  | { readonly kind: "limit"; readonly inputBytes: number }
  /** `count`: guesses in a row, this one included. */
  | { readonly kind: "guess"; readonly inputBytes: number; readonly count: number }
  /** Rendered before the last refusal, so this one says nothing new. */
  | { readonly kind: "known" }
  /** No smaller file helps. */
  | { readonly kind: "hopeless" };

export function sizeLesson(facts: {
  readonly named: number | null;
  readonly bytes: number;
  readonly lines: number;
  readonly known: { readonly inputBytes: number | null; readonly sizeGuesses: number };
}): SizeLesson {
  const { named, bytes, lines, known } = facts;
  if (named !== null && named < bytes) return { kind: "limit", inputBytes: named };
  if (known.inputBytes !== null && bytes > known.inputBytes && lines > 1) return { kind: "known" };
  const count = known.sizeGuesses + 1;
  if (lines === 1 || count >= REFUSALS_MAX) return { kind: "hopeless" };
  return { kind: "guess", inputBytes: Math.max(1, Math.floor(bytes / SIZE_STEP)), count };
}
