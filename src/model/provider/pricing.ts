/**
 * Owns what tokens cost, from the dated table in the package `@pydantic/genai-prices`, loaded at the first use (33 ms).
 * Pure: the date is an input. An unknown model has no price: null, never zero.
 *
 * All sums are integers: prices in pico-dollars per token, costs in nano-dollars (1e-9 USD), rounded up once per sum.
 */
import type { ModelPrice } from "@pydantic/genai-prices";
import { commonjs } from "../commonjs.js";
import { nearMatch } from "../words/near-match.js";
import type { TokenUsage } from "./outcome.js";
import type { PipelineConfig } from "../pipeline.js";

export interface Price {
  /** The model's name in the table; for a dated model, its family's. */
  readonly model: string;
  /** Ascending from 0. The last step that a request's input tokens reach prices all its tokens. */
  readonly steps: readonly PriceStep[];
}

export interface PriceStep {
  readonly fromInputTokens: number;
  /** Live prices in pico-dollars (1e-12 USD) per token. */
  readonly inputPicoUsd: number;
  readonly cachedInputPicoUsd: number;
  readonly outputPicoUsd: number;
}

/** What a batch is billed by, fixed when it is planned: config and price list may change while it runs. */
export interface Rates {
  /** Null: unknown. */
  readonly price: Price | null;
  /** A batch's part of the live price. */
  readonly batchFactor: number;
}

const FACTOR_PARTS = 1_000_000;
const PICO_PER_TOKEN_OF_USD_PER_MILLION = 1_000_000;
const PICO_PER_NANO = 1_000n;
const NANO_PER_USD = 1e9;
/** Smaller sums are shown with two significant digits, not two decimals. */
const CENTS_SHOWN_FROM_USD = 0.1;

/** The live price of a model at a date, or null if the table has none. `list`: the provider's name in the table. */
export function listPrice(list: string, model: string, at: Date): Price | null {
  const { calcPrice } = commonjs("@pydantic/genai-prices") as typeof import("@pydantic/genai-prices");
  const found = calcPrice({ input_tokens: 0, output_tokens: 0 }, model, { providerId: list, timestamp: at });
  if (found === null || found.model_price["input_mtok"] === undefined) return null;
  const price = found.model_price;
  const starts = ["input_mtok", "cache_read_mtok", "output_mtok"].flatMap((key) => startsOf(price[key]));
  const steps = [...new Set([0, ...starts])].sort((a, b) => a - b).map((from) => stepAt(price, from));
  return { model: found.model.id, steps };
}

/** The listed model that an unknown name probably means. Another number is another model: new ones appear. */
export function nearListed(list: string, model: string, at: Date): string | null {
  if (listPrice(list, model, at) !== null) return null;
  // A zero is often a misread `o`.
  const digits = (name: string) => name.replaceAll(/[^1-9]/g, "");
  const { findProvider } = commonjs("@pydantic/genai-prices") as typeof import("@pydantic/genai-prices");
  const names = findProvider({ providerId: list })?.models.map(({ id }) => id) ?? [];
  return nearMatch(
    model,
    names.filter((name) => digits(name) === digits(model) && !name.includes(":")),
  );
}

/** From the config's price, else from the provider's list at a date. */
export function ratesFor(
  dialect: { rates(model: string, at: Date): Rates },
  { model, price }: Pick<PipelineConfig["request"], "model" | "price">,
  at: Date,
): Rates {
  const known = dialect.rates(model, at);
  if (price === null) return known;
  const pico = (usdPerMillion: number) => Math.round(usdPerMillion * PICO_PER_TOKEN_OF_USD_PER_MILLION);
  const step = {
    fromInputTokens: 0,
    inputPicoUsd: pico(price.input),
    cachedInputPicoUsd: pico(price.cachedInput),
    outputPicoUsd: pico(price.output),
  };
  return { price: { model, steps: [step] }, batchFactor: known.batchFactor };
}

/**
 * The cost of a request's tokens in whole nano-dollars, rounded up; null without a price. If the price has one step,
 * the tokens of many requests may be summed first.
 */
export function costNanoUsd(usage: TokenUsage, rates: Rates, tier: "batch" | "live"): number | null {
  const step = rates.price?.steps.findLast((candidate) => candidate.fromInputTokens <= usage.inputTokens);
  if (step === undefined) return null;
  const cached = Math.min(usage.cachedInputTokens, usage.inputTokens);
  const pico =
    BigInt(usage.inputTokens - cached) * BigInt(step.inputPicoUsd) +
    BigInt(cached) * BigInt(step.cachedInputPicoUsd) +
    BigInt(usage.outputTokens) * BigInt(step.outputPicoUsd);
  const parts = BigInt(Math.round((tier === "batch" ? rates.batchFactor : 1) * FACTOR_PARTS));
  const divisor = PICO_PER_NANO * BigInt(FACTOR_PARTS);
  return Number((pico * parts + divisor - 1n) / divisor);
}

/** `$1,234.50`, `$0.46`, and below ten cents two significant digits: `$0.0042`. */
/** `$5 per day`, `$5 in total`. */
export function budgetWords({ usd, per }: NonNullable<PipelineConfig["budget"]>): string {
  return `$${usd} ${per === "total" ? "in total" : `per ${per}`}`;
}

export function formatUsd(nanoUsd: number): string {
  const usd = Math.abs(nanoUsd) / NANO_PER_USD;
  const sign = nanoUsd < 0 ? "-" : "";
  if (usd === 0 || usd >= CENTS_SHOWN_FROM_USD) {
    const [whole = "0", cents = "00"] = usd.toFixed(2).split(".");
    return `${sign}$${whole.replace(/\B(?=(\d{3})+$)/g, ",")}.${cents}`;
  }
  const digits = Number(usd.toPrecision(2)).toFixed(9).replace(/0+$/, "");
  return `${sign}$${digits.length < "0.00".length ? usd.toFixed(2) : digits}`;
}

/** `$0.000123`: to compare small sums with each other. */
export function dollars(nanoUsd: number): string {
  return `$${(nanoUsd / NANO_PER_USD).toFixed(6)}`;
}

function stepAt(price: ModelPrice, from: number): PriceStep {
  const input = picoAt(price["input_mtok"], from) ?? 0;
  return {
    fromInputTokens: from,
    inputPicoUsd: input,
    cachedInputPicoUsd: picoAt(price["cache_read_mtok"], from) ?? input,
    outputPicoUsd: picoAt(price["output_mtok"], from) ?? 0,
  };
}

/** The table's tiers begin *after* their `start`: 271,999 means 272,000 tokens and more. */
function startsOf(rate: ModelPrice[string]): readonly number[] {
  return typeof rate === "object" ? rate.tiers.map((tier) => tier.start + 1) : [];
}

function picoAt(rate: ModelPrice[string], from: number): number | null {
  if (rate === undefined) return null;
  const reached = typeof rate === "object" ? rate.tiers.filter((tier) => tier.start < from) : [];
  const base = typeof rate === "object" ? rate.base : rate;
  const last = reached.sort((a, b) => a.start - b.start).at(-1);
  return Math.round((last?.price ?? base) * PICO_PER_TOKEN_OF_USD_PER_MILLION);
}
