import type OpenAI from "openai";
import { describe, expect, test } from "vitest";
import type { GatewayOptions } from "../../src/gateway/gateway.js";
import {
  chatBody,
  chatLine,
  chatLines,
  createBatch,
  refusalOf,
  startTestGateway,
  submit,
  upload,
} from "./gateway-setup.js";

type Options = Partial<Omit<GatewayOptions, "demoModel">>;

/** The batch, ended. */
async function outcomeOf(lines: string | readonly string[], options: Options = {}) {
  const { gateway, client } = await startTestGateway(options);
  const id = await submit(client, lines);
  await gateway.until(id);
  return client.batches.retrieve(id);
}

/** A good line with some fields replaced; undefined removes one. */
function lineWith(fields: Readonly<Record<string, unknown>>): string {
  const good = { custom_id: "bad", method: "POST", url: "/v1/chat/completions", body: chatBody("A heist.") };
  return JSON.stringify({ ...good, ...fields });
}

const missing = (name: string) => `Missing required parameter: '${name}'.`;

describe("validation refuses the second line", () => {
  const cases: readonly (readonly [string, string, string, string | null, string])[] = [
    ["that is not JSON", "{oops", "invalid_json_line", null, "This line is not parseable as valid JSON."],
    ["that is empty", "", "invalid_json_line", null, "This line is not parseable as valid JSON."],
    ["that is no object", "[1]", "invalid_json_line", null, "This line is not parseable as valid JSON."],
    ...["custom_id", "method", "url", "body"].map(
      (name) =>
        [
          `without ${name}`,
          lineWith({ [name]: undefined }),
          "missing_required_parameter",
          name,
          missing(name),
        ] as const,
    ),
    [
      "without a model",
      lineWith({ body: { messages: [] } }),
      "invalid_request",
      "body.model",
      "Model parameter is required.",
    ],
    [
      "without messages",
      lineWith({ body: { model: "gpt-4o-mini" } }),
      "invalid_request",
      "body.messages",
      "Messages parameter is required.",
    ],
    [
      "with another URL than the batch",
      lineWith({ url: "/v1/embeddings" }),
      "invalid_url",
      "url",
      "The URL provided for this request does not match the batch endpoint.",
    ],
    [
      "with another method",
      lineWith({ method: "GET" }),
      "invalid_method",
      "method",
      "The method of each request must be 'POST'.",
    ],
    [
      "with a model that does not exist",
      lineWith({ body: { ...chatBody("x"), model: "gpt-9" } }),
      "model_not_found",
      "body.model",
      "The provided model 'gpt-9' is not supported by the Batch API.",
    ],
    [
      "that wants a stream",
      lineWith({ body: { ...chatBody("x"), stream: true } }),
      "streaming_unsupported",
      "body.stream",
      "Chat Completions: Streaming is not supported in the Batch API.",
    ],
    [
      "with the custom id of the first",
      chatLine("first", "Again."),
      "duplicate_custom_id",
      "custom_id",
      "The custom_id 'first' for this request is a duplicate of another request. The custom_id parameter must be unique for each request in a batch.",
    ],
    [
      "with another model than the first",
      lineWith({ body: { ...chatBody("x"), model: "gpt-4.1-mini" } }),
      "mismatched_model",
      "body.model",
      "The model 'gpt-4.1-mini' for this request does not match the rest of the batch. Each batch must contain requests for a single model.",
    ],
    [
      "whose text asks for it",
      chatLine("bad", "[[demo:bad-line]]"),
      "invalid_request",
      "body.messages",
      "The text [[demo:bad-line]] requests this refusal.",
    ],
  ];

  test.each(cases)("%s", async (_why, line, code, param, message) => {
    const lines = [chatLine("first", "A good one."), line, chatLine("third", "Another good one.")];
    const batch = await outcomeOf(lines, { models: ["gpt-4o-mini", "gpt-4.1-mini"] });
    expect(batch.status).toBe("failed");
    expect(batch.errors).toEqual({ object: "list", data: [{ code, line: 2, message, param }] });
    expect(batch.request_counts).toEqual({ total: 0, completed: 0, failed: 0 });
    expect(batch.failed_at).toEqual(expect.any(Number));
    expect(batch.output_file_id ?? batch.error_file_id ?? null).toBeNull();
  });
});

