/** What a turn does with a batch, and which reasons make it wait. Pure. */
import type { BatchState } from "./batch-transitions.js";

/** Unsent: may still be taken back. Sent: perhaps paid for. Collecting: the answers are there. */
export const BATCH_PHASES = ["unsent", "sent", "collecting"] as const;
export type BatchPhase = (typeof BATCH_PHASES)[number];

export const HOLD_REASONS = [
  /** You typed `rowmill pause`. */
  "person",
  /** No money for more; what is reserved continues. */
  "budget",
  "account",
  "provider",
  "source",
  "target",
  "deployment",
  /** Most of the last answers failed. */
  "answers",
  /** Many rows vanished from a source elsewhere, and you have not agreed to their deletion. */
  "deletions",
  /** Another `up` registered another definition: this worker's prompt and schema no longer count. */
  "superseded",
  /** The definition is not approved yet. */
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
  deletions: ["unsent"],
  // Only a worker with the present config has the `validate` that checks answers, and the prompt for rows sent again.
  superseded: ["unsent", "collecting"],
  unapproved: ["unsent"],
};

export function phaseOf(state: BatchState, isCreateOpen: boolean): BatchPhase {
  if (state === "collecting") return "collecting";
  return state === "running" || (state === "submitting" && isCreateOpen) ? "sent" : "unsent";
}

export function isHeld(phase: BatchPhase, reasons: readonly HoldReason[]): boolean {
  return reasons.some((reason) => HELD_PHASES[reason].includes(phase));
}

/**
 * What holds back a cancellation. A pause that keeps a batch from being sent does not keep it from being withdrawn, and
 * one of the source or the target does not keep the provider from being asked to stop.
 */
const CANCEL_HELD = {
  dropQueued: ["deployment", "source", "superseded"],
  withdrawCancelled: ["deployment"],
  cancelAtProvider: ["deployment", "account"],
} as const satisfies Readonly<Partial<Record<TurnWork, readonly HoldReason[]>>>;

export type TurnWork =
  | "done"
  | "wait"
  /** You cancelled it: its queued rows are dropped, */
  | "dropQueued"
  /** or it goes back to the waiting rows, because it was not sent, */
  | "withdrawCancelled"
  /** or the provider is asked to cancel it. */
  | "cancelAtProvider"
  /** For a worker with the batch's own account. */
  | "waitForAccount"
  /** Back to the waiting rows, because it was planned for another account, */
  | "withdrawOtherAccount"
  /** because the other copy of this database sends it, */
  | "withdrawShared"
  /** or because its answers would be thrown away. */
  | "withdrawOutdated"
  | "render"
  | "upload"
  | "create"
  | "reconcile"
  /** Ends the requests of a file that the provider refused. */
  | "refuse"
  | "poll"
  | "collect";

export interface TurnFacts {
  readonly state: BatchState;
  /** A create may be on its way. */
  readonly isCreateOpen: boolean;
  /** The provider refused its file. */
  readonly isRefused: boolean;
  /** It belongs to another database too: this one was copied after it was planned. */
  readonly isShared: boolean;
  /** Another definition than this worker's asked it. */
  readonly isOutdated: boolean;
  /** It was planned for another account than this worker's. */
  readonly isOtherAccount: boolean;
  /** Its provider batch is not proved to be ours. */
  readonly isPresumed: boolean;
  /** You want it cancelled. */
  readonly isCancelWanted: boolean;
  /** What has no answer by then is dropped. */
  readonly isDropWanted: boolean;
  /** The provider was asked to cancel it. */
  readonly isCancelAsked: boolean;
  readonly holds: readonly HoldReason[];
}

export interface TurnDecision {
  readonly work: TurnWork;
  /** First compare the provider's list with the ledger: a ledger that may be a copy must not send or delete. */
  readonly comparesFirst: boolean;
  /** First wait while the account is known to have no room. */
  readonly needsRoom: boolean;
}

/** The first rule that applies decides. */
export function decideTurn(facts: TurnFacts): TurnDecision {
  const { state, isCreateOpen, isRefused, isOtherAccount, holds } = facts;
  const phase = phaseOf(state, isCreateOpen);
  const isSending = state === "uploading" || state === "submitting";
  const only = (work: TurnWork): TurnDecision => ({ work, comparesFirst: false, needsRoom: false });
  if (state === "settled" || state === "rejected" || state === "cancelled") return only("done");
  if (isOtherAccount && phase !== "unsent") return only("waitForAccount");
  const cancelling = cancelWork(facts, phase);
  if (cancelling !== null) {
    const isWaiting = CANCEL_HELD[cancelling].some((reason) => holds.includes(reason));
    const comparesList = !isWaiting && cancelling === "cancelAtProvider";
    return { work: isWaiting ? "wait" : cancelling, comparesFirst: comparesList, needsRoom: false };
  }
  if (isHeld(phase, holds)) return only("wait");
  const work = workOn(facts, phase);
  // The requests of a refused file end without asking any account.
  if (isOtherAccount) return only(isSending && isRefused ? work : "withdrawOtherAccount");
  return { work, comparesFirst: isSending, needsRoom: isSending && phase === "unsent" && !isRefused };
}

/** Null: it continues as every batch does. A batch that may be another database's, or another one, is left alone. */
function cancelWork(facts: TurnFacts, phase: BatchPhase): keyof typeof CANCEL_HELD | null {
  const { state, isCancelWanted, isCancelAsked, isShared, isPresumed } = facts;
  if (!isCancelWanted) return null;
  if (state === "planned") return facts.isDropWanted ? "dropQueued" : "withdrawCancelled";
  // A refused file ends anyway, each request for its own reason.
  if (phase === "unsent") return facts.isRefused ? null : "withdrawCancelled";
  return state === "running" && !isCancelAsked && !isShared && !isPresumed ? "cancelAtProvider" : null;
}

function workOn({ state, isCreateOpen, isRefused, isShared, isOutdated }: TurnFacts, phase: BatchPhase): TurnWork {
  if (state === "planned") return "render";
  if (state === "running") return "poll";
  if (state === "collecting") return "collect";
  if (isShared && phase === "unsent") return "withdrawShared";
  if (isRefused) return "refuse";
  if (isOutdated && phase === "unsent") return "withdrawOutdated";
  if (state === "uploading") return "upload";
  return isCreateOpen ? "reconcile" : "create";
}
