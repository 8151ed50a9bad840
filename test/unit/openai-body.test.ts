import { describe, expect, test } from "vitest";
import type { ModelRequest } from "../../src/model/outcome.js";
import { buildBody, questionOf, renderLine, roomOf } from "../../src/providers/openai/body.js";

const request: ModelRequest = {
  model: "gpt-4o-mini",
  system: "Label films.",
  user: 'Heat \u2028 "1995"\n',
  maxOutputTokens: 256,
  parameters: { temperature: 0.1, seed: 7 },
  schema: {
    name: "answer",
    schema: { type: "object", properties: { b: { type: "string" }, a: { type: "string" } } },
  },
};

describe("the body", () => {
  test("is a chat completion with an output limit and a strict schema", () => {
    expect(buildBody(request)).toEqual({
      model: "gpt-4o-mini",
      messages: [
        { role: "system", content: "Label films." },
        { role: "user", content: 'Heat \u2028 "1995"\n' },
      ],
      max_completion_tokens: 256,
      temperature: 0.1,
      seed: 7,
      response_format: {
        type: "json_schema",
        json_schema: { name: "answer", strict: true, schema: request.schema?.schema },
      },
    });
  });

  test("has neither a system message nor a format where there is none", () => {
    const body = buildBody({ ...request, system: null, schema: null });
    expect(body).toMatchObject({ messages: [{ role: "user" }] });
    expect(body).not.toHaveProperty("response_format");
  });

  test("is the same in bytes whatever the order of the parameters, and keeps the order of the fields", () => {
    const text = JSON.stringify(buildBody(request));
    expect(JSON.stringify(buildBody({ ...request, parameters: { seed: 7, temperature: 0.1 } }))).toBe(text);
    expect(text).toContain('"properties":{"b":{"type":"string"},"a":{"type":"string"}}');
  });

  test("never lets a parameter stand in for the model, the messages or the limit", () => {
    const parameters = {
      model: "other",
      max_completion_tokens: 9,
      messages: [],
      response_format: { type: "text" },
    };
    expect(buildBody({ ...request, parameters })).toEqual(buildBody({ ...request, parameters: {} }));
  });

  test("spares fine-tuned models the keywords that they refuse, but no field of such a name", () => {
    const properties = {
      format: { type: "string", format: "date" },
      minimum: { type: "integer", minimum: 1, maximum: 9 },
      items: { type: "array", maxItems: 4, items: { type: "number", multipleOf: 2 } },
      either: { anyOf: [{ type: "number", maximum: 1 }, { type: "null" }] },
      one: { type: "string", enum: ["a"] },
    };
    const schema = {
      name: "answer",
      schema: { type: "object", properties, required: ["format"], additionalProperties: false },
    };
    const plain = buildBody({ ...request, schema });
    expect(plain).toMatchObject({ response_format: { json_schema: { schema: schema.schema } } });
    const tuned = buildBody({ ...request, schema, model: "ft:gpt-4o-mini:acme::1" });
    expect(tuned).toMatchObject({
      response_format: {
        json_schema: {
          schema: {
            type: "object",
            required: ["format"],
            additionalProperties: false,
            properties: {
              format: { type: "string" },
              minimum: { type: "integer" },
              items: { type: "array", items: { type: "number" } },
              either: { anyOf: [{ type: "number" }, { type: "null" }] },
              one: { type: "string", enum: ["a"] },
            },
          },
        },
      },
    });
    expect(JSON.stringify(tuned)).not.toMatch(/"(?:maximum|maxItems|multipleOf)":/);
  });
});

test("the question is the body without the room for its answer, and the body stays as it is", () => {
  const body = buildBody(request);
  expect(questionOf(buildBody({ ...request, maxOutputTokens: 9 }))).toEqual(questionOf(body));
  expect(questionOf({ model: "m", max_tokens: 5 })).toEqual({ model: "m" });
  expect(questionOf(buildBody({ ...request, model: "gpt-4.1" }))).not.toEqual(questionOf(body));
  expect(body).toMatchObject({ max_completion_tokens: 256 });
  expect(questionOf("no body")).toBe("no body");
});

test.each<[Record<string, unknown> | null, number | null]>([
  [{ max_completion_tokens: 7 }, 7],
  [{ max_tokens: 8 }, 8],
  [{ max_completion_tokens: null, max_tokens: 9 }, 9],
  [{ max_tokens: 1.5 }, null],
  [{ max_tokens: 2 ** 40 }, null],
  [{ max_tokens: "9" }, null],
  [{}, null],
  [null, null],
])("the room that %j gives an answer is %j", (body, room) => {
  expect(roomOf(body)).toBe(room);
});

test("a line is one line of JSON", () => {
  const line = renderLine("17-1-0123456789ab", buildBody(request));
  expect(line).not.toContain("\n");
  expect(JSON.parse(line)).toEqual({
    custom_id: "17-1-0123456789ab",
    method: "POST",
    url: "/v1/chat/completions",
    body: buildBody(request),
  });
});
