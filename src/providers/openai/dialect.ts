import { ratesOf, nearModel } from "../../model/pricing.js";
import { LINES, type Dialect } from "../../model/provider.js";
import { accountText } from "../../model/account.js";
import { CHAT_ENDPOINT, openaiEncoder } from "./encoder.js";
export const openaiDialect: Dialect = {
  name: "openai",
  endpoint: CHAT_ENDPOINT,
  limits: {
    requestsMin: 1,
    requestsMax: 50_000,
    bytesMax: 200_000_000,
    oneModel: true,
    windowHours: 24,
    resultsKeptHours: 720,
  },
  recovery: { find: "name", fence: "recorded", exclusive: false },
  frame: LINES,
  encoder: openaiEncoder,
  tokenizer: (model) =>
    Promise.resolve(() => {
      throw new Error(model);
    }),
  rates: ratesOf,
  nearModel,
  schemaProblems: () => [],
  parameterProblems: () => [],
  accountText,
  accountVariables: () => [],
};
