import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import type { ModelRequest } from "../../src/model/provider/outcome.js";
import type { Json } from "../../src/model/pipeline.js";
import type { Attempt, Encoded } from "../../src/model/provider/provider.js";
import { fingerprintOfBody, openaiEncoder, roomOf } from "../../src/providers/openai/encoder.js";

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

function encode(
  asked: ModelRequest,
  { tokensPerByte = 1, ...changes }: Partial<Attempt> & { tokensPerByte?: number } = {},
): Encoded {
  const attempt = { maxOutputTokens: asked.maxOutputTokens, told: null, model: asked.model, ...changes };
  return openaiEncoder({ ...asked, tokensPerByte })("17-1-0123456789ab", asked, attempt);
}

function bodyIn(line: string): Record<string, Json> {
  return (JSON.parse(line) as { body: Record<string, Json> }).body;
}

function buildBody(asked: ModelRequest, attempt: Partial<Attempt> = {}): Record<string, Json> {
  return bodyIn(encode(asked, attempt).line);
}

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
  const { line } = encode(request);
  expect(line).not.toContain("\n");
  expect(JSON.parse(line)).toEqual({
    custom_id: "17-1-0123456789ab",
    method: "POST",
    url: "/v1/chat/completions",
    body: buildBody(request),
  });
});

test("equal questions give equal bytes, also from one encoder after others", () => {
  const encoder = openaiEncoder({ ...request, tokensPerByte: 1 });
  const attempt = { maxOutputTokens: 256, told: null, model: request.model };
  const first = encoder("1-1-aaaaaaaaaaaa", request, attempt);
  encoder("2-1-aaaaaaaaaaaa", { system: null, user: "x" }, { ...attempt, told: "no", model: "gpt-4.1" });
  expect(encoder("1-1-aaaaaaaaaaaa", { ...request }, { ...attempt })).toEqual(first);
});

test("what an answer lacked is said behind the question", () => {
  expect(buildBody(request, { told: 'No "genre".\n' })["messages"]).toEqual([
    ...(buildBody(request)["messages"] as Json[]),
    { role: "user", content: 'No "genre".\n' },
  ]);
});

const properties = { n: { type: "integer", minimum: 1 } };
const questions: Readonly<Record<string, ModelRequest>> = {
  whole: request,
  bare: { ...request, system: null, schema: null, parameters: {} },
  free: { ...request, parameters: {}, schema: { name: "answer", schema: { type: "object" }, isFree: true } },
  tuned: {
    ...request,
    model: "ft:gpt-4o-mini:acme::1",
    schema: { name: "answer", schema: { type: "object", properties } },
  },
  own: {
    ...request,
    parameters: {
      model: "other",
      messages: [],
      max_completion_tokens: 9,
      max_tokens: 5,
      response_format: { type: "text" },
      zeta: { b: 1, a: [null, -0, "é"] },
      "10": 1,
      "9": 2,
    },
  },
  odd: {
    ...request,
    system: "",
    user: 'é\u2028😀\u0001\\ "',
    parameters: { stop: ["\n"], logit_bias: { "2": 1, "10": 2 } },
  },
};

