/** Of the suite: what an adapter says without a call. */
import { describe, expect, test } from "vitest";
import type { Attempt, Provider } from "../../src/model/provider/provider.js";
import { tokensPerByte } from "../../src/model/request/tokens.js";
import { answer, shapeOf, type At } from "./provider-stand-in.js";

const QUESTION = { system: "Label films.", user: "A cop hunts a thief." };
const ENGLISH = "The quick brown fox jumps over the lazy dog. ".repeat(20);
const ID = "1-1-aaaaaaaaaaaa";

function encoded(
  provider: Provider,
  model: string,
  { question = QUESTION, attempt = {} as Partial<Attempt>, shape = {} } = {},
) {
  const encode = provider.encoder({ ...shapeOf(model), ...shape });
  return encode(ID, question, { maxOutputTokens: 200, told: null, model, ...attempt });
}

export function describeDialect(at: At): void {
  describe("the encoder", () => {
    test("gives equal bytes and fingerprints for equal questions, whatever the order of parameters", () => {
      const provider = at.standIn.provider();
      const { model } = at.standIn;
      const one = encoded(provider, model, { shape: { parameters: { temperature: 0, top_p: 1 } } });
      const other = encoded(provider, model, { shape: { parameters: { top_p: 1, temperature: 0 } } });
      expect(other).toEqual(one);
      expect(one.fingerprint).toMatch(/^[0-9a-f]{32}$/);
      expect(one.line).not.toContain("\n");
      expect(one.line).toContain(ID);
    });

    test("leaves out of the fingerprint what a try has of its own", () => {
      const provider = at.standIn.provider();
      const { model } = at.standIn;
      const first = encoded(provider, model);
      for (const attempt of [{ maxOutputTokens: 400 }, { told: "the answer was no JSON" }, { model: "another" }]) {
        const again = encoded(provider, model, { attempt });
        expect(again.fingerprint).toBe(first.fingerprint);
        expect(again.line).not.toBe(first.line);
      }
    });

    test("has another fingerprint for another question, model, parameter or schema", () => {
      const provider = at.standIn.provider();
      const { model } = at.standIn;
      const fingerprints = [
        encoded(provider, model),
        encoded(provider, model, { question: { ...QUESTION, user: "A wedding." } }),
        encoded(provider, model, { question: { ...QUESTION, system: "Rate films." } }),
        encoded(provider, model, { question: { system: "", user: `${QUESTION.system}${QUESTION.user}` } }),
        encoded(provider, model, { shape: { model: "another" } }),
        encoded(provider, model, { shape: { parameters: { temperature: 1 } } }),
        encoded(provider, model, { shape: { schema: null } }),
      ].map(({ fingerprint }) => fingerprint);
      expect(new Set(fingerprints).size).toBe(fingerprints.length);
    });

    test.each([
      ["English", ENGLISH],
      ["digits", "0123456789".repeat(50)],
      ["Chinese and emoji", "这是一部关于婚礼的电影。😀".repeat(30)],
      ["nothing", ""],
    ])("bounds the input tokens from above: %s", async (_, user) => {
      const provider = at.standIn.provider();
      const { model } = at.standIn;
      const count = await provider.tokenizer(model);
      const told = "the answer was no JSON";
      const { boundTokens } = encoded(provider, model, {
        question: { ...QUESTION, user },
        attempt: { told },
        // As the engine measures it, on prompts; where there is none, on what has few tokens a byte.
        shape: { tokensPerByte: tokensPerByte([user === "" ? ENGLISH : user], count).max },
      });
      const schema = JSON.stringify(answer.schema?.schema ?? null);
      const counted = [QUESTION.system, user, told].reduce((sum, text) => sum + count(text), 0);
      expect(boundTokens).toBeGreaterThanOrEqual(counted + count(schema));
    });

    test("gives lines that its frame makes whole", async () => {
      const { separator, head, tail } = at.standIn.provider().frame;
      expect(separator).toContain("\n");
      const line = encoded(at.standIn.provider(), at.standIn.model, {
        question: { ...QUESTION, user: 'a\nb\r\u2028 "c" \\ 😀' },
      }).line;
      expect(line).not.toContain("\n");
      const input = `${head}${[line, line].join(separator)}${tail}`;
      expect(() => JSON.parse(head === "" ? line : input)).not.toThrow();
    });
  });

  describe("what needs no call", () => {
    test("has limits that leave room for a batch", () => {
      const { limits } = at.standIn.provider();
      expect(limits.requestsMin).toBeGreaterThanOrEqual(1);
      expect(limits.requestsMax).toBeGreaterThanOrEqual(limits.requestsMin);
      expect(limits.bytesMax).toBeGreaterThan(1_000_000);
      expect(limits.windowHours).toBeGreaterThan(0);
      expect(limits.resultsKeptHours).toBeGreaterThan(0);
    });

    test("prices a model that it knows, and no other", () => {
      const provider = at.standIn.provider();
      const now = new Date();
      const { price, batchFactor } = provider.rates(at.standIn.model, now);
      expect(price?.steps[0]).toMatchObject({ fromInputTokens: 0 });
      expect(batchFactor).toBeGreaterThan(0);
      expect(batchFactor).toBeLessThanOrEqual(1);
      expect(provider.rates("no-such-model-at-all", now).price).toBeNull();
      expect(provider.nearModel(at.standIn.model, now)).toBeNull();
      expect(provider.nearModel(`${at.standIn.model}x`.replace("-", "_"), now)).toBe(at.standIn.model);
    });

    test("has nothing against an ordinary schema and no parameters", () => {
      const provider = at.standIn.provider();
      expect(provider.schemaProblems(answer.schema?.schema ?? null)).toEqual([]);
      expect(provider.parameterProblems(at.standIn.model, {})).toEqual([]);
    });

    test("holds no secret, and reads no clock before a reply", () => {
      const provider = at.standIn.provider();
      const { account } = provider;
      expect(account).not.toBe("");
      const shown = [account, provider.accountText(account), ...provider.accountVariables(account, account)];
      expect(shown.join(" ")).not.toContain(at.standIn.key);
      expect(provider.clockSeconds()).toBeNull();
    });
  });
}
