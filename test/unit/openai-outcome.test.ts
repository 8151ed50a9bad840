import { describe, expect, test } from "vitest";
import { readOutcome } from "../../src/providers/openai/outcome.js";

const usage = { prompt_tokens: 10, completion_tokens: 4, prompt_tokens_details: { cached_tokens: 6 } };
const tokens = { inputTokens: 10, cachedInputTokens: 6, outputTokens: 4 };

const completion = (message: unknown, finish_reason: string | null = "stop") => ({
  model: "gpt-4o-mini-2024-07-18",
  choices: [{ index: 0, message, finish_reason }],
  usage,
});

const reply = (body: unknown, status_code: unknown = 200) => ({
  id: "batch_req_1",
  custom_id: "17-1-0123456789ab",
  response: { status_code, request_id: "req_1", body },
  error: null,
});

const failure = (code: string | null, message = "words") => ({
  id: "batch_req_1",
  custom_id: "17-1-0123456789ab",
  response: null,
  error: { code, message },
});

const httpError = (status: number, code: string | null) =>
  reply({ error: { message: "no", type: "some_error", param: null, code } }, status);

const read = (line: unknown) => readOutcome(typeof line === "string" ? line : JSON.stringify(line));

test("a good line is text with its model and its tokens", () => {
  expect(read(reply(completion({ role: "assistant", content: '{"a":1}', refusal: null })))).toEqual({
    kind: "text",
    customId: "17-1-0123456789ab",
    text: '{"a":1}',
    model: "gpt-4o-mini-2024-07-18",
    usage: tokens,
  });
});

describe("a line that was paid for and cannot be used", () => {
  test.each<[string, unknown, object]>([
    ["finish_reason length", completion({ content: '{"a":' }, "length"), { kind: "truncated", text: '{"a":' }],
    [
      "finish_reason length without content",
      completion({ content: null }, "length"),
      { kind: "truncated", text: null },
    ],
    ["finish_reason content_filter", completion({ content: null }, "content_filter"), { kind: "refused", text: null }],
    [
      "a refusal",
      completion({ content: null, refusal: "I cannot." }),
      { kind: "refused", message: "I cannot.", text: "I cannot." },
    ],
    ["content null", completion({ content: null }), { kind: "invalid", text: null }],
    ["content of no words", completion({ content: [{ type: "image_url", image_url: {} }] }), { kind: "invalid" }],
    [
      "a refusal among the parts",
      completion({ content: [{ type: "refusal", refusal: "I cannot." }] }),
      { kind: "refused", message: "I cannot." },
    ],
    [
      "a truncated answer, although its JSON is whole",
      completion({ content: '{"a":1}' }, "length"),
      { kind: "truncated", text: '{"a":1}' },
    ],
    [
      "a refusal beside a tool call",
      completion({ content: null, refusal: "No.", tool_calls: [{ function: { arguments: "{}" } }] }, "tool_calls"),
      { kind: "refused" },
    ],
    [
      "a tool call",
      completion({ content: null, tool_calls: [] }, "tool_calls"),
      { kind: "invalid", message: expect.stringContaining("tool_calls") },
    ],
    ["no message", { ...completion(undefined), usage }, { kind: "invalid" }],
    [
      "empty choices",
      { choices: [], usage, model: "m" },
      { kind: "invalid", model: "m", message: "the response has no choices" },
    ],
    ["no choices", { usage }, { kind: "invalid", model: null }],
    [
      "an error under a 200",
      { error: { message: "upstream broke" }, usage },
      { kind: "invalid", message: expect.stringContaining("upstream broke") },
    ],
  ])("%s", (_, body, outcome) => {
    expect(read(reply(body))).toMatchObject({ customId: "17-1-0123456789ab", usage: tokens, ...outcome });
  });
});

describe("what was said is read from", () => {
  const call = (given: unknown) => ({
    id: "call_1",
    type: "function",
    function: { name: "answer", arguments: given },
  });

  test.each<[string, unknown, object]>([
    [
      "parts",
      {
        content: [
          { type: "text", text: '{"a"' },
          { type: "text", text: ":1}" },
        ],
      },
      { text: '{"a":1}' },
    ],
    ["parts of the newer API", { content: [{ type: "output_text", text: "x", annotations: [] }] }, { text: "x" }],
    ["texts in a list", { content: ["x", "y"] }, { text: "xy" }],
    ["one part alone", { content: { type: "text", text: "x" } }, { text: "x" }],
    ["a part whose text is an object", { content: [{ type: "text", text: { value: "x" } }] }, { text: "x" }],
    ["the object itself", { content: { label: "x" } }, { text: '{"label":"x"}' }],
    [
      "parts with reasoning",
      {
        content: [
          { type: "thinking", thinking: [{ type: "text", text: "hm" }] },
          { type: "text", text: "x" },
        ],
      },
      { text: "x", reasoning: "hm" },
    ],
    ["reasoning next to the words", { content: "x", reasoning_content: "hm" }, { text: "x", reasoning: "hm" }],
    ["reasoning alone", { content: null, reasoning: '{"a":1}' }, { text: "", reasoning: '{"a":1}' }],
    ["a tool call", { content: null, tool_calls: [call('{"a":1}')] }, { text: "", calls: ['{"a":1}'] }],
    ["a tool call with an object", { content: "", tool_calls: [call({ a: 1 })] }, { text: "", calls: ['{"a":1}'] }],
    ["a function call", { function_call: { name: "answer", arguments: "{}" } }, { text: "", calls: ["{}"] }],
    ["broken tool calls", { content: "x", tool_calls: [null, 7, { function: null }, call(null)] }, { text: "x" }],
  ])("%s", (_, message, said) => {
    const finish = "tool_calls" in (message as object) ? "tool_calls" : "stop";
    expect(read(reply(completion(message, finish)))).toEqual({
      kind: "text",
      customId: "17-1-0123456789ab",
      model: "gpt-4o-mini-2024-07-18",
      usage: tokens,
      ...said,
    });
  });
});

