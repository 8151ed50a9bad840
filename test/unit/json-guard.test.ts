import { describe, expect, test } from "vitest";
import { JsonGuard } from "../../src/http/read-json.js";

const bytes = (text: string): Buffer => Buffer.from(text, "utf8");

describe("JSON that has not been parsed", () => {
  test("may be nested as deep as the limit, and no deeper", () => {
    const nested = (depth: number) => "[".repeat(depth) + "]".repeat(depth);
    expect(new JsonGuard({ depthMax: 3 }).push(bytes(nested(3)))).toBeNull();
    expect(new JsonGuard({ depthMax: 3 }).push(bytes(nested(4)))).toEqual({
      status: 400,
      code: "json_too_deep",
      message: "The JSON is nested deeper than the limit of 3 levels.",
      limit: 3,
    });
  });

  test("counts depth up and down, so that a long list of small lists is not deep", () => {
    expect(new JsonGuard({ depthMax: 2 }).push(bytes(`[${Array(100).fill('{"a":1}').join(",")}]`))).toBeNull();
  });

  test("may have as many values as the limit, and no more", () => {
    expect(new JsonGuard({ valuesMax: 3 }).push(bytes("[1,2,3]"))).toBeNull();
    expect(new JsonGuard({ valuesMax: 3 }).push(bytes("[1,2,3,4]"))).toMatchObject({
      status: 413,
      code: "json_too_many_values",
      limit: 3,
    });
  });

  test("is not judged by the brackets and commas in its strings, escaped quotes included", () => {
    const text = JSON.stringify({ a: '[[[{{{,,,"]]\\', "[[[": "\\" });
    expect(new JsonGuard({ depthMax: 1, valuesMax: 3 }).push(bytes(text))).toBeNull();
  });

  test("is judged the same in pieces of any size", () => {
    const text = bytes(JSON.stringify([{ a: '\\"[,', ü: [1, [2, [3]]] }]));
    for (const size of [1, 2, 3, 7]) {
      const guards = [new JsonGuard({ depthMax: 5 }), new JsonGuard({ depthMax: 4 })];
      const verdicts = guards.map((guard) => {
        for (let at = 0; at < text.length; at += size) {
          const refusal = guard.push(text.subarray(at, at + size));
          if (refusal !== null) return refusal.code;
        }
        return null;
      });
      expect(verdicts).toEqual([null, "json_too_deep"]);
    }
  });
});
