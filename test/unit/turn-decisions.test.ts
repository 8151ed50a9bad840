import { describe, expect, it } from "vitest";
import { BATCH_STATES, type BatchState } from "../../src/model/batch/batch-transitions.js";
import { decideTurn, HOLD_REASONS, type TurnFacts, type TurnWork } from "../../src/model/batch/holding.js";
import {
  judgeRefusal,
  sizeLesson,
  tokenLimit,
  type BatchInputError,
  type RefusalAbout,
} from "../../src/model/batch/refusal.js";
import { refusalText } from "../../src/worker/turn/refusal.js";

const free: TurnFacts = {
  state: "planned",
  isCreateOpen: false,
  isRefused: false,
  isShared: false,
  isOutdated: false,
  isOtherAccount: false,
  isPresumed: false,
  isCancelWanted: false,
  isDropWanted: false,
  isCancelAsked: false,
  holds: [],
};

/** By state: with nothing in the way, and under each fact alone. */
const works: Record<BatchState, Record<"free" | keyof Omit<TurnFacts, "state" | "holds">, TurnWork>> = {
  planned: {
    free: "render",
    isCreateOpen: "render",
    isRefused: "render",
    isShared: "render",
    isOutdated: "render",
    isOtherAccount: "withdrawOtherAccount",
    isPresumed: "render",
    isCancelWanted: "withdrawCancelled",
    isDropWanted: "render",
    isCancelAsked: "render",
  },
  uploading: {
    free: "upload",
    isCreateOpen: "upload",
    isRefused: "refuse",
    isShared: "withdrawShared",
    isOutdated: "withdrawOutdated",
    isOtherAccount: "withdrawOtherAccount",
    isPresumed: "upload",
    isCancelWanted: "withdrawCancelled",
    isDropWanted: "upload",
    isCancelAsked: "upload",
  },
  submitting: {
    free: "create",
    isCreateOpen: "reconcile",
    isRefused: "refuse",
    isShared: "withdrawShared",
    isOutdated: "withdrawOutdated",
    isOtherAccount: "withdrawOtherAccount",
    isPresumed: "create",
    isCancelWanted: "withdrawCancelled",
    isDropWanted: "create",
    isCancelAsked: "create",
  },
  running: {
    free: "poll",
    isCreateOpen: "poll",
    isRefused: "poll",
    isShared: "poll",
    isOutdated: "poll",
    isOtherAccount: "waitForAccount",
    isPresumed: "poll",
    isCancelWanted: "cancelAtProvider",
    isDropWanted: "poll",
    isCancelAsked: "poll",
  },
  collecting: {
    free: "collect",
    isCreateOpen: "collect",
    isRefused: "collect",
    isShared: "collect",
    isOutdated: "collect",
    isOtherAccount: "waitForAccount",
    isPresumed: "collect",
    isCancelWanted: "collect",
    isDropWanted: "collect",
    isCancelAsked: "collect",
  },
  settled: ended(),
  rejected: ended(),
  cancelled: ended(),
};

function ended() {
  return {
    free: "done",
    isCreateOpen: "done",
    isRefused: "done",
    isShared: "done",
    isOutdated: "done",
    isOtherAccount: "done",
    isPresumed: "done",
    isCancelWanted: "done",
    isDropWanted: "done",
    isCancelAsked: "done",
  } as const;
}

