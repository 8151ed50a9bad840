/** What `rowmill cancel` can do with a batch. Pure; a turn with the batch decides again by what it is then. */
import { phaseOf } from "./holding.js";
import type { BatchState } from "./batch-transitions.js";

export type CancelAction =
  /** It was not sent: it ends, and nothing is spent. */
  | "withdraw"
  /** It is at the provider, or may be: it is cancelled there. */
  | "cancel"
  /** The provider has ended it: only what it has no answer to can be dropped. */
  | "dropRest"
  /** Nothing to do: its answers are being collected, */
  | "collecting"
  /** someone wanted the same before, */
  | "already"
  /** or it has ended. */
  | "ended"
  /** Never: it belongs to another database too, */
  | "shared"
  /** or it is probably ours, and not proved yet. */
  | "presumed";

/** What was recorded. */
export interface CancelWish {
  /** What has no answer by then is dropped instead of sent again. */
  readonly drops: boolean;
  /** The provider was asked. */
  readonly asked: boolean;
}

export interface CancelFacts {
  readonly state: BatchState;
  /** A create may be on its way. */
  readonly isCreateOpen: boolean;
  readonly shared: boolean;
  readonly presumed: boolean;
  /** An earlier wish; null: there is none. */
  readonly cancel: Pick<CancelWish, "drops"> | null;
}

export function cancelAction(facts: CancelFacts, drops: boolean): CancelAction {
  const { state, isCreateOpen, cancel } = facts;
  if (state === "settled" || state === "rejected" || state === "cancelled") return "ended";
  if (facts.shared) return "shared";
  if (facts.presumed) return "presumed";
  if (cancel !== null && (cancel.drops || !drops)) return "already";
  const phase = phaseOf(state, isCreateOpen);
  if (phase === "collecting") return drops ? "dropRest" : "collecting";
  return phase === "unsent" ? "withdraw" : "cancel";
}

export function isActed(action: CancelAction): boolean {
  return action === "withdraw" || action === "cancel" || action === "dropRest";
}
