/**
 * The two tables of states and events, written down a second time from the design and compared with the code cell by
 * cell. The types of the literals make a cell that is left out a compile error; the last test, read by the compiler,
 * shows that.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import {
  BATCH_EVENTS,
  BATCH_STATES,
  BATCH_TRANSITIONS,
  moveBatch,
  type BatchEvent,
  type BatchMove,
  type BatchState,
} from "../../src/model/batch/batch-transitions.js";
import {
  HELD_PHASES,
  HOLD_REASONS,
  isHeld,
  phaseOf,
  type BatchPhase,
  type HoldReason,
} from "../../src/model/batch/holding.js";
import {
  compareRow,
  moveRequest,
  REQUEST_EVENTS,
  REQUEST_STATES,
  REQUEST_TRANSITIONS,
  type KnownRequest,
  type RequestEvent,
  type RequestMove,
  type RequestState,
} from "../../src/model/request/request-transitions.js";

const repository = join(import.meta.dirname, "../..");

/**
 * Only a request in flight can meet the ending of an attempt, only a waiting one is planned, and only of a failed one
 * is a kept answer written. You drop what waits in a batch or is in flight, and recall what you dropped.
 */
const notInFlight = {
  answered: "impossible",
  answeredGone: "impossible",
  failedForGood: "impossible",
  returned: "impossible",
  endedGone: "impossible",
  endedAnswered: "impossible",
  keptWritten: "impossible",
  dropped: "impossible",
  recalled: "impossible",
} as const;

const requests: Record<RequestState, Record<RequestEvent, RequestMove>> = {
  waiting: {
    rowGone: "gone",
    rowAsKnown: "keep",
    rowAsAnswered: "succeeded",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "batched",
    ...notInFlight,
    dropped: "cancelled",
  },
  batched: {
    rowGone: "keep",
    rowAsKnown: "keep",
    rowAsAnswered: "keep",
    rowDiffers: "keep",
    reopened: "keep",
    planned: "impossible",
    answered: "succeeded",
    answeredGone: "succeeded",
    failedForGood: "failed",
    returned: "waiting",
    endedGone: "gone",
    endedAnswered: "succeeded",
    keptWritten: "impossible",
    dropped: "cancelled",
    recalled: "impossible",
  },
  succeeded: {
    rowGone: "gone",
    rowAsKnown: "keep",
    rowAsAnswered: "keep",
    rowDiffers: "waiting",
    reopened: "waiting",
    planned: "impossible",
    ...notInFlight,
  },
  failed: {
    rowGone: "gone",
    rowAsKnown: "keep",
    rowAsAnswered: "succeeded",
    rowDiffers: "waiting",
    reopened: "waiting",
    planned: "impossible",
    ...notInFlight,
    keptWritten: "succeeded",
  },
  cancelled: {
    rowGone: "gone",
    rowAsKnown: "keep",
    rowAsAnswered: "succeeded",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "impossible",
    ...notInFlight,
    recalled: "waiting",
  },
  gone: {
    rowGone: "keep",
    rowAsKnown: "restore",
    rowAsAnswered: "succeeded",
    rowDiffers: "waiting",
    reopened: "keep",
    planned: "impossible",
    ...notInFlight,
  },
};

const nothingMore: Record<BatchEvent, BatchMove> = {
  rendered: "impossible",
  nothingToSend: "impossible",
  spoolLost: "impossible",
  uploaded: "impossible",
  fenced: "impossible",
  created: "impossible",
  refused: "impossible",
  providerDone: "impossible",
  refuted: "impossible",
  allEnded: "impossible",
  abandoned: "impossible",
};

