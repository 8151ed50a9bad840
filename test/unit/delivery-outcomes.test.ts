/** What becomes of a change, by what its target says of it. */
import { describe, expect, it } from "vitest";
import type { Written } from "../../src/model/connector.js";
import { downMs, foreignFences, outcomesOf, REFUSALS_MAX } from "../../src/model/delivery-outcomes.js";

const nothing: Written = { written: [], stale: [], changed: [], busy: [], failed: [] };
const told = { key: "1", fence: "7", failures: 2 };
const outcomeOf = (said: Partial<Written>, change = told) => outcomesOf([change], { ...nothing, ...said }, 0.5)[0];

describe("A change", () => {
  it.each([
    ["that was written is delivered", { written: ["1"] }, "delivered"],
    ["that the target has already is delivered", { stale: [{ key: "1", fence: "7" }] }, "delivered"],
    ["that is older than the target's is stale", { stale: [{ key: "1", fence: "8" }] }, "stale"],
    ["that is older than the target can say is stale", { stale: [{ key: "1", fence: null }] }, "stale"],
    ["whose row changed meanwhile is stale", { changed: ["1"] }, "stale"],
    ["whose row is locked waits", { busy: ["1"] }, "waiting"],
    ["that is refused waits", { failed: [{ key: "1", reason: "No." }] }, "waiting"],
    ["of which the target says nothing waits", { written: ["2"] }, "waiting"],
    ["that is written and refused waits", { written: ["1"], failed: [{ key: "1", reason: "No." }] }, "waiting"],
  ] as const)("%s", (_, said, state) => {
    expect(outcomeOf(said)?.state).toBe(state);
  });

  it.each([
    ["waits for a reading, as it may be again as it was", "asAsked", "waiting"],
    ["is dropped where the ledger knows that", "changed", "dropped"],
  ] as const)("that is written back into a row that changed %s", (_, row, state) => {
    const change = { ...told, failures: REFUSALS_MAX, row };
    expect(outcomeOf({ changed: ["1"] }, change)?.state).toBe(state);
  });

  it("counts a refusal, but not that its row is locked", () => {
    expect(outcomeOf({ failed: [{ key: "1", reason: "No." }] })).toMatchObject({ failures: 3, reason: "No." });
    expect(outcomeOf({ busy: ["1"] })).toMatchObject({ failures: 2, waitMs: 1_000 });
  });

  it("has failed after the last refusal, with its reason", () => {
    const last = { ...told, failures: REFUSALS_MAX - 1 };
    const failed = { state: "failed", failures: REFUSALS_MAX, reason: "No." };
    expect(outcomeOf({ failed: [{ key: "1", reason: "No." }] }, last)).toMatchObject(failed);
  });
});

describe("A target that is down", () => {
  it("is left alone for longer each time, for as long as it asks, and never for more than an hour", () => {
    expect(downMs(1, null, 1)).toBeLessThan(downMs(5, null, 1));
    expect(downMs(30, null, 1)).toBe(300_000);
    expect(downMs(1, 60_000, 1)).toBe(60_000);
    expect(downMs(1, 86_400_000, 1)).toBe(3_600_000);
  });
});

describe("A fence that this ledger never gave", () => {
  it.each([
    ["is greater than the newest of its key", "19", true],
    ["is not one that was given to a later answer", "18", false],
    ["is greater as a number, not as a text", "9", false],
    ["is none that the target cannot name", null, false],
    ["is a number", "newest", false],
  ])("%s", (_, fence, isForeign) => {
    const said = { ...nothing, stale: [{ key: "1", fence }] };
    expect(foreignFences(said, new Map([["1", "18"]]))).toEqual(isForeign ? [{ key: "1", fence }] : []);
  });
});