describe("A turn with a batch", () => {
  const cells = Object.entries(works).flatMap(([state, row]) =>
    Object.entries(row).map(([fact, work]) => [state as BatchState, fact, work] as const),
  );
  it.each(cells)("that is %s, %s: %s", (state, fact, work) => {
    const facts = { ...free, state, ...(fact === "free" ? {} : { [fact]: true }) };
    expect(decideTurn(facts).work).toBe(work);
  });

  it.each<[string, Partial<TurnFacts>, TurnWork]>([
    [
      "looks for a create that is open although the definition changed",
      { isCreateOpen: true, isOutdated: true },
      "reconcile",
    ],
    [
      "looks for a create that is open although the batch is shared",
      { isCreateOpen: true, isShared: true },
      "reconcile",
    ],
    ["waits for the account of a create that is open", { isCreateOpen: true, isOtherAccount: true }, "waitForAccount"],
    ["ends a refused file of another account without asking it", { isRefused: true, isOtherAccount: true }, "refuse"],
    ["ends a refused file of a changed definition as refused", { isRefused: true, isOutdated: true }, "refuse"],
    ["takes a shared batch back before its refusal counts", { isRefused: true, isShared: true }, "withdrawShared"],
    ["waits under a pause, even with a refused file", { isRefused: true, holds: ["person"] }, "wait"],
    ["waits under a pause, even for another account", { isOtherAccount: true, holds: ["person"] }, "wait"],
    [
      "takes an outdated batch back while it uploads, even with an open create, which no batch has in that state",
      { state: "uploading", isCreateOpen: true, isOutdated: true },
      "withdrawOutdated",
    ],
    ["continues under a budget's pause", { holds: ["budget"] }, "create"],
  ])("%s", (_, facts, work) => {
    expect(decideTurn({ ...free, state: "submitting", ...facts }).work).toBe(work);
  });

  it.each<[string, Partial<TurnFacts>, TurnWork]>([
    ["drops what is queued for a batch that was not rendered", { state: "planned", isDropWanted: true }, "dropQueued"],
    ["looks for a create that is open before it cancels it", { isCreateOpen: true }, "reconcile"],
    ["ends a refused file for its own reasons", { isRefused: true }, "refuse"],
    ["withdraws a batch that was planned for another account", { isOtherAccount: true }, "withdrawCancelled"],
    ["waits for the account of a batch that runs", { state: "running", isOtherAccount: true }, "waitForAccount"],
    ["asks the provider once", { state: "running", isCancelAsked: true }, "poll"],
    ["never asks for a batch that is presumed", { state: "running", isPresumed: true }, "poll"],
    ["never asks for a batch that is shared", { state: "running", isShared: true }, "poll"],
  ])("that you cancelled %s", (_, facts, work) => {
    expect(decideTurn({ ...free, state: "submitting", isCancelWanted: true, ...facts }).work).toBe(work);
  });

  it("cancels under every pause under which that does no harm", () => {
    const wanted = { ...free, isCancelWanted: true };
    const heldFor = (facts: Partial<TurnFacts>) =>
      HOLD_REASONS.filter((reason) => decideTurn({ ...wanted, ...facts, holds: [reason] }).work === "wait");
    expect(heldFor({ state: "planned" })).toEqual(["deployment"]);
    expect(heldFor({ state: "uploading" })).toEqual(["deployment"]);
    expect(heldFor({ state: "planned", isDropWanted: true })).toEqual(["source", "deployment", "superseded"]);
    expect(heldFor({ state: "running" })).toEqual(["account", "deployment"]);
    expect(decideTurn({ ...wanted, state: "running" }).comparesFirst).toBe(true);
  });

  it("waits under every reason that holds its phase, and under no other", () => {
    const held = HOLD_REASONS.filter(
      (reason) => decideTurn({ ...free, state: "running", holds: [reason] }).work === "wait",
    );
    expect(held).toEqual(["account", "provider", "source", "target", "deployment"]);
  });

  it("compares the list first wherever it may send or delete with its own account", () => {
    const compares = BATCH_STATES.filter((state) => decideTurn({ ...free, state }).comparesFirst);
    expect(compares).toEqual(["uploading", "submitting"]);
    const refused = { ...free, state: "uploading", isRefused: true } as const;
    expect(decideTurn({ ...refused, isOtherAccount: true }).comparesFirst).toBe(false);
    expect(decideTurn({ ...refused, holds: ["provider"] }).comparesFirst).toBe(false);
  });

  it.each<[boolean, Partial<TurnFacts>]>([
    [true, { state: "uploading" }],
    [true, { state: "submitting" }],
    [false, { state: "submitting", isCreateOpen: true }],
    [false, { state: "uploading", isRefused: true }],
    [false, { state: "planned" }],
    [false, { state: "running" }],
  ])("needs room in the account: %s, of %o", (needsRoom, facts) => {
    expect(decideTurn({ ...free, ...facts }).needsRoom).toBe(needsRoom);
  });
});

function said(about: RefusalAbout, line: number | null = null): BatchInputError {
  return { about, line, code: null, message: about, param: null, limit: null };
}

it.each([
  [
    { code: "invalid_value", message: "must be text", param: "body.messages" },
    "invalid_value: must be text (field: body.messages)",
  ],
  [{ code: null, message: "url must be a path", param: "url" }, "refused: url must be a path"],
  [{ code: "x", message: "no", param: null }, "x: no"],
])("A refusal of a line names the field that the provider names: %o", (error, text) => {
  expect(refusalText({ ...said("line", 1), ...error })).toBe(text);
});

