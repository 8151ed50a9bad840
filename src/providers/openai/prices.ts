/** Knows what OpenAI's models cost: its price list, and half of it by batch, for every kind of token. Pure. */
import { listPrice, nearListed, type Price, type Rates } from "../../model/provider/pricing.js";

/** Its name in the price table. */
const LIST = "openai";
const BATCH_FACTOR = 0.5;

export function rates(model: string, at: Date): Rates {
  let price: Price | null | undefined;
  return {
    // Read when it is wanted: the table is large.
    get price() {
      if (price === undefined) price = listPrice(LIST, model, at);
      return price;
    },
    batchFactor: BATCH_FACTOR,
  };
}

export function nearModel(model: string, at: Date): string | null {
  return nearListed(LIST, model, at);
}
