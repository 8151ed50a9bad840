import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { formatDuration, parseDuration } from "../../src/model/duration.js";

describe("parseDuration", () => {
  test.each([
    ["200ms", 200],
    ["15s", 15_000],
    ["10m", 600_000],
    ["24h", 86_400_000],
    ["7d", 604_800_000],
    ["0s", 0],
  ])("reads %s as %d ms", (text, ms) => {
    expect(parseDuration(text)).toBe(ms);
  });

  test.each([
    "",
    "10",
    "m",
    "1.5h",
    "-5s",
    "+5s",
    "010s",
    "1e3s",
    "10 m",
    " 10m",
    "10m\n",
    "10M",
    "2min",
    "1w",
    "10m5s",
    "٣s",
  ])("refuses %j", (text) => {
    expect(parseDuration(text)).toBeNull();
  });

  test("refuses what a number cannot hold exactly", () => {
    expect(parseDuration("104249991d")).toBe(104_249_991 * 86_400_000);
    expect(parseDuration("104249992d")).toBeNull();
    expect(parseDuration(`${"9".repeat(400)}ms`)).toBeNull();
  });
});

describe("formatDuration", () => {
  test.each([
    [0, "0s"],
    [200, "200ms"],
    [60_000, "1m"],
    [90_000, "90s"],
    [86_400_000, "1d"],
  ])("writes %d ms as %s", (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  test("writes what parseDuration reads back, for every whole number of milliseconds", () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (ms) => {
        expect(parseDuration(formatDuration(ms))).toBe(ms);
      }),
    );
  });

  test.each([-1, 0.5, Number.NaN, Infinity])("throws for %d", (ms) => {
    expect(() => formatDuration(ms)).toThrow(RangeError);
  });
});
