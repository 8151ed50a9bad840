import { expect, it } from "vitest";
import { outputLimit } from "../../src/model/request/output-limit.js";
import { smallPipeline } from "../support/small-pipeline.js";

const { request } = smallPipeline({ kind: "template", text: "{{ title }}" });

it.each([
  ["the config's before any answer", null, 1_000],
  ["the config's while there are fewer than five answers", { answers: 4, mean: 20, p99: 30 }, 1_000],
  ["three times the largest of few answers", { answers: 5, mean: 20, p99: 30 }, 90],
  ["twice the 99th percentile from 20 answers on", { answers: 20, mean: 20, p99: 30 }, 60],
  ["never so small that an ordinary answer would be cut off", { answers: 5, mean: 1, p99: 1 }, 32],
  ["never above the config's", { answers: 5, mean: 900, p99: 900 }, 1_000],
])("The output limit of a request is %s", (_, sizes, limit) => {
  expect(outputLimit(sizes, { ...request, maxOutputTokens: 1_000 })).toBe(limit);
});
