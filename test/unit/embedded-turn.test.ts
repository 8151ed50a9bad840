/**
 * The table of whose turn it is at the one session of the embedded database, cell by cell; a missing cell does not
 * compile.
 */
import { describe, expect, it } from "vitest";
import {
  NEXT_CYCLE,
  nextTurn,
  turnEventOf,
  type SessionTurn,
  type TurnEvent,
} from "../../src/embedded/session-turn.js";

const answers = { idle: "free", open: "transaction", unfinished: "unfinished" } as const;
/** An answer that arrives after its client hung up: what it left open is still to be rolled back. */
const lateAnswers = {
  idle: "free",
  open: "abandonedTransaction",
  unfinished: "abandonedUnfinished",
} as const;

const turns: Record<SessionTurn, Record<TurnEvent, SessionTurn>> = {
  free: { ...answers, holderLeft: "free" },
  transaction: { ...answers, holderLeft: "abandonedTransaction" },
  unfinished: { ...answers, holderLeft: "abandonedUnfinished" },
  abandonedTransaction: { ...lateAnswers, holderLeft: "abandonedTransaction" },
  abandonedUnfinished: { ...lateAnswers, holderLeft: "abandonedUnfinished" },
};

const cells = Object.entries(turns).flatMap(([turn, row]) =>
  Object.entries(row).map(([event, next]) => [turn as SessionTurn, event as TurnEvent, next] as const),
);

describe("the turn at the embedded database's one session", () => {
  it.each(cells)("%s, then %s, is %s", (turn, event, next) => {
    expect(nextTurn(turn, event)).toBe(next);
  });

  it("lets a client run a cycle only when no work of another client is open", () => {
    expect(NEXT_CYCLE).toEqual({
      free: "anyone",
      transaction: "holder",
      unfinished: "holder",
      abandonedTransaction: "rollBack",
      abandonedUnfinished: "rollBack",
    } satisfies Record<SessionTurn, string>);
  });

  it("frees the session by one rollback, whatever was left open", () => {
    for (const turn of ["abandonedTransaction", "abandonedUnfinished"] as const) {
      expect(NEXT_CYCLE[nextTurn(turn, turnEventOf("I"))]).toBe("anyone");
    }
  });

  it("takes a failed transaction for an open one, and no ReadyForQuery for an unfinished cycle", () => {
    expect(["I", "T", "E", null].map((status) => turnEventOf(status as "I" | "T" | "E" | null))).toEqual([
      "idle",
      "open",
      "open",
      "unfinished",
    ]);
  });
});
