/** Which work on a batch has to wait, for which reason: as data, so that it can be read and tested whole. Pure. */
import type { BatchState } from "./batch-transitions.js";

/** Not sent: may still be taken back. Sent: paid for, perhaps. Collecting: the answers are there. */
export const BATCH_PHASES = ["unsent", "sent", "collecting"] as const;
export type BatchPhase = (typeof BATCH_PHASES)[number];

export const HOLD_REASONS = [
  /** Somebody typed `rowmill pause`. */
  "person",
  /** No money for more; what is reserved goes on. */
  "budget",
  "account",
  "provider",
  "source",
  "target",
  "deployment",
  /** Most of the last answers failed. */
  "answers",
  /** Another `up` registered another definition: this worker's prompt and schema are not the ones that count. */
  "superseded",
  /** The definition was not approved yet. */
  "unapproved",
] as const;
export type HoldReason = (typeof HOLD_REASONS)[number];

const ALL: readonly BatchPhase[] = BATCH_PHASES;

/** Reason → the phases that wait. What is paid for is collected wherever that is possible and right. */
export const HELD_PHASES: Readonly<Record<HoldReason, readonly BatchPhase[]>> = {
  person: ["unsent"],
  budget: [],
  account: ALL,
  provider: ALL,
  source: ALL,
  target: ALL,
  deployment: ALL,
  answers: ["unsent"],
  // Answers are checked by the `validate` of the present config, and asked again as it asks: a worker with an older one has neither.
  superseded: ["unsent", "collecting"],
  unapproved: ["unsent"],
};

export function phaseOf(state: BatchState, createOutstanding: boolean): BatchPhase {
  if (state === "collecting") return "collecting";
  return state === "running" || (state === "submitting" && createOutstanding) ? "sent" : "unsent";
}

export function isHeld(phase: BatchPhase, reasons: readonly HoldReason[]): boolean {
  return reasons.some((reason) => HELD_PHASES[reason].includes(phase));
}
