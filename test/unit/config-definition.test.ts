import { describe, expect, test } from "vitest";
import { definitionHash } from "../../src/config/definition.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { z } from "../../src/index.js";
import type { PipelineConfig } from "../../src/model/pipeline.js";

const provider = { name: "openai", endpoint: "/v1/chat/completions" };

const films = {
  source: { table: "films", key: ["id", "lang"], columns: ["Title", "Description"] },
  request: { model: "gpt-4o-mini", temperature: 0.1, seed: 1, system: "Be brief.", user: "{{ Title }}" },
  answer: z.object({ genre: z.string(), year: z.int() }),
  target: { table: "labels" },
};

function read(definition: object, name = "films"): PipelineConfig {
  const origin = { file: "/rowmill.config.ts", language: "script", databaseUrl: "embedded" } as const;
  const [config] = validateConfig({ pipelines: { [name]: definition } }, origin).pipelines;
  if (config === undefined) throw new Error("no pipeline");
  return config;
}

function hash(definition: object): string {
  return definitionHash(read(definition), provider);
}

const request = (change: object) => ({ ...films, request: { ...films.request, ...change } });
const source = (change: object) => ({ ...films, source: { ...films.source, ...change } });

describe("definitionHash", () => {
  test("is the same text on every machine", () => {
    // A literal: hashes are stored, and a change of the algorithm would have every row sent again.
    expect(hash(films)).toBe("8ce89f92a4f389e7d0d049d615242b0c");
  });

  const different: readonly [string, object][] = [
    ["the model", request({ model: "gpt-4.1-mini" })],
    ["a parameter", request({ temperature: 0.2 })],
    ["one parameter more", request({ topP: 1 })],
    ["the output limit", request({ maxOutputTokens: 1025 })],
    ["the system message", request({ system: "Be very brief." })],
    [
      "no system message",
      { ...films, request: { model: "gpt-4o-mini", temperature: 0.1, seed: 1, user: "{{ Title }}" } },
    ],
    ["the user message", request({ user: "{{ Description }}" })],
    ["a function of the same words", request({ user: () => "{{ Title }}" })],
    ["a field of the answer", { ...films, answer: z.object({ genre: z.string(), year: z.number() }) }],
    ["the order of the answer's fields", { ...films, answer: z.object({ year: z.int(), genre: z.string() }) }],
    [
      "a description in the answer",
      { ...films, answer: z.object({ genre: z.string().describe("one word"), year: z.int() }) },
    ],
    ["no answer schema", { source: films.source, request: films.request, target: films.target }],
    ["the table", source({ table: "movies" })],
    ["the key", source({ key: ["id"] })],
    ["the order of the key", source({ key: ["lang", "id"] })],
    ["the columns", source({ columns: ["Title"] })],
    ["the order of the columns", source({ columns: ["Description", "Title"] })],
  ];

  test.each(different)("changes with %s", (_, definition) => {
    expect(hash(definition)).not.toBe(hash(films));
  });

  test("changes with the provider and its endpoint", () => {
    const config = read(films);
    const hashes = [
      definitionHash(config, provider),
      definitionHash(config, { ...provider, name: "azure" }),
      definitionHash(config, { ...provider, endpoint: "/v1/responses" }),
    ];
    expect(new Set(hashes).size).toBe(3);
  });

  const equal: readonly [string, object][] = [
    [
      "the order of its keys",
      {
        target: films.target,
        answer: films.answer,
        request: Object.fromEntries(Object.entries(films.request).reverse()),
        source: films.source,
      },
    ],
    ["validate", { ...films, validate: () => "no" }],
    ["where, existing and onGone", source({ where: "id > 1", existing: "skip", onGone: "keepAnswer" })],
    [
      "when, batch, limit and attempts",
      { ...films, when: { rows: 1 }, batch: { maxRequests: 1 }, limit: 1, attempts: 1 },
    ],
    ["budget and approval", { ...films, budget: { usd: 1, per: "day" }, approveAboveUsd: 9 }],
    [
      "polling, files and reconcile",
      { ...films, polling: { min: "1s" }, files: { keep: true }, reconcile: { window: "1s" } },
    ],
    [
      "the target",
      {
        ...films,
        target: {
          table: "other",
          columns: { genre: "g" },
          access: "inherit",
          addColumns: true,
          trustOwner: true,
        },
      },
    ],
    ["a default that is written out", request({ maxOutputTokens: 1024 })],
    ["a price", request({ price: { input: 1, output: 2 } })],
  ];

  test.each(equal)("does not change with %s", (_, definition) => {
    expect(hash(definition)).toBe(hash(films));
  });

  test("does not change with the pipeline's name", () => {
    expect(definitionHash(read(films, "other"), provider)).toBe(hash(films));
  });

  test("sees a function by its source text, whatever the line ends of the checkout", () => {
    const reading = (render: () => string, source: string) => {
      render.toString = () => source;
      return request({ user: render });
    };
    const render = () => () => "x";
    expect(hash(reading(render(), "() =>\n1"))).toBe(hash(reading(render(), "() =>\r\n1")));
    expect(hash(request({ user: () => "a" }))).toBe(hash(request({ user: () => "a" })));
    expect(hash(request({ user: () => "a" }))).not.toBe(hash(request({ user: () => "b" })));
  });
});