describe("A refused file", () => {
  const file = { lines: 3, isOthers: false, isRecovered: false };
  const [tokens, size, definition, account] = [said("tokens"), said("size"), said("definition"), said("account")];

  it.each<[string, readonly BatchInputError[], Partial<typeof file>, ReturnType<typeof judgeRefusal>]>([
    ["of other code teaches nothing", [size], { isOthers: true }, { kind: "othersFile" }],
    ["over a token limit is about that first", [size, tokens], {}, { kind: "tokens", tokens }],
    [
      "is about all that every line shares",
      [account, said("line", 1), size, definition],
      {},
      { kind: "shared", size, definition, account },
    ],
    ["may be about one of these alone", [account], {}, { kind: "shared", size: null, definition: null, account }],
    [
      "fails the lines that are named, each by its last error",
      [said("line", 1), said("other", 3), said("line", 3)],
      {},
      {
        kind: "lines",
        lines: new Map([
          [1, said("line", 1)],
          [3, said("line", 3)],
        ]),
      },
    ],
    [
      "that names lines it does not have is unexplained",
      [said("line", 0), said("line", 4)],
      {},
      { kind: "unexplained" },
    ],
    ["whose lines are lost is unexplained", [said("line", 1)], { isRecovered: true }, { kind: "unexplained" }],
    ["without a reason is unexplained", [], {}, { kind: "unexplained" }],
  ])("%s", (_, errors, facts, verdict) => {
    expect(judgeRefusal(errors, { ...file, ...facts })).toEqual(verdict);
  });

  const full = { named: null as number | null, inFlight: 1_000, ofBatch: 1_000, ofRequest: 10 };
  it.each<[string, Partial<typeof full>, ReturnType<typeof tokenLimit>]>([
    ["teaches the limit that it names", { named: 800 }, { enqueuedTokens: 800, waits: false }],
    ["waits while other batches are queued", { named: 800, inFlight: 1_500 }, { enqueuedTokens: 800, waits: true }],
    ["halves under a limit that was not reached", { named: 2_000 }, { enqueuedTokens: 500, waits: true }],
    ["halves without a limit", {}, { enqueuedTokens: 500, waits: true }],
    ["never goes below one request", { ofBatch: 12 }, { enqueuedTokens: 10, waits: true }],
    ["goes below one request where the limit does", { named: 4, ofBatch: 6 }, { enqueuedTokens: 4, waits: true }],
    ["never goes below one token", { named: 0, ofBatch: 1, ofRequest: 0 }, { enqueuedTokens: 1, waits: true }],
  ])("for its tokens %s", (_, facts, limit) => {
    expect(tokenLimit({ ...full, ...facts })).toEqual(limit);
  });

  const large = { named: null as number | null, bytes: 1_600, lines: 10 };
  it.each<
    [string, Partial<typeof large>, { inputBytes: number | null; sizeGuesses: number }, ReturnType<typeof sizeLesson>]
  >([
    ["teaches the limit that it names", { named: 900 }, never(), { kind: "limit", inputBytes: 900 }],
    [
      "guesses a sixteenth under a limit that was not reached",
      { named: 2_000 },
      never(),
      { kind: "guess", inputBytes: 100, count: 1 },
    ],
    ["counts its guesses", {}, { inputBytes: 1_600, sizeGuesses: 1 }, { kind: "guess", inputBytes: 100, count: 2 }],
    ["gives up after as many", {}, { inputBytes: 1_600, sizeGuesses: 2 }, { kind: "hopeless" }],
    ["gives up at one request", { lines: 1 }, never(), { kind: "hopeless" }],
    ["teaches nothing over a known limit", {}, { inputBytes: 1_599, sizeGuesses: 2 }, { kind: "known" }],
    [
      "gives up at one request over a known limit",
      { lines: 1 },
      { inputBytes: 9, sizeGuesses: 0 },
      { kind: "hopeless" },
    ],
  ])("for its size %s", (_, facts, known, lesson) => {
    expect(sizeLesson({ ...large, ...facts, known })).toEqual(lesson);
  });
});

function never() {
  return { inputBytes: null, sizeGuesses: 0 };
}