const batches: Record<BatchState, Record<BatchEvent, BatchMove>> = {
  planned: {
    rendered: "uploading",
    nothingToSend: "settled",
    spoolLost: "impossible",
    uploaded: "impossible",
    fenced: "impossible",
    created: "impossible",
    refused: "impossible",
    providerDone: "impossible",
    refuted: "impossible",
    allEnded: "impossible",
    abandoned: "cancelled",
  },
  uploading: {
    rendered: "impossible",
    nothingToSend: "impossible",
    spoolLost: "planned",
    uploaded: "submitting",
    fenced: "impossible",
    created: "impossible",
    refused: "rejected",
    providerDone: "impossible",
    refuted: "impossible",
    allEnded: "impossible",
    abandoned: "cancelled",
  },
  submitting: {
    rendered: "impossible",
    nothingToSend: "impossible",
    spoolLost: "impossible",
    uploaded: "impossible",
    fenced: "uploading",
    created: "running",
    refused: "rejected",
    providerDone: "impossible",
    refuted: "impossible",
    allEnded: "impossible",
    abandoned: "cancelled",
  },
  running: {
    rendered: "impossible",
    nothingToSend: "impossible",
    spoolLost: "impossible",
    uploaded: "impossible",
    fenced: "impossible",
    created: "impossible",
    refused: "rejected",
    providerDone: "collecting",
    refuted: "submitting",
    allEnded: "impossible",
    abandoned: "cancelled",
  },
  collecting: {
    rendered: "impossible",
    nothingToSend: "impossible",
    spoolLost: "impossible",
    uploaded: "impossible",
    fenced: "impossible",
    created: "impossible",
    refused: "impossible",
    providerDone: "impossible",
    refuted: "submitting",
    allEnded: "settled",
    abandoned: "cancelled",
  },
  settled: nothingMore,
  rejected: nothingMore,
  cancelled: nothingMore,
};

/** Whether work on a batch in that phase waits: what is paid for is collected wherever that is possible and right. */
const holds: Record<HoldReason, Record<BatchPhase, boolean>> = {
  person: { unsent: true, sent: false, collecting: false },
  budget: { unsent: false, sent: false, collecting: false },
  account: { unsent: true, sent: true, collecting: true },
  provider: { unsent: true, sent: true, collecting: true },
  source: { unsent: true, sent: true, collecting: true },
  target: { unsent: true, sent: true, collecting: true },
  deployment: { unsent: true, sent: true, collecting: true },
  answers: { unsent: true, sent: false, collecting: false },
  deletions: { unsent: true, sent: false, collecting: false },
  superseded: { unsent: true, sent: false, collecting: true },
  unapproved: { unsent: true, sent: false, collecting: false },
};

const requestCells = REQUEST_STATES.flatMap((state) => REQUEST_EVENTS.map((event) => [state, event] as const));
const batchCells = BATCH_STATES.flatMap((state) => BATCH_EVENTS.map((event) => [state, event] as const));

function known(state: RequestState, more: Partial<KnownRequest> = {}): KnownRequest {
  return { state, goneFrom: null, contentHash: "now", answeredHash: null, rowGone: false, ...more };
}

describe("A request", () => {
  it.each(requestCells)("that is %s and meets %s goes where the design says", (state, event) => {
    expect(REQUEST_TRANSITIONS[state][event]).toBe(requests[state][event]);
  });

  it("has the states that the database allows", async () => {
    expect(await statesInSchema("requests")).toEqual([...REQUEST_STATES]);
  });

  it("comes back from gone to the state that it had, and waits where none is known", () => {
    expect(moveRequest(known("gone", { goneFrom: "failed" }), "rowAsKnown")).toBe("failed");
    expect(moveRequest(known("gone"), "rowAsKnown")).toBe("waiting");
  });

  it("is not written where nothing changes or nothing can", () => {
    for (const [state, event] of requestCells) {
      const still = ["keep", "impossible"].includes(requests[state][event]);
      expect(moveRequest(known(state, { goneFrom: "failed" }), event) === null).toBe(still);
    }
  });

  it.each([
    ["no such row", null, "rowGone"],
    ["the content that the ledger records", "now", "rowAsKnown"],
    ["the content whose answer is still there", "answered", "rowAsAnswered"],
    ["another content", "other", "rowDiffers"],
  ] as const)("gets the right event from %s", (_, hash, event) => {
    expect(compareRow(known("waiting", { answeredHash: "answered" }), hash)).toBe(event);
  });

  it.each([
    ["no row", null, null],
    ["the content that was asked", "now", null],
    ["another content", "other", "waiting"],
  ] as const)("whose answer was kept though its row was gone meets %s as it should", (_, hash, to) => {
    const kept = known("succeeded", { answeredHash: "now", rowGone: true });
    expect(moveRequest(kept, compareRow(kept, hash))).toBe(to);
    const refused = known("failed", { rowGone: true });
    expect(moveRequest(refused, compareRow(refused, hash))).toBe(to);
    const asked = known("waiting", { answeredHash: "now", rowGone: true });
    expect(moveRequest(asked, compareRow(asked, null))).toBe("gone");
  });

  it("that was reopened waits, though its row is as it was answered", () => {
    const reopened = known("waiting", { answeredHash: "now" });
    expect(moveRequest(reopened, compareRow(reopened, "now"))).toBeNull();
  });
});

