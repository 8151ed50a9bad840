import { describe, expect, test } from "vitest";
import { inputTokenBound, tokensPerByte } from "../../src/model/request/tokens.js";
import { tokenizer } from "../../src/providers/openai/dialect.js";

async function countTokens(text: string, model: string): Promise<number> {
  return (await tokenizer(model))(text);
}

describe("counting tokens", () => {
  test.each([
    ["hello world", "gpt-4o-mini", 2],
    ["hello world", "some-model-of-mine", 2],
    ["", "gpt-4o-mini", 0],
    ["お誕生日おめでとう", "gpt-4o-mini", 8],
    ["お誕生日おめでとう", "gpt-4", 9],
    ["お誕生日おめでとう", "text-embedding-3-small", 9],
    ["お誕生日おめでとう", "gpt-4.1-mini", 8],
  ])("%s for %s is %d", async (text, model, tokens) => {
    expect(await countTokens(text, model)).toBe(tokens);
  });

  test("takes a special token's name in a row for text", async () => {
    expect(await countTokens("<|endoftext|>", "gpt-4o-mini")).toBeGreaterThan(1);
  });

  test("cuts no character in two where its windows end", async () => {
    const text = `${"x".repeat(499)}😀${"y".repeat(499)}`;
    const parts = await Promise.all(
      [`${"x".repeat(499)}😀`, "y".repeat(499)].map((part) => countTokens(part, "gpt-4o")),
    );
    expect(await countTokens(text, "gpt-4o")).toBe((parts[0] ?? 0) + (parts[1] ?? 0));
  });
});

describe("tokens per byte", () => {
  test("are a mean over all bytes and the most of one sample", async () => {
    const ratio = tokensPerByte(["hello world", "漢字仮名漢字仮名", ""], await tokenizer("gpt-4o-mini"));
    const dense = (await countTokens("漢字仮名漢字仮名", "gpt-4o-mini")) / 24;
    expect(ratio.max).toBe(dense);
    expect(ratio.mean).toBe((2 + dense * 24) / (11 + 24));
  });

  test("are a rule of thumb without samples", () => {
    expect(tokensPerByte([], () => 1)).toEqual({ mean: 0.25, max: 1 });
    expect(tokensPerByte(["", ""], () => 1)).toEqual({ mean: 0.25, max: 1 });
  });

  test.each([
    [100, 0.251, 26],
    [100, 3, 100],
    [0, 0.5, 0],
  ])("%d bytes at %d are at most %d tokens", (bytes, ratio, bound) => {
    expect(inputTokenBound(bytes, ratio)).toBe(bound);
  });
});
