import { describe, expect, it } from "vitest";
import { readAnswerFields } from "../../src/app/init/answer-fields.js";

describe("The fields of an answer, as you type them", () => {
  it("become zod schemas, lists and null included", () => {
    expect(readAnswerFields("tags:string[], year : integer? ,mood:sad|glad,seen:boolean,score:number")).toEqual([
      { name: "tags", zod: "z.array(z.string())" },
      { name: "year", zod: "z.int().nullable()" },
      { name: "mood", zod: 'z.enum(["sad", "glad"])' },
      { name: "seen", zod: "z.boolean()" },
      { name: "score", zod: "z.number()" },
    ]);
    expect(readAnswerFields("text")).toBeNull();
  });

  it.each([
    [
      "year:integr",
      '"integr" is not a type: use string, integer, number or boolean, a list such as string[], or words such as red|green; did you mean "integer"?',
    ],
    ["summary", '"summary" is not a field: write it as name:type'],
    ["__proto__:string", 'a field cannot be named "__proto__"'],
    ["a:string,a:string", 'the field "a" appears twice'],
  ])("say what is wrong with %s", (text, problem) => {
    expect(() => readAnswerFields(text)).toThrow(`--answer: ${problem}`);
  });
});