describe("the fingerprint", () => {
  test.each([
    ["whole", "7f78d39de238982b975e4c78fffe713c"],
    ["bare", "0df88b66feaf887ec224ecb3f78c2e17"],
    ["free", "6dad188997174ecf890d3e6d8eca966c"],
    ["tuned", "ca82c5936a15fc39779476d1a7c05934"],
    ["own", "81c2db56e63228b3d5b867cb97239ac3"],
    ["odd", "f7ec95a77d5278d8561db1dd083fbc42"],
  ])("of a question that is %s has not changed since the first version", (name, value) => {
    const question = questions[name] ?? request;
    expect(encode(question).fingerprint).toBe(value);
    expect(fingerprintOfBody(buildBody(question))).toBe(value);
  });

  test.each(Object.keys(questions))("of a question that is %s is its own body's, whatever the try", (name) => {
    const question = questions[name] ?? request;
    const { fingerprint, line } = encode(question);
    expect(fingerprint).toMatch(/^[0-9a-f]{32}$/);
    expect(fingerprintOfBody(bodyIn(line))).toBe(fingerprint);
    const roomier = encode(question, { maxOutputTokens: 9_999 });
    expect(roomier.fingerprint).toBe(fingerprint);
    expect(fingerprintOfBody(bodyIn(roomier.line))).toBe(fingerprint);
    for (const attempt of [{ told: "Not JSON." }, { model: "gpt-4.1" }])
      expect(encode(question, attempt).fingerprint).toBe(fingerprint);
  });

  test("is the body's without the room for its answer, and the body stays as it is", () => {
    const body = buildBody(request);
    const whole = fingerprintOfBody(body);
    expect(fingerprintOfBody(buildBody({ ...request, maxOutputTokens: 9 }))).toBe(whole);
    expect(fingerprintOfBody({ model: "m", max_tokens: 5 })).toBe(fingerprintOfBody({ model: "m" }));
    expect(fingerprintOfBody(buildBody({ ...request, model: "gpt-4.1" }))).not.toBe(whole);
    expect(body).toMatchObject({ max_completion_tokens: 256 });
    expect(fingerprintOfBody(null)).toBeNull();
  });

  test("is 32 hex digits that do not change between versions", () => {
    expect(fingerprintOfBody({ model: "m", n: 1 })).toBe("058f27c12e06035692174fb5cc67475a");
  });

  test("is of the endpoint too", () => {
    const of = (endpoint: string) =>
      createHash("sha256").update(`["${endpoint}",{"model":"m","n":1}]`).digest("hex").slice(0, 32);
    expect(fingerprintOfBody({ model: "m", n: 1 })).toBe(of("/v1/chat/completions"));
    expect(fingerprintOfBody({ model: "m", n: 1 })).not.toBe(of("/b"));
  });

  test("is the same whatever the order of keys, and another for another body or order of a list", () => {
    const one = fingerprintOfBody({ x: { p: 1, q: [1, 2] }, y: null });
    expect(fingerprintOfBody({ y: null, x: { q: [1, 2], p: 1 } })).toBe(one);
    const others: Record<string, Json>[] = [
      { x: { p: 1, q: [2, 1] }, y: null },
      { x: { p: 1, q: [1, 2] } },
      { x: { p: "1", q: [1, 2] }, y: null },
    ];
    for (const body of others) expect(fingerprintOfBody(body)).not.toBe(one);
  });

  test("is the same from an encoder that other questions share as from one of its own", () => {
    const encoder = openaiEncoder({ ...request, tokensPerByte: 1 });
    const attempt = { maxOutputTokens: 256, told: null, model: request.model };
    const shared = ["1", "2", "1"].map((user) => encoder("1", { system: null, user }, attempt).fingerprint);
    const alone = ["1", "2", "1"].map((user) => encode({ ...request, system: null, user }).fingerprint);
    expect(shared).toEqual(alone);
    expect(shared[0]).toBe(shared[2]);
    expect(shared[0]).not.toBe(shared[1]);
  });
});

/** Computed by the first version, which bounded the serialised body. */
test.each([
  ["whole", 1, 366],
  ["whole", 0.3, 120],
  ["bare", 1, 123],
  ["bare", 0.3, 47],
  ["free", 1, 207],
  ["free", 0.3, 72],
  ["tuned", 1, 356],
  ["tuned", 0.3, 117],
  ["own", 1, 400],
  ["own", 0.3, 132],
  ["odd", 1, 370],
  ["odd", 0.3, 125],
])("a question that is %s is bounded at %d tokens a byte by %d tokens", (name, tokensPerByte, bound) => {
  expect(encode(questions[name] ?? request, { tokensPerByte }).boundTokens).toBe(bound);
});