describe("validation", () => {
  test("reports the errors of several lines at once, each with its line", async () => {
    const batch = await outcomeOf([chatLine("a", "x"), lineWith({ url: "/v1/other" }), chatLine("a", "y"), "nonsense"]);
    expect(batch.errors?.data?.map(({ line, code }) => [line, code])).toEqual([
      [2, "invalid_url"],
      [3, "duplicate_custom_id"],
      [4, "invalid_json_line"],
    ]);
  });

  test("reports a hundred errors at most", async () => {
    const batch = await outcomeOf(["{}", ...Array.from({ length: 500 }, () => "{}")]);
    expect(batch.errors?.data).toHaveLength(100);
  });

  test("takes a file with carriage returns and without a last line feed", async () => {
    const batch = await outcomeOf(`${chatLine("a", "x")}\r\n${chatLine("b", "y")}`);
    expect(batch).toMatchObject({
      status: "completed",
      request_counts: { total: 2, completed: 2, failed: 0 },
    });
  });

  test("refuses a byte order mark at the first line", async () => {
    const { client } = await startTestGateway();
    const refused = await refusalOf(upload(client, `\uFEFF${chatLine("a", "x")}\n`));
    expect(refused.status).toBe(400);
  });

  test("refuses more lines than a batch may hold, and takes exactly as many", async () => {
    const limits = { requestsMax: 3 };
    expect(await outcomeOf(chatLines(3), { limits })).toMatchObject({ status: "completed" });
    const refused = await outcomeOf(chatLines(4), { limits });
    expect(refused).toMatchObject({ status: "failed", request_counts: { total: 0 } });
    expect(refused.errors?.data).toMatchObject([{ code: "too_many_tasks", line: null }]);
  });

  test("refuses a file that is too large for the model", async () => {
    const batch = await outcomeOf(chatLines(10), { limits: { modelBytesMax: 500 } });
    const message = "The batch input file is larger than the 500 maximum for the gpt-4o-mini model";
    expect(batch.errors?.data).toMatchObject([{ line: null, param: null, message }]);
  });

  test("fails a batch whose input does not exist, or was deleted", async () => {
    const { gateway, client } = await startTestGateway();
    const file = await upload(client, chatLines(1));
    await client.files.delete(file.id);
    for (const id of [file.id, "file-unknown"]) {
      const created = await createBatch(client, id);
      expect(created.status).toBe("validating");
      await gateway.until(created.id);
      const batch = await client.batches.retrieve(created.id);
      expect(batch.status).toBe("failed");
      const message = `Cannot find file ${id}, or organization org-demo does not have access to it.`;
      expect(batch.errors?.data).toEqual([{ code: "invalid_request", line: null, message, param: "file_id" }]);
    }
  });

  test("fails a batch whose input is deleted while it validates", async () => {
    let held = true;
    const hold = ({ status }: { status: string }) => held && status === "validating";
    const { gateway, client } = await startTestGateway({ faults: { hold } });
    const file = await upload(client, chatLines(1));
    const { id } = await createBatch(client, file.id);
    await client.files.delete(file.id);
    held = false;
    gateway.release();
    const batch = await gateway.until(id);
    expect(batch.status).toBe("failed");
    expect(batch.errors?.data).toMatchObject([{ param: "file_id" }]);
  });
});

describe("the enqueued tokens of a model", () => {
  async function submitTwo(client: OpenAI): Promise<readonly [string, string]> {
    return [await submit(client, chatLines(10)), await submit(client, chatLines(10))];
  }

  test("beyond the limit fail the batch with the limit in the message, until others have ended", async () => {
    let held = true;
    const hold = ({ status }: { status: string }) => held && status === "in_progress";
    const limits = { enqueuedTokensPerModel: { "gpt-4o-mini": 500 } };
    const { gateway, client } = await startTestGateway({ limits, faults: { hold }, organization: "org-x" });
    const [first, second] = await submitTwo(client);
    const refused = await gateway.until(second);
    expect(refused.errors?.data).toEqual([
      {
        code: "token_limit_exceeded",
        line: null,
        param: null,
        message:
          "Enqueued token limit reached for gpt-4o-mini in organization org-x. Limit: 500 enqueued tokens. " +
          "Please try again once some in_progress batches have been completed.",
      },
    ]);
    held = false;
    gateway.release();
    expect((await gateway.until(first)).status).toBe("completed");
    expect((await gateway.until(await submit(client, chatLines(10)))).status).toBe("completed");
  });

  test("are written with thousands marked, as OpenAI does", async () => {
    const { gateway, client } = await startTestGateway({ limits: { enqueuedTokensPerModel: 2_000 } });
    const batch = await gateway.until(await submit(client, chatLines(200)));
    expect(batch.errors?.data[0]?.message).toContain("Limit: 2,000 enqueued tokens.");
  });
});

