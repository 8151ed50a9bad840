import { describe, expect, test } from "vitest";
import { CallerRates } from "../../src/http/caller-rates.js";

const many = (rates: CallerRates, caller: string, count: number, nowMs = 0) =>
  Array.from({ length: count }, () => rates.take(caller, nowMs));

describe("a caller", () => {
  test("may call as often as the rate allows in a minute, then hears when the next call may come", () => {
    const rates = new CallerRates({ callsPerMinute: 60 });
    expect(many(rates, "a", 60)).toEqual(Array(60).fill(null));
    expect(rates.take("a", 0)).toBe(1_000);
    expect(rates.take("a", 400)).toBe(600);
    expect(rates.take("a", 1_000)).toBeNull();
    expect(rates.take("a", 1_000)).toBe(1_000);
  });

  test("does not use up the allowance of another", () => {
    const rates = new CallerRates({ callsPerMinute: 1 });
    expect([rates.take("a", 0), rates.take("a", 0), rates.take("b", 0)]).toEqual([null, 60_000, null]);
  });

  test("has its whole allowance again after a minute, and never more", () => {
    const rates = new CallerRates({ callsPerMinute: 2 });
    many(rates, "a", 2);
    expect(many(rates, "a", 3, 3_600_000)).toEqual([null, null, 30_000]);
  });

  test("gains nothing and loses nothing by a clock that is set back", () => {
    const rates = new CallerRates({ callsPerMinute: 1 });
    expect(rates.take("a", 100_000)).toBeNull();
    expect(rates.take("a", 0)).toBe(60_000);
    expect(rates.take("a", 60_000)).toBeNull();
  });
});

describe("callers beyond the remembered ones", () => {
  test("share one allowance, so that inventing callers takes no memory and gains no calls", () => {
    const rates = new CallerRates({ callsPerMinute: 1, callersMax: 2 });
    const answers = ["a", "b", "c", "d", "e"].map((caller) => rates.take(caller, 0));
    expect(answers).toEqual([null, null, null, 60_000, 60_000]);
    expect(rates.callers).toBe(2);
  });

  test("are remembered in place of those whose allowance is whole again", () => {
    const rates = new CallerRates({ callsPerMinute: 1, callersMax: 2 });
    rates.take("a", 0);
    rates.take("b", 30_000);
    expect([rates.take("c", 60_000), rates.take("b", 60_000), rates.callers]).toEqual([null, 30_000, 2]);
  });
});