test.each<[string, unknown]>([
  ["no body", null],
  ["a text for a body", "OK"],
  ["usage that is nonsense", { choices: [], usage: { prompt_tokens: -1, completion_tokens: "four" } }],
])("%s under a 200 is invalid and counts no tokens", (_, body) => {
  expect(read(reply(body))).toMatchObject({
    kind: "invalid",
    usage: { inputTokens: 0, cachedInputTokens: 0, outputTokens: 0 },
  });
});

test.each<[string, object]>([
  ["a status as a text", { response: { status_code: "200", body: completion({ content: "x" }) } }],
  ["no status", { response: { body: completion({ content: "x" }) } }],
  ["an error of nothing beside it", { ...reply(completion({ content: "x" })), error: {} }],
  ["no envelope", { response: completion({ content: "x" }), error: null }],
  [
    "its tokens as texts",
    reply({
      ...completion({ content: "x" }),
      usage: { ...usage, prompt_tokens: "10", completion_tokens: "4" },
    }),
  ],
])("a completion is read, and was paid for, with %s", (_, line) => {
  expect(read({ custom_id: "17-1-0123456789ab", ...line })).toEqual({
    kind: "text",
    customId: "17-1-0123456789ab",
    text: "x",
    model: "gpt-4o-mini-2024-07-18",
    usage: tokens,
  });
});

test("an empty text is an answer, and cached tokens are never more than the input's", () => {
  const body = { ...completion({ content: "" }), usage: { ...usage, prompt_tokens: 2 } };
  expect(read(reply(body))).toMatchObject({
    kind: "text",
    text: "",
    usage: { inputTokens: 2, cachedInputTokens: 2 },
  });
});

test.each<[string, unknown, string, string | null]>([
  ["HTTP 429", httpError(429, "rate_limit_exceeded"), "rateLimited", "rate_limit_exceeded"],
  ["HTTP 429 without a body", reply(null, 429), "rateLimited", null],
  ["HTTP 500", httpError(500, null), "transient", "some_error"],
  ["HTTP 503", httpError(503, "overloaded"), "transient", "overloaded"],
  ["HTTP 408", httpError(408, null), "transient", "some_error"],
  ["status_code 0", reply({}, 0), "transient", null],
  ["no status_code", reply({}, null), "transient", null],
  ["a redirect", reply({}, 302), "transient", null],
  ["HTTP 400", httpError(400, "invalid_value"), "permanent", "invalid_value"],
  ["HTTP 401", httpError(401, "invalid_api_key"), "permanent", "invalid_api_key"],
  ["HTTP 404", httpError(404, "model_not_found"), "permanent", "model_not_found"],
  ["HTTP 422", httpError(422, null), "permanent", "some_error"],
  [
    "HTTP 400 with the detail in error",
    { ...httpError(400, null), error: { code: "x", message: "y" }, response: { status_code: 400 } },
    "permanent",
    "x",
  ],
  ["batch_expired", failure("batch_expired"), "expired", "batch_expired"],
  ["batch_cancelled", failure("batch_cancelled"), "cancelled", "batch_cancelled"],
  ["request_timeout", failure("request_timeout"), "transient", "request_timeout"],
  ["a rate limit that never was HTTP", failure("rate_limit_exceeded"), "rateLimited", "rate_limit_exceeded"],
  ["a code that we do not know", failure("brand_new"), "transient", "brand_new"],
  ["a code that is a property of all objects", failure("constructor"), "transient", "constructor"],
  ["an error without a code", failure(null), "transient", null],
  ["neither response nor error", { custom_id: "17-1-0123456789ab" }, "transient", null],
])("an output line with %s is read as it should be", (_, line, kind, code) => {
  expect(read(line)).toMatchObject({ kind, code, customId: "17-1-0123456789ab" });
});

test.each([
  ["broken JSON", '{"custom_id": "17'],
  ["nothing", ""],
  ["a list", "[]"],
  ["null", "null"],
  ["no custom id", JSON.stringify({ ...failure("batch_expired"), custom_id: undefined })],
  ["an empty custom id", JSON.stringify({ ...failure("batch_expired"), custom_id: "" })],
  ["a million values", `{"custom_id":"17-1-0123456789ab","x":[${"{},".repeat(1_000_000)}0]}`],
  ["lists in lists without end", "[".repeat(2_000_000)],
  ["a number for a custom id", JSON.stringify({ ...failure("batch_expired"), custom_id: 17 })],
])("%s names no request", (_, line) => {
  expect(readOutcome(line)).toMatchObject({ kind: "unknownId", customId: null });
});

test("a line that would fill the memory is reported, and one with as many commas inside of its answer is read", () => {
  const overfull = `{"custom_id":"17-1-0123456789ab","x":[${"1,".repeat(1_000_000)}0]}`;
  expect(readOutcome(overfull)).toMatchObject({ message: "the line holds more than 1000000 values" });
  const text = `"\\,[{`.repeat(300_000);
  expect(read(reply(completion({ content: text })))).toMatchObject({ kind: "text", text });
});

test("messages are short and can be stored", () => {
  const outcome = read(failure("x", `${"y".repeat(5_000)}\u0000`));
  expect(outcome.kind === "text" ? "" : outcome.message).toMatch(/^y{500}…$/);
});
