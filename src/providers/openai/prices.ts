/** Knows what OpenAI's models cost: its price list, and half of it by batch, for every kind of token. Pure. */
import { listPrice, nearListed, type Rates } from "../../model/pricing.js";

/** Its name in the price table. */
const LIST = "openai";
const BATCH_FACTOR = 0.5;

export function rates(model: string, at: Date): Rates {
  return { price: listPrice(LIST, model, at), batchFactor: BATCH_FACTOR };
}

export function nearModel(model: string, at: Date): string | null {
  return nearListed(LIST, model, at);
}
