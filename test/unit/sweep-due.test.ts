import { expect, it } from "vitest";
import { isSweepDue } from "../../src/worker/rounds/sweeper.js";

const idle = { wanted: false, mayRest: false, finishedAgoMs: 1_000, lastedMs: 100 };

it.each([
  ["no one wants it, and the last one was just now", {}, false],
  ["the last one is ten minutes old", { finishedAgoMs: 600_001 }, true],
  ["the last one took a minute, and is ten minutes old", { finishedAgoMs: 600_001, lastedMs: 60_000 }, false],
  ["it is wanted", { wanted: true }, true],
  ["it is wanted, and none was finished", { wanted: true, finishedAgoMs: null, lastedMs: null }, true],
  ["none was finished", { finishedAgoMs: null, lastedMs: null }, false],
  [
    "it is wanted for a count, and the last one took a tenth of a second",
    { wanted: true, mayRest: true, finishedAgoMs: 2_001 },
    true,
  ],
  ["it is wanted for a count, within its rest", { wanted: true, mayRest: true, finishedAgoMs: 1_999 }, false],
  ["it is wanted for a count, and none was finished", { wanted: true, mayRest: true, finishedAgoMs: null }, true],
])("whether a sweep is due is decided when %s", (_, facts, due) => {
  expect(isSweepDue({ ...idle, ...facts })).toBe(due);
});
