import { describe, expect, it } from "vitest";
import type { ProviderBatch } from "../../src/model/provider/provider.js";
import type { RowVersion } from "../../src/sources/source.js";
import type { LedgerRow } from "../../src/store/requests/requests.js";
import { possibleDuplicates } from "../../src/worker/rounds/duplicates.js";
import { decideLook, type LookDecision, type LookFacts } from "../../src/worker/rounds/look.js";

function known(key: string, facts: Partial<LedgerRow> = {}): LedgerRow {
  return {
    id: `id of ${key}`,
    key,
    state: "succeeded",
    goneFrom: null,
    contentHash: "old",
    answeredHash: "old",
    answeredFingerprint: "asked",
    rowGone: false,
    ...facts,
  };
}

function version(key: string, hash = "old", existedBefore = false): RowVersion {
  return { key, hash, existedBefore };
}

const nothing: LookDecision = { renamed: [], moves: [], restored: [], unknown: [], added: [] };

describe("A look at some rows", () => {
  const answered = known("a");
  const waitsForNew = known("a", { state: "waiting", contentHash: "new" });
  const inFlight = known("a", { state: "batched" });
  const gone = known("a", { state: "gone", goneFrom: "succeeded" });
  const restored = {
    id: "id of a",
    from: "gone",
    to: "succeeded",
    hash: "old",
    fresh: false,
    forget: false,
  } as const;

  it.each<[string, Partial<LookFacts>, Partial<LookDecision>]>([
    ["changes nothing where rows are as known", { known: [answered], versions: [version("a")] }, {}],
    [
      "asks again what differs",
      { known: [answered], versions: [version("a", "new")] },
      {
        moves: [{ id: "id of a", from: "succeeded", to: "waiting", hash: "new", fresh: true, forget: false }],
      },
    ],
    [
      "lets go of a row that is gone",
      { known: [answered] },
      { moves: [{ id: "id of a", from: "succeeded", to: "gone", hash: null, fresh: false, forget: false }] },
    ],
    ["takes a row that was not read for neither gone nor changed", { known: [answered], left: ["a"] }, {}],
    ["never touches a request in flight", { known: [inFlight], versions: [version("a", "new")] }, {}],
    [
      "may restore the answer of a row that comes back",
      { known: [gone], versions: [version("a")] },
      { restored: [{ move: restored, request: gone }] },
    ],
    [
      "may restore the answer of a row that changes back",
      { known: [waitsForNew], versions: [version("a")] },
      { restored: [{ move: { ...restored, from: "waiting" }, request: waitsForNew }] },
    ],
    [
      "adds new rows, and marks those that are not asked about",
      { keys: ["a", "b", "c"], versions: [version("a"), version("b", "old", true)] },
      {
        unknown: ["a", "b", "c"],
        added: [
          { key: "a", hash: "old", state: "waiting" },
          { key: "b", hash: "old", state: "cancelled" },
        ],
      },
    ],
    ["adds no row that was not read", { keys: ["a", "b"], left: ["a", "b"] }, {}],
    [
      "lets a request in flight follow its row to another key, once",
      { keys: ["a", "b", "c"], known: [inFlight], versions: [version("b"), version("c")] },
      {
        renamed: [{ id: "id of a", key: "b" }],
        unknown: ["c"],
        added: [{ key: "c", hash: "old", state: "waiting" }],
      },
    ],
    [
      "lets it follow to no row of another content",
      { keys: ["a", "b"], known: [inFlight], versions: [version("b", "new")] },
      { unknown: ["b"], added: [{ key: "b", hash: "new", state: "waiting" }] },
    ],
    [
      "lets it follow to no row that has a request",
      { keys: ["a", "b"], known: [inFlight, known("b")], versions: [version("b")] },
      {},
    ],
    [
      "lets no request follow while its own row is there",
      { keys: ["a", "b"], known: [inFlight], versions: [version("a"), version("b")] },
      { unknown: ["b"], added: [{ key: "b", hash: "old", state: "waiting" }] },
    ],
  ])("%s", (_, facts, decision) => {
    expect(decideLook({ keys: ["a"], known: [], versions: [], left: [], ...facts })).toEqual({
      ...nothing,
      ...decision,
    });
  });
});

describe("A batch of the provider's list may be a duplicate by circumstance", () => {
  const create = {
    batchId: "ours",
    lines: 3,
    since: 100,
    until: 200,
    reservedNanoUsd: 1,
    refuted: ["refuted"],
  };
  const listed: ProviderBatch = {
    id: "listed",
    status: "in_progress",
    statusText: "running",
    terminal: false,
    createdAt: 150,
    counts: { total: 3, completed: 0, failed: 0 },
    errors: [],
    refs: null,
    mark: null,
  };

  it.each<[boolean, string, Partial<ProviderBatch>]>([
    [true, "of the same time and number of requests", {}],
    [true, "without a time", { createdAt: null }],
    [true, "at the bounds of the time", { createdAt: 200 }],
    [false, "of another number of requests", { counts: { total: 4, completed: 0, failed: 0 } }],
    [false, "of an unknown number of requests", { counts: null }],
    [false, "of before", { createdAt: 99 }],
    [false, "of after", { createdAt: 201 }],
    [false, "that failed", { status: "failed" }],
    [false, "that the ledger knows", { id: "known" }],
    [false, "that proved to be another one", { id: "refuted" }],
  ])("%s: one %s", (expected, _, facts) => {
    const batch = { ...listed, ...facts };
    const found = possibleDuplicates([batch], [create], new Set(["known"]));
    expect(found).toEqual(expected ? [{ batch, create }] : []);
  });
});
