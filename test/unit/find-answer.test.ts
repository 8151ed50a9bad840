/** Where an answer is found in what a model said, and where it is not. */
import { describe, expect, test } from "vitest";
import { z } from "zod";
import { compileAnswer } from "../../src/model/answer/answer.js";
import { CANDIDATES_MAX } from "../../src/model/json/find-answer.js";
import { FREE_JSON } from "../../src/model/json/free-json.js";
import { JSON_DEPTH_MAX } from "../../src/model/json/json-values.js";

const labelled = compileAnswer(z.object({ label: z.string(), tags: z.array(z.string()).default([]) }));
const free = compileAnswer(FREE_JSON);
const plain = compileAnswer(null);
const x = '{"label":"x"}';

describe("an answer to a schema is found", () => {
  test.each<[string, string, object?]>([
    ["alone", x],
    ["behind reasoning", `<think>hm {"a</think>${x}`],
    ["behind a draft in the reasoning", `<think>perhaps {"label":"draft"}?</think>\n\n${x}`],
    ["behind reasoning in another tag", `<thinking>\nhm\n</thinking>\n${x}`],
    ["behind reasoning in square brackets", `[THINK]perhaps {"label":"draft"}[/THINK]${x}`],
    ["behind reasoning in triangles", `◁think▷perhaps {"label":"draft"}◁/think▷${x}`],
    ["behind reasoning that began before the text", `hm {"label":"draft"}\n</think>\n${x}`],
    ["between two reasonings", `<think>a</think>${x}<Reasoning>{"label":"late"}</Reasoning>`],
    ["in reasoning that was not closed", `<think>So the answer is ${x}`],
    ["in a fence", `\`\`\`json\n${x}\n\`\`\``],
    ["in a fence without a language, after a sentence", `Sure!\n\n\`\`\`\n${x}\n\`\`\`\nAnything else?`],
    ["after a sentence with brackets", `As {you} [asked], f(x) = {x | x > 0}: ${x}`],
    ["before a sentence", `${x} That is it: {done}.`],
    ["in double braces", `{${x}}`],
    ["beside an object that does not fit", `{"note": 1} ${x} {"label": 2}`],
    ["twice, but the same", `${x} or again { "label": "x" }`],
    ["with tags and braces in its texts", JSON.stringify({ label: "x", tags: ["<think>", "{", '"}', "</think>"] })],
    ["as a text of JSON", JSON.stringify(x)],
    ["in a tool's arguments", "", { calls: [x] }],
    ["in a tool's arguments as a text of JSON", "I call it now.", { calls: [JSON.stringify(x)] }],
    ["in the text, beside another tool's arguments", x, { calls: ['{"city":"Paris"}'] }],
    ["in reasoning that the provider keeps apart", " ", { reasoning: `It must be ${x}.` }],
    ["in the text, whatever the reasoning says", x, { reasoning: '{"label":"draft"}' }],
  ])("%s", (_, text, beside) => {
    expect(labelled.parse(text, beside)).toMatchObject({ ok: true, cells: { label: "x" } });
  });
});

