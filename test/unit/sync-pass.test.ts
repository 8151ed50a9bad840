import { describe, expect, it } from "vitest";
import { goneWith, needsPerson, nextPass, type ByHour, type PassFacts } from "../../src/model/sync-pass.js";

const DAY = 86_400_000;
const facts: PassFacts = {
  phase: "idle",
  isFull: true,
  isFailing: false,
  hasMark: true,
  fullMs: 1_000,
  goneMs: 1_000,
  isSame: true,
  fullWanted: false,
};

describe("The next pass over a source elsewhere", () => {
  it.each<[string, Partial<PassFacts>, string]>([
    ["reads changes where there is a mark", {}, "changes"],
    ["reads all rows where there is no mark", { hasMark: false }, "full"],
    ["reads all rows where it never did", { fullMs: null }, "full"],
    ["reads all rows where a day has passed", { fullMs: DAY }, "full"],
    ["reads all rows where a person asks for it", { fullWanted: true }, "full"],
    ["goes on with the one under way", { phase: "reading", fullMs: DAY }, "goOn"],
    ["goes on with one over all rows where a person asks for one", { phase: "reading", fullWanted: true }, "goOn"],
    ["gives up one that fails", { phase: "reading", fullWanted: true, isFailing: true }, "full"],
    ["gives up one over changes", { phase: "reading", fullWanted: true, isFull: false }, "full"],
    ["deletes first", { phase: "deleting", fullWanted: true, isFailing: true }, "goOn"],
    ["reads all rows again before it deletes what was found gone long ago", { phase: "deleting", goneMs: DAY }, "full"],
    ["gives up one over changes for one over all rows", { phase: "reading", isFull: false, fullMs: DAY }, "full"],
    ["begins with all rows where something else is read", { phase: "reading", isSame: false }, "full"],
    ["deletes nothing of what was read before", { phase: "deleting", isSame: false }, "full"],
  ])("%s", (_name, given, next) => {
    expect(nextPass({ ...facts, ...given }, DAY)).toBe(next);
  });
});

describe("Rows that vanish", () => {
  /** Each pass finds so many gone, of so many rows at first. Whether the last one needs a person. */
  const passes = (rows: number, gone: readonly number[], hours = 1): boolean => {
    let [byHour, left, held]: [ByHour, number, boolean] = [{}, rows, false];
    for (const [pass, count] of gone.entries()) {
      byHour = goneWith(byHour, { hour: pass * hours, rows: count });
      held = needsPerson(byHour, left);
      left -= count;
    }
    return held;
  };

  it.each<[string, boolean, boolean]>([
    ["all of a hundred go", passes(100, [100]), false],
    ["a hundred and one of a thousand need a person", passes(1_000, [101]), true],
    ["a tenth of many go", passes(10_000, [1_000]), false],
    ["more than a tenth in small passes need one", passes(2_000, Array<number>(21).fill(10)), true],
    ["as many in more than a day go", passes(2_000, Array<number>(21).fill(10), 2), false],
    ["as many in one hour need one", passes(2_000, Array<number>(21).fill(10), 0), true],
  ])("%s", (_name, held, expected) => {
    expect(held).toBe(expected);
  });
});
