/** What the vendor "plain" takes and costs: pure, and known without a key. */
import { createHash } from "node:crypto";
import { canonicalJson } from "../../src/model/json/canonical-json.js";
import { nearMatch } from "../../src/model/words/near-match.js";
import type { Json } from "../../src/model/pipeline.js";
import type { Price } from "../../src/model/provider/pricing.js";
import type {
  Attempt,
  Dialect,
  Encoder,
  Frame,
  ProviderLimits,
  RequestShape,
} from "../../src/model/provider/provider.js";
import { boundTokens } from "../../src/model/request/tokens.js";

const ENDPOINT = "/batches";
export const PLAIN_FRAME: Frame = { head: '{"requests":[', separator: ",\n", tail: "]}" };
export const PLAIN_LIMITS: ProviderLimits = {
  requestsMin: 1,
  requestsMax: 100_000,
  bytesMax: 256_000_000,
  oneModel: false,
  windowHours: 24,
  resultsKeptHours: 29 * 24,
};

const CHARACTERS_PER_TOKEN = 4;
/** For each of system, prompt and schema, whose tokens are rounded up. */
const PARTS = 4;
const FINGERPRINT_HEX = 32;
const PICO = 1_000_000;

/** Dollars per million tokens, made up. */
const PRICES: Readonly<Record<string, readonly [input: number, cached: number, output: number]>> = {
  "plain-large": [4, 1, 20],
  "plain-small": [0.4, 0.1, 2],
};

export const plainDialect: Omit<Dialect, "limits" | "recovery"> = {
  name: "plain",
  title: "Plain",
  exampleModel: "plain-small",
  endpoint: ENDPOINT,
  frame: PLAIN_FRAME,
  encoder,
  tokenizer: () => Promise.resolve((text) => Math.ceil(text.length / CHARACTERS_PER_TOKEN)),
  rates: (model) => ({ price: priceOf(model), batchFactor: 0.5 }),
  nearModel: (model) => (priceOf(model) === null ? nearMatch(model, Object.keys(PRICES)) : null),
  schemaProblems: () => [],
  freeJsonWord: null,
  parameterProblems: (_, parameters) =>
    Object.hasOwn(parameters, "n") ? [{ name: "n", problem: "plain gives one answer a request: leave `n` out" }] : [],
  accountText: (account) => `the workspace at ${account}`,
  accountVariables: () => [],
};

function priceOf(model: string): Price | null {
  const price = Object.hasOwn(PRICES, model) ? PRICES[model] : undefined;
  if (price === undefined) return null;
  const [input, cached, output] = price.map((usd) => Math.round(usd * PICO)) as [number, number, number];
  return {
    model,
    steps: [{ fromInputTokens: 0, inputPicoUsd: input, cachedInputPicoUsd: cached, outputPicoUsd: output }],
  };
}

function encoder(shape: RequestShape): Encoder {
  const schema = shape.schema === null || shape.schema.isFree === true ? null : shape.schema.schema;
  const parameters = Object.fromEntries(Object.entries(shape.parameters).sort(([a], [b]) => (a < b ? -1 : 1)));
  const shared: Record<string, Json> = schema === null ? parameters : { ...parameters, schema };
  // The same for every row, and longer than most of them.
  const asked = canonicalJson([ENDPOINT, { ...shared, model: shape.model }]);
  const schemaText = schema === null ? "" : JSON.stringify(schema);
  return (customId, { system, user }, attempt) => {
    const prompt = promptOf(user, attempt);
    const { model, maxOutputTokens } = attempt;
    const ask = {
      ...parameters,
      model,
      max_output: maxOutputTokens,
      system,
      prompt,
      ...(schema === null ? {} : { schema }),
    };
    return {
      line: JSON.stringify({ id: customId, ask }),
      fingerprint: fingerprintOf(asked, { system, user }),
      boundTokens: boundTokens([system ?? "", prompt, schemaText], shape.tokensPerByte) + PARTS,
    };
  };
}

function promptOf(user: string, { told }: Attempt): string {
  return told === null ? user : `${user}\n\n${told}`;
}

function fingerprintOf(asked: string, question: { system: string | null; user: string }): string {
  return createHash("sha256")
    .update(`[${asked},${canonicalJson(question)}]`)
    .digest("hex")
    .slice(0, FINGERPRINT_HEX);
}