describe("a search for an answer to a schema", () => {
  test.each<[string, string, string, object?]>([
    ["two that fit", `${x} or {"label":"y"}`, "2 different JSON objects that fit"],
    ["two that fit, one in a tool's arguments", x.replace("x", "y") + ".", "2 different", { calls: [x] }],
    ["two that fit, one of them the whole text", '{"label":"y"}', "2 different", { calls: [x] }],
    ["two in the reasoning alone", `<think>${x} {"label":"y"}`, "2 different"],
    ["none", "I do not know.", "not JSON"],
    ["one that does not fit", 'Here: {"label": 7}', "label: "],
    [
      "several that do not fit",
      '{"a":1} {"label":7}',
      "none of the 2 JSON objects in the answer fits. The last one: label",
    ],
    ["one that was cut", `Here: {"items":[${x},{"label":"y"`, "not JSON"],
    ["one inside of another", `{"answer":${x}}`, "label: "],
    ["one in a list", `[${x}]`, "expected object"],
    ["one in the reasoning, where the text is another thing", `<think>hm</think>{"label":7}`, "label: "],
    ["a draft, where the answer does not fit", `<think>${x}?</think>{"label":7}`, "label: "],
    ["a draft that is kept apart, where the answer does not fit", '{"label":7}', "label: ", { reasoning: x }],
    ["a draft, where the answer is words", `<think>${x}?</think>I cannot say.`, "not JSON"],
    ["a draft, where the answer was cut", `<think>${x}?</think>{"label":"y`, "not JSON"],
    ["a draft, where a tool was called instead", "", "label: ", { calls: ['{"city":"Paris"}'], reasoning: x }],
    ["too many", "{}".repeat(CANDIDATES_MAX + 1), `more than ${CANDIDATES_MAX} JSON objects`],
    ["a number", "42", "expected object"],
  ])("refuses %s", (_, text, message, beside) => {
    expect(labelled.parse(text, beside)).toEqual({ ok: false, message: expect.stringContaining(message) });
  });

  test("ends in a time that grows with its length alone", () => {
    const million = 1_000_000;
    const repeated = (text: string) => text.repeat(Math.ceil(million / text.length));
    const hostile = [
      "{",
      "[",
      '{"',
      '{"a":',
      '{"a":[',
      "{}",
      "<think>",
      "</think>",
      '{"\\',
      '"{',
      "`",
      "<think>{",
      '{"a":"',
    ];
    for (const text of hostile.map(repeated)) {
      expect(labelled.parse(text).ok).toBe(false);
      expect(labelled.parse(`${text}\n`, { calls: [text], reasoning: text }).ok).toBe(false);
    }
  });
});

describe("an answer without a schema", () => {
  test.each([
    ["<think>hm</think>\n\nTwo words.\n", "Two words.\n"],
    [" <thinking>a</thinking>b", "b"],
    ["[THINK]a[/THINK]b", "b"],
    ["[Reasoning] It rains.", "[Reasoning] It rains."],
    ["The tag <think>a</think> is for reasoning.", "The tag <think>a</think> is for reasoning."],
    ["a</think>b", "a</think>b"],
    [" as it is ", " as it is "],
  ])("%j is %j", (text, answer) => {
    expect(plain.parse(text)).toMatchObject({ ok: true, value: answer, cells: { answer } });
  });

  test.each<[string, object, string]>([
    ["", {}, "the answer is blank"],
    [" \n\t ", {}, "the answer is blank"],
    ["<think>and so on", {}, "only its reasoning"],
    ["<think>a</think> \n", {}, "only its reasoning"],
    ["", { reasoning: "hm" }, "only its reasoning"],
    ["", { calls: ["{}"] }, "called a tool instead"],
  ])("%j with %j is refused", (text, beside, message) => {
    expect(plain.parse(text, beside)).toEqual({ ok: false, message: expect.stringContaining(message) });
  });
});

describe("an answer of any JSON object", () => {
  const numbers = '{"price": 1.10, "id": 12345678901234567890, "huge": 1e400, "a":{"b":[0.1e-7]}}';

  test.each([
    [numbers, numbers],
    [`<think>{}</think>\`\`\`json\n${numbers}\n\`\`\``, numbers],
    ["So: {} is it", "{}"],
  ])("%s keeps the text of it", (text, cell) => {
    expect(free.parse(text)).toEqual({ ok: true, value: JSON.parse(cell), cells: { answer: cell } });
  });

  const deep = `${'{"a":'.repeat(JSON_DEPTH_MAX + 1)}1${"}".repeat(JSON_DEPTH_MAX + 1)}`;
  test.each([
    ["[1, 2]", "not an object"],
    ['[{"a": 1}]', "not an object"],
    ["null", "not an object"],
    ['"words"', "not JSON"],
    ["7", "not an object"],
    ["", "blank"],
    ['{"a": 1} or {"a": 2}', "2 different"],
    ['{"a": "\\u0000"}', "U+0000"],
    ['{"\\ud800": 1}', "surrogate"],
    ['{"a": [1e200000]}', "the number 1e200000, which PostgreSQL cannot store"],
    ['{"a": 1e-20000}', "cannot store"],
    [deep, "nested deeper"],
  ])("is not %s", (text, message) => {
    expect(free.parse(text)).toEqual({ ok: false, message: expect.stringContaining(message) });
  });

  test("comes back from the ledger as what it was", async () => {
    const { compileStored } = await import("../../src/model/answer/answer.js");
    expect(compileStored(JSON.parse(JSON.stringify(free.stored))).columns).toEqual(free.columns);
    expect(compileStored(free.stored).parse(numbers)).toEqual(free.parse(numbers));
  });
});
