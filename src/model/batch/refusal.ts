/** Why a provider refuses a file, as its adapter understands the provider's codes and words: the stages know no words. */

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
  /** Quota, storage, billing: nothing will work until a person acts. */
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
