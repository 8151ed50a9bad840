import { expect, test } from "vitest";
import { parameterProblems } from "../../src/providers/openai/parameters.js";
import type { Json } from "../../src/model/pipeline.js";

const sampling = { temperature: 0.1, top_p: 0.9, presence_penalty: 1, frequency_penalty: -1 };

test.each<[string, Record<string, Json>, string[]]>([
  ["gpt-5-mini", sampling, ["temperature", "top_p", "presence_penalty", "frequency_penalty"]],
  ["gpt-5-nano-2025-08-07", { temperature: 0 }, ["temperature"]],
  ["gpt-5", { temperature: 1, top_p: 1, presence_penalty: 0, frequency_penalty: 0, seed: 7 }, []],
  ["gpt-5", { stop: "x", reasoning_effort: "none" }, ["stop", "reasoning_effort"]],
  ["gpt-5", { reasoning_effort: "minimal" }, []],
  ["o3", { temperature: 0.5, stop: ["x"], reasoning_effort: "high" }, ["temperature", "stop"]],
  ["o4-mini-2025-04-16", { reasoning_effort: "minimal" }, ["reasoning_effort"]],
  ["ft:o4-mini-2025-04-16:acme::7p4lURel", { temperature: 2 }, ["temperature"]],
  ["o3-mini", { top_p: 0.5, stop: "x" }, ["top_p"]],
  ["gpt-5.1", { temperature: 0.2, top_p: 0.5 }, []],
  ["gpt-5.1", { temperature: 0.2, reasoning_effort: "none" }, []],
  ["gpt-5.1", { ...sampling, reasoning_effort: "low" }, ["temperature", "top_p"]],
  ["gpt-5.1", { reasoning_effort: "xhigh" }, ["reasoning_effort"]],
  ["gpt-5.2-2025-12-11", { reasoning_effort: "xhigh" }, []],
  ["gpt-4o-mini", { ...sampling, stop: "x" }, []],
  ["gpt-4o-mini", { reasoning_effort: "low" }, ["reasoning_effort"]],
  ["ft:gpt-4.1-nano-2025-04-14:acme:films:1", { reasoning_effort: "low", temperature: 0 }, ["reasoning_effort"]],
  ["gpt-5-chat-latest", sampling, []],
  ["gpt-5.9-mega", { ...sampling, reasoning_effort: "max" }, []],
  ["openai/gpt-5-mini", sampling, []],
  ["my-gpt-5", { ...sampling, reasoning_effort: "low", stop: "x" }, []],
  ["qwen3:8b", { ...sampling, reasoning_effort: "low" }, []],
])("%s with %j refuses %j", (model, parameters, refused) => {
  expect(parameterProblems(model, parameters).map(({ name }) => name)).toEqual(refused);
});

test("what is refused is said with what to write instead", () => {
  const problems = parameterProblems("gpt-5.1", { temperature: 0.2, reasoning_effort: "high" });
  expect(problems[0]?.problem).toBe(
    'gpt-5.1 accepts it only without reasoning; leave it out, or set reasoningEffort: "none"',
  );
});
