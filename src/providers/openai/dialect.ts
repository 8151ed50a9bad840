/** What OpenAI's Batch API accepts and costs. Pure; needs no key. */
import { LINES, type Dialect } from "../../model/provider/provider.js";
import { accountText, accountVariables } from "./account.js";
import { CHAT_ENDPOINT, openaiEncoder } from "./encoder.js";
import { parameterProblems } from "./parameters.js";
import { schemaProblems } from "./schema.js";
import { tokenizer } from "./tokenizer.js";
import { listPrice, nearListed, type Price, type Rates } from "../../model/provider/pricing.js";

const HOURS_PER_DAY = 24;
/** Its name in the price table. */
const LIST = "openai";
const BATCH_FACTOR = 0.5;

export const openaiDialect: Dialect = {
  name: "openai",
  title: "OpenAI",
  exampleModel: "gpt-4o-mini",
  suggestedModels: ["gpt-5-nano", "gpt-4.1-nano", "gpt-4o-mini", "gpt-5-mini", "gpt-4.1-mini", "gpt-5", "gpt-4.1"],
  endpoint: CHAT_ENDPOINT,
  limits: {
    requestsMin: 1,
    requestsMax: 50_000,
    // The Batch guide says 200 MB, a live refusal said 209,715,200 bytes: the smaller one.
    bytesMax: 200_000_000,
    oneModel: true,
    windowHours: HOURS_PER_DAY,
    resultsKeptHours: 30 * HOURS_PER_DAY,
  },
  recovery: { find: "name", fence: "recorded", exclusive: false },
  frame: LINES,
  encoder: openaiEncoder,
  tokenizer,
  rates,
  nearModel: (model, at) => nearListed(LIST, model, at),
  schemaProblems,
  // "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
  freeJsonWord: "JSON",
  parameterProblems,
  accountText,
  accountVariables,
};

function rates(model: string, at: Date): Rates {
  let price: Price | null | undefined;
  return {
    // Read on demand: the table is large.
    get price() {
      if (price === undefined) price = listPrice(LIST, model, at);
      return price;
    },
    batchFactor: BATCH_FACTOR,
  };
}