describe("A batch", () => {
  it.each(batchCells)("that is %s and meets %s goes where the design says", (state, event) => {
    expect(BATCH_TRANSITIONS[state][event]).toBe(batches[state][event]);
  });

  it("has the states that the database allows", async () => {
    expect(await statesInSchema("batches")).toEqual([...BATCH_STATES]);
  });

  it("moves, or throws when asked for an impossible move", () => {
    for (const [state, event] of batchCells) {
      const to = batches[state][event];
      if (to === "impossible") expect(() => moveBatch(state, event)).toThrow(/cannot meet/);
      else expect(moveBatch(state, event)).toBe(to);
    }
  });

  it("can reach an end from every state that it can be in", () => {
    const ends: readonly BatchState[] = ["settled", "rejected", "cancelled"];
    for (const state of BATCH_STATES) {
      const reached = new Set<BatchMove>([state]);
      for (const from of reached) {
        if (from !== "impossible") for (const event of BATCH_EVENTS) reached.add(BATCH_TRANSITIONS[from][event]);
      }
      expect(ends.some((end) => reached.has(end))).toBe(true);
    }
  });
});

describe("Work on a batch", () => {
  const phases = ["unsent", "sent", "collecting"] as const;

  it.each(HOLD_REASONS.flatMap((reason) => phases.map((phase) => [reason, phase] as const)))(
    "waits or continues as the design says: %s, %s",
    (reason, phase) => {
      expect(isHeld(phase, [reason])).toBe(holds[reason][phase]);
      expect(HELD_PHASES[reason].includes(phase)).toBe(holds[reason][phase]);
    },
  );

  it("waits for any of several reasons, and for none where there is none", () => {
    expect(isHeld("unsent", ["budget", "person"])).toBe(true);
    expect(isHeld("collecting", ["budget", "person"])).toBe(false);
    expect(phases.some((phase) => isHeld(phase, []))).toBe(false);
  });

  it("counts as sent from the moment when a create may be on its way", () => {
    const phaseByState = BATCH_STATES.map((state) => [phaseOf(state, false), phaseOf(state, true)]);
    expect(Object.fromEntries(BATCH_STATES.map((state, index) => [state, phaseByState[index]]))).toMatchObject({
      planned: ["unsent", "unsent"],
      uploading: ["unsent", "unsent"],
      submitting: ["unsent", "sent"],
      running: ["sent", "sent"],
      collecting: ["collecting", "collecting"],
    });
  });
});

/** The states in the CHECK of a table's column `state`, in the migration's order. */
async function statesInSchema(table: "requests" | "batches"): Promise<string[]> {
  const sql = await readFile(join(repository, "migrations/0001_ledger.sql"), "utf8");
  const [start, pattern]: [string, RegExp] =
    table === "requests"
      ? ["create type rowmill.request_state", /as enum \(([^)]+)\)/]
      : [`create table rowmill.${table} (`, /check \(state in \(([^)]+)\)\)/];
  const list = pattern.exec(sql.slice(sql.indexOf(start)))?.[1] ?? "";
  return [...list.matchAll(/'(\w+)'/g)].map((match) => match[1] ?? "");
}

describe("A cell that is left out", () => {
  it("does not compile", () => {
    const { endedAnswered, ...tooFewEvents } = requests.gone;
    // @ts-expect-error: an event without a decision
    const row: Record<RequestEvent, RequestMove> = tooFewEvents;
    const { cancelled, ...tooFewStates } = batches;
    // @ts-expect-error: a state without decisions
    const table: Record<BatchState, Record<BatchEvent, BatchMove>> = tooFewStates;
    expect([endedAnswered, cancelled]).toEqual(["impossible", nothingMore]);
    expect([Object.keys(row).length, Object.keys(table).length]).toEqual([
      REQUEST_EVENTS.length - 1,
      BATCH_STATES.length - 1,
    ]);
  });
});