describe("a create call", () => {
  type Params = Record<string, unknown>;
  const supported = "Supported values are: '/v1/chat/completions'.";
  const seventeen = Object.fromEntries(Array.from({ length: 17 }, (_, index) => [`k${index}`, "v"]));
  const cases: readonly (readonly [string, Params, string, string, string])[] = [
    [
      "without an input file",
      { input_file_id: undefined },
      "missing_required_parameter",
      "input_file_id",
      missing("input_file_id"),
    ],
    ["without an endpoint", { endpoint: undefined }, "missing_required_parameter", "endpoint", missing("endpoint")],
    [
      "for another endpoint",
      { endpoint: "/v1/lunch" },
      "invalid_value",
      "endpoint",
      `Invalid value: '/v1/lunch'. ${supported}`,
    ],
    [
      "with another window",
      { completion_window: "48h" },
      "invalid_value",
      "completion_window",
      "Invalid value: '48h'. Value must be '24h'.",
    ],
    [
      "with metadata that is no text",
      { metadata: { tags: ["a"] } },
      "invalid_type",
      "metadata.tags",
      "Invalid type for 'metadata.tags': expected a string, but got an array instead.",
    ],
    [
      "with 17 pairs of metadata",
      { metadata: seventeen },
      "object_above_max_properties",
      "metadata",
      "Expected an object with at most 16 properties",
    ],
    [
      "with a long metadata key",
      { metadata: { ["k".repeat(65)]: "v" } },
      "string_above_max_length",
      "metadata",
      "maximum length 64",
    ],
    [
      "with a long metadata value",
      { metadata: { k: "v".repeat(513) } },
      "string_above_max_length",
      "metadata.k",
      "maximum length 512",
    ],
    [
      "with a short life of its output",
      { output_expires_after: { anchor: "created_at", seconds: 60 } },
      "invalid_value",
      "output_expires_after.seconds",
      "between 3600 and 2592000",
    ],
  ];

  test.each(cases)("%s is refused", async (_why, change, code, param, message) => {
    const { gateway, client } = await startTestGateway();
    const file = await upload(client, chatLines(1));
    const body: Params = {
      input_file_id: file.id,
      endpoint: "/v1/chat/completions",
      completion_window: "24h",
      ...change,
    };
    const refused = await refusalOf(client.post("/batches", { body }));
    expect(refused).toMatchObject({ status: 400, code, param, type: "invalid_request_error" });
    expect(refused.message).toContain(message);
    expect((await gateway.journal.summary()).batches).toEqual([]);
  });

  test("keeps sixteen pairs of metadata at full length", async () => {
    const { client } = await startTestGateway();
    const file = await upload(client, chatLines(1));
    const metadata = Object.fromEntries(
      Array.from({ length: 16 }, (_, index) => [String(index).padEnd(64, "k"), "v".repeat(512)]),
    );
    const { id } = await createBatch(client, file.id, metadata);
    expect((await client.batches.retrieve(id)).metadata).toEqual(metadata);
  });

  test("for a file of another purpose is refused", async () => {
    const { client } = await startTestGateway();
    const file = await client.files.create({ file: new File(["{}"], "a.jsonl"), purpose: "user_data" });
    expect(await refusalOf(createBatch(client, file.id))).toMatchObject({
      status: 400,
      param: "input_file_id",
    });
  });

  test("for a missing file is refused at once in the older dialect", async () => {
    const { client } = await startTestGateway({ missingInput: "refused" });
    const refused = await refusalOf(createBatch(client, "file-unknown"));
    expect(refused.status).toBe(400);
    expect(refused.message).toContain("Cannot find file file-unknown, or organization org-demo");
    expect((await client.batches.list()).data).toEqual([]);
  });

  test("beyond the creations of an hour waits for its turn", async () => {
    let nowMs = Date.parse("2026-03-01T00:00:00Z");
    const { client } = await startTestGateway({
      clock: { nowMs: () => nowMs },
      limits: { creationsPerHour: 2 },
    });
    const file = await upload(client, chatLines(1));
    await createBatch(client, file.id);
    nowMs += 600_000;
    await createBatch(client, file.id);
    const refused = await refusalOf(createBatch(client, file.id));
    expect(refused).toMatchObject({ status: 429, code: "rate_limit_exceeded" });
    expect(refused.headers?.get("retry-after")).toBe("3000");
    nowMs += 3_000_000;
    expect((await createBatch(client, file.id)).status).toBe("validating");
  });
});
