/**
 * Decides what happens to a request after one attempt: keep, return (send again, and when), or fail. Pure.
 * Two bounds: the model's tries (`attempts` in the config) and the provider's faults (RETURNS_MAX).
 */
import { backoffMs } from "../batch/schedule.js";

/** How one attempt of one request ended. */
export type AttemptOutcome =
  | "answered"
  // its row is gone, and the answer is kept
  | "answeredGone"
  // the model's fault: counts as a try
  | "invalid"
  | "truncated"
  | "refused"
  // ours: its line had less room than the config allows
  | "cutShort"
  // ours: it shared the answer to an equal request, which does not fit its row
  | "unshared"
  // the provider's fault
  | "rateLimited"
  | "expired"
  | "cancelled"
  | "transient"
  | "missing"
  // final
  | "permanent"
  | "unwritable"
  // overtaken by the row or by the definition
  | "stale"
  | "gone"
  // given up by you
  | "abandoned"
  // cancelled by you
  | "withdrawn"
  // not executed, with the whole file
  | "batchRefused"
  // not sent
  | "empty"
  | "unrenderable"
  | "tooLarge"
  | "noRoom"
  | "alreadyAnswered";

/** An answer came, but the model made it useless. */
export const FAILURE_OUTCOMES = ["truncated", "invalid", "refused"] as const satisfies AttemptOutcome[];
export type FailureOutcome = (typeof FAILURE_OUTCOMES)[number];
/** The model gave an answer, whatever it is worth. */
export const ANSWER_OUTCOMES: readonly AttemptOutcome[] = [
  "answered",
  "answeredGone",
  "unwritable",
  ...FAILURE_OUTCOMES,
];

/** The request never read its line of the results; another one that shares the line may have. */
export const UNREAD_OUTCOMES: readonly AttemptOutcome[] = [
  "expired",
  "cancelled",
  "missing",
  "abandoned",
  "withdrawn",
  "batchRefused",
  "noRoom",
];

export type Ending = "succeeded" | "failed" | "returned";

export interface Policy {
  readonly triesMax: number;
  /** First wait after a fault of the provider. */
  readonly baseDelayMs: number;
  /** The next try has more room for its answer. */
  readonly moreRoom: boolean;
}

/** Attempts in a row that may end by the provider's fault before the request fails. */
export const RETURNS_MAX = 10;

export interface Next {
  readonly ending: Ending;
  readonly tries: number;
  readonly returns: number;
  /** From now until it may go out again; 0 unless returned. */
  readonly delayMs: number;
}

export function whatNext(
  outcome: AttemptOutcome,
  before: Pick<Next, "tries" | "returns">,
  policy: Policy,
  chance: number,
): Next {
  switch (outcome) {
    case "answered":
    case "answeredGone":
    case "alreadyAnswered":
      return {
        ending: outcome === "alreadyAnswered" ? "returned" : "succeeded",
        tries: before.tries,
        returns: 0,
        delayMs: 0,
      };
    case "invalid":
    case "truncated":
    case "refused": {
      const tries = before.tries + 1;
      // With the same room the answer would be cut off, and paid for, again.
      const spent = tries >= policy.triesMax || (outcome === "truncated" && !policy.moreRoom);
      return { ending: spent ? "failed" : "returned", tries, returns: 0, delayMs: 0 };
    }
    case "rateLimited":
    case "expired":
    case "cancelled":
    case "transient":
    case "missing": {
      const returns = before.returns + 1;
      const delayMs = backoffMs(before.returns, policy.baseDelayMs, chance);
      return returns >= RETURNS_MAX
        ? { ending: "failed", tries: before.tries, returns, delayMs: 0 }
        : { ending: "returned", tries: before.tries, returns, delayMs };
    }
    case "permanent":
    case "unwritable":
    case "empty":
    case "unrenderable":
    case "tooLarge":
      return { ending: "failed", tries: before.tries, returns: before.returns, delayMs: 0 };
    // A new content or definition starts at zero.
    case "stale":
      return { ending: "returned", tries: 0, returns: 0, delayMs: 0 };
    case "gone":
    case "abandoned":
    case "withdrawn":
    case "noRoom":
    // No try: Rowmill set the limit. It doubles each time up to the user's own, where the outcome is `truncated`.
    case "cutShort":
    // Nor here: its row is asked alone.
    case "unshared":
    // A refusal that names no line is not about a row: the caller decides when to ask again, and when to report it.
    case "batchRefused":
      return { ending: "returned", tries: before.tries, returns: before.returns, delayMs: 0 };
  }
}
