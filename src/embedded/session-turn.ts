/**
 * Owns the decision who may use the one session of the embedded database next. Pure: a table of states and events.
 * The mux does what the table says; test/unit/embedded-turn.test.ts lists every cell.
 */
import type { TransactionStatus } from "./wire-messages.js";

/** Whose turn it is. All states but `free` have a holder: the client whose work is open. */
export type SessionTurn =
  | "free"
  /** The holder's transaction is open. */
  | "transaction"
  /** The holder sent a Flush and no Sync yet. */
  | "unfinished"
  /** The holder hung up, and its open work must be rolled back. */
  | "abandonedTransaction"
  | "abandonedUnfinished";

/** What the database answered last (`idle`, `open`, `unfinished`), or that the holder hung up. */
export type TurnEvent = "idle" | "open" | "unfinished" | "holderLeft";

/** Who may run the next cycle. `rollBack`: no client before the open work is undone. */
export const NEXT_CYCLE: Readonly<Record<SessionTurn, "anyone" | "holder" | "rollBack">> = {
  free: "anyone",
  transaction: "holder",
  unfinished: "holder",
  abandonedTransaction: "rollBack",
  abandonedUnfinished: "rollBack",
};

// prettier-ignore
const TURNS: Readonly<Record<SessionTurn, Readonly<Record<TurnEvent, SessionTurn>>>> = {
  free:        { idle: "free", open: "transaction", unfinished: "unfinished", holderLeft: "free" },
  transaction: { idle: "free", open: "transaction", unfinished: "unfinished", holderLeft: "abandonedTransaction" },
  unfinished:  { idle: "free", open: "transaction", unfinished: "unfinished", holderLeft: "abandonedUnfinished" },
  // The answer to the holder's last cycle may arrive after it hung up.
  abandonedTransaction: {
    idle: "free", open: "abandonedTransaction", unfinished: "abandonedUnfinished", holderLeft: "abandonedTransaction",
  },
  abandonedUnfinished: {
    idle: "free", open: "abandonedTransaction", unfinished: "abandonedUnfinished", holderLeft: "abandonedUnfinished",
  },
};

export function nextTurn(turn: SessionTurn, event: TurnEvent): SessionTurn {
  return TURNS[turn][event];
}

/** `status` is null when the cycle ended with a Flush, or its answer was cut. */
export function turnEventOf(status: TransactionStatus | null): TurnEvent {
  if (status === null) return "unfinished";
  return status === "I" ? "idle" : "open";
}
