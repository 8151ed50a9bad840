import { describe, expect, test } from "vitest";
import { costNanoUsd, formatUsd, ratesFor } from "../../src/model/provider/pricing.js";
import { openaiDialect } from "../../src/providers/openai/dialect.js";

const november2026 = new Date("2026-11-22T00:00:00Z");
const usage = (inputTokens: number, outputTokens = 0, cachedInputTokens = 0) => ({
  inputTokens,
  outputTokens,
  cachedInputTokens,
});
const NANO = 1e9;
const { nearModel, rates: ratesOf } = openaiDialect;

describe("the cost of a million tokens, in dollars", () => {
  test.each([
    ["gpt-4o-mini", 0.15, 0.6, 0.075, 0.3],
    ["gpt-4.1-mini", 0.4, 1.6, 0.2, 0.8],
    ["gpt-4.1-nano", 0.1, 0.4, 0.05, 0.2],
    ["gpt-5-mini", 0.25, 2, 0.125, 1],
    ["gpt-5-nano", 0.05, 0.4, 0.025, 0.2],
    ["text-embedding-3-small", 0.02, 0, 0.01, 0],
  ])("%s: live %d in, %d out; batch %d in, %d out", (model, liveIn, liveOut, batchIn, batchOut) => {
    const rates = ratesOf(model, november2026);
    const million = 1_000_000;
    expect(costNanoUsd(usage(million), rates, "live")).toBe(Math.round(liveIn * NANO));
    expect(costNanoUsd(usage(0, million), rates, "live")).toBe(Math.round(liveOut * NANO));
    expect(costNanoUsd(usage(million), rates, "batch")).toBe(Math.round(batchIn * NANO));
    expect(costNanoUsd(usage(0, million), rates, "batch")).toBe(Math.round(batchOut * NANO));
  });
});

describe("the cost of a request", () => {
  const rates = ratesOf("gpt-4o-mini", november2026);

  test("is a whole number of nano-dollars", () => {
    expect(costNanoUsd(usage(3, 7), rates, "live")).toBe(3 * 150 + 7 * 600);
    expect(costNanoUsd(usage(3, 7), rates, "batch")).toBe(3 * 75 + 7 * 300);
  });

  test("takes cached input at its own price, and rounds half a nano-dollar up", () => {
    expect(costNanoUsd(usage(3, 0, 1), rates, "batch")).toBe(Math.ceil(2 * 75 + 37.5));
  });

  test("never takes more cached input than input", () => {
    expect(costNanoUsd(usage(2, 0, 9), rates, "live")).toBe(2 * 75);
  });

  test("adds up without dust: ten million requests are ten million times one", () => {
    const one = costNanoUsd(usage(101, 33), rates, "batch") ?? 0;
    expect(costNanoUsd(usage(101 * 1e7, 33 * 1e7), rates, "batch")).toBe(one * 1e7);
  });

  test("follows the batch's own share of the live price, rounded up", () => {
    const third = { ...rates, batchFactor: 0.3 };
    expect(costNanoUsd(usage(3, 7), third, "batch")).toBe(Math.ceil((3 * 150 + 7 * 600) * 0.3));
    expect(costNanoUsd(usage(3, 7), third, "live")).toBe(3 * 150 + 7 * 600);
  });

  test("is not known for a model that has no price", () => {
    expect(ratesOf("my-own-model", november2026).price).toBeNull();
    expect(costNanoUsd(usage(5), ratesOf("my-own-model", november2026), "batch")).toBeNull();
  });

  test("is that of the config, before any known one: dollars per million tokens, half of it by batch", () => {
    const price = { input: 0.2, cachedInput: 0.1, output: 1.5 };
    for (const model of ["my-own-model", "gpt-4o-mini"]) {
      const own = ratesFor(openaiDialect, { model, price }, november2026);
      expect(own.price?.model).toBe(model);
      expect(costNanoUsd(usage(1_000_000, 0), own, "live")).toBe(0.2e9);
      expect(costNanoUsd(usage(0, 1_000_000), own, "batch")).toBe(0.75e9);
      expect(costNanoUsd(usage(1_000_000, 0, 1_000_000), own, "live")).toBe(0.1e9);
    }
    const free = ratesFor(
      openaiDialect,
      { model: "mine", price: { input: 0, cachedInput: 0, output: 0 } },
      november2026,
    );
    expect(costNanoUsd(usage(9, 9), free, "batch")).toBe(0);
    expect(ratesFor(openaiDialect, { model: "gpt-4o-mini", price: null }, november2026)).toEqual(rates);
  });

  test("is that of the model's family for a dated name", () => {
    expect(ratesOf("gpt-4o-mini-2024-07-18", november2026).price).toEqual(rates.price);
  });

  test("is higher for all tokens of a request with a long context", () => {
    const long = ratesOf("gpt-5.4", november2026);
    expect(long.price?.steps.map(({ fromInputTokens }) => fromInputTokens)).toEqual([0, 272_000]);
    expect(costNanoUsd(usage(271_999), long, "live")).toBe(271_999 * 2_500);
    expect(costNanoUsd(usage(272_000, 1), long, "live")).toBe(272_000 * 5_000 + 22_500);
  });
});

test.each([
  [0, "$0.00"],
  [1, "$0.000000001"],
  [4_200_000, "$0.0042"],
  [12_345_678, "$0.012"],
  [99_999_999, "$0.10"],
  [460_000_000, "$0.46"],
  [1_005_000_000, "$1.00"],
  [1_234_500_000_000, "$1,234.50"],
  [1_234_567_890_000_000, "$1,234,567.89"],
  [-460_000_000, "-$0.46"],
])("%d nano-dollars are shown as %s", (nano, text) => {
  expect(formatUsd(nano)).toBe(text);
});

describe("The name of a model that is not known", () => {
  test.each([
    ["gpt4o-mini", "gpt-4o-mini"],
    ["gpt-4o-mimi", "gpt-4o-mini"],
    ["GPT-4o_mini", "gpt-4o-mini"],
    ["gpt-40-mini", "gpt-4o-mini"],
    ["gpt-5-mni", "gpt-5-mini"],
    ["gpt-4.1-nanno", "gpt-4.1-nano"],
    ["o4-mnii", "o4-mini"],
  ])("%s probably means %s", (word, meant) => {
    expect(nearModel(word, november2026)).toBe(meant);
  });

  test.each([
    "gpt-4o-mini",
    "gpt-4o-mini-2024-07-18",
    "gpt-9",
    "gpt-5.9-mini",
    "my-own-model",
    "llama-3.1-8b",
    "o9-mini",
    "",
  ])("%s means no other: it is known, or may be new", (word) => {
    expect(nearModel(word, november2026)).toBe(null);
  });
});
