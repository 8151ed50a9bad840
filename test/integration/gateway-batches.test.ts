import { describe, expect, test } from "vitest";
import { contentHashOf } from "../../src/gateway/storage/journal.js";
import {
  chatLine,
  chatLines,
  createBatch,
  readLines,
  refusalOf,
  startTestGateway,
  submit,
  TestClock,
  upload,
} from "./gateway-setup.js";

/** Holds batches in the named status until the test opens it. */
function gate(status: string): { hold(batch: { status: string }): boolean; open(): void } {
  let isOpen = false;
  return {
    hold: (batch) => !isOpen && batch.status === status,
    open: () => {
      isOpen = true;
    },
  };
}

const ids = (lines: readonly { custom_id: string }[]) => lines.map((line) => line.custom_id);
const numbered = (count: number) => Array.from({ length: count }, (_, index) => `r-${index}`);

describe("a batch", () => {
  test("passes through its statuses, each with its time, and ends with every request answered", async () => {
    const clock = new TestClock("2026-03-01T00:00:00Z");
    const start = clock.nowMs() / 1000;
    const seen: string[] = [];
    const { gateway, client } = await startTestGateway({
      clock,
      faults: {
        hold: (batch) => {
          seen.push(batch.status);
          clock.advanceSeconds(10);
          return false;
        },
      },
    });
    const id = await submit(client, chatLines(250));
    await gateway.until(id);
    expect(seen).toEqual(["validating", "in_progress", "finalizing"]);
    expect(await client.batches.retrieve(id)).toMatchObject({
      object: "batch",
      endpoint: "/v1/chat/completions",
      model: "gpt-4o-mini",
      completion_window: "24h",
      status: "completed",
      created_at: start,
      expires_at: start + 86_400,
      in_progress_at: start + 10,
      finalizing_at: start + 20,
      completed_at: start + 30,
      failed_at: null,
      expired_at: null,
      cancelling_at: null,
      cancelled_at: null,
      errors: null,
      error_file_id: null,
      request_counts: { total: 250, completed: 250, failed: 0 },
      metadata: null,
    });
  });

  test("has no file ids before it has ended, and says meanwhile how far it is", async () => {
    const { gateway, client } = await startTestGateway({ latencyMs: 1 });
    const id = await submit(client, chatLines(250));
    const half = await gateway.until(id, (batch) => batch.request_counts.completed === 100);
    expect(half).toMatchObject({
      status: "in_progress",
      request_counts: { total: 250, completed: 100, failed: 0 },
      output_file_id: null,
    });
    expect((await gateway.until(id)).output_file_id).toEqual(expect.stringMatching(/^file-/));
  });

  test("answers each request once, in an order that is not the input's but always the same", async () => {
    const orders: string[][] = [];
    for (let run = 0; run < 2; run++) {
      const { gateway, client } = await startTestGateway({ shuffleSeed: 7 });
      const batch = await gateway.until(await submit(client, chatLines(40)));
      orders.push(ids(await readLines(client, batch.output_file_id)));
    }
    expect(orders[0]).toEqual(orders[1]);
    expect(orders[0]).not.toEqual(numbered(40));
    expect(orders[0]?.toSorted()).toEqual(numbered(40).toSorted());
  });

  test("keeps the input's order where that option is set", async () => {
    const { gateway, client } = await startTestGateway({ shuffleSeed: null });
    const batch = await gateway.until(await submit(client, chatLines(40)));
    expect(ids(await readLines(client, batch.output_file_id))).toEqual(numbered(40));
  });

  test("sums the tokens that its answers report", async () => {
    const { gateway, client } = await startTestGateway();
    const id = await submit(client, chatLines(120));
    const lines = await readLines(client, (await gateway.until(id)).output_file_id);
    const sum = (name: "prompt_tokens" | "completion_tokens") =>
      lines.reduce((total, line) => total + (line.response?.body.usage[name] ?? 0), 0);
    expect((await client.batches.retrieve(id)).usage).toMatchObject({
      input_tokens: sum("prompt_tokens"),
      output_tokens: sum("completion_tokens"),
      total_tokens: sum("prompt_tokens") + sum("completion_tokens"),
    });
    expect(sum("completion_tokens")).toBeGreaterThan(0);
  });

  test("writes failed requests into the error file with the detail in the response's body", async () => {
    const { gateway, client } = await startTestGateway();
    const id = await submit(client, [
      chatLine("good", "A love story."),
      chatLine("bad", "[[demo:error 400]]"),
      chatLine("busy", "[[demo:error 429]]"),
      chatLine("down", "[[demo:error 503]]"),
    ]);
    const batch = await gateway.until(id);
    expect(batch).toMatchObject({
      status: "completed",
      request_counts: { total: 4, completed: 1, failed: 3 },
    });
    expect(ids(await readLines(client, batch.output_file_id))).toEqual(["good"]);
    const failures = await readLines(client, batch.error_file_id);
    const byId = Object.fromEntries(failures.map((line) => [line.custom_id, line]));
    expect(failures.map((line) => line.error)).toEqual([null, null, null]);
    expect(byId["bad"]?.response).toMatchObject({
      status_code: 400,
      body: { error: { type: "invalid_request_error", param: null, code: null } },
    });
    expect(byId["busy"]?.response).toMatchObject({
      status_code: 429,
      body: { error: { code: "rate_limit_exceeded" } },
    });
    expect(byId["down"]?.response).toMatchObject({
      status_code: 503,
      body: { error: { type: "server_error" } },
    });
  });

  test("whose every request failed is completed, without an output file", async () => {
    const { gateway, client } = await startTestGateway();
    const batch = await gateway.until(await submit(client, [chatLine("a", "[[demo:error]]")]));
    expect(batch).toMatchObject({ status: "completed", output_file_id: null, request_counts: { failed: 1 } });
    expect(await readLines(client, batch.error_file_id)).toHaveLength(1);
  });

  test("gives its output files a purpose, a name, and the life that was asked for", async () => {
    const { gateway, client } = await startTestGateway();
    const file = await upload(client, chatLines(1));
    const created = await client.batches.create({
      input_file_id: file.id,
      endpoint: "/v1/chat/completions",
      completion_window: "24h",
      output_expires_after: { anchor: "created_at", seconds: 7_200 },
    });
    const { output_file_id: outputId } = await gateway.until(created.id);
    const output = await client.files.retrieve(outputId ?? "");
    expect(output).toMatchObject({ purpose: "batch_output", filename: `${created.id}_output.jsonl` });
    expect((output.expires_at ?? 0) - output.created_at).toBe(7_200);
  });

  test.each([
    ["absent" as const, undefined],
    ["" as const, ""],
    [null, null],
  ])("writes a file id that is not there as %j in that dialect", async (absentFileIds, expected) => {
    const { gateway, client } = await startTestGateway({ absentFileIds });
    const id = await submit(client, chatLines(1));
    await gateway.until(id);
    const batch = await client.batches.retrieve(id);
    expect(batch.error_file_id).toBe(expected);
    expect("error_file_id" in batch).toBe(expected !== undefined);
  });

  test("continues when its input file is deleted while it runs", async () => {
    const door = gate("in_progress");
    const { gateway, client } = await startTestGateway({ faults: { hold: door.hold } });
    const file = await upload(client, chatLines(5));
    const { id } = await createBatch(client, file.id);
    await gateway.until(id, (batch) => batch.status === "in_progress");
    await client.files.delete(file.id);
    door.open();
    gateway.release();
    expect(await gateway.until(id)).toMatchObject({ status: "completed", request_counts: { completed: 5 } });
  });
});

describe("cancelling", () => {
  test("keeps the answers so far and names the rest in the error file", async () => {
    const { gateway, client } = await startTestGateway({ latencyMs: 1, faults: { hold: () => false } });
    const id = await submit(client, chatLines(300));
    gateway.cancel(id, { afterRequests: 120 });
    const batch = await gateway.until(id);
    expect(batch).toMatchObject({
      status: "cancelled",
      request_counts: { total: 300, completed: 120, failed: 0 },
      cancelling_at: expect.any(Number) as number,
      cancelled_at: expect.any(Number) as number,
    });
    const done = ids(await readLines(client, batch.output_file_id));
    const rest = await readLines(client, batch.error_file_id);
    expect(done.toSorted()).toEqual(numbered(120).toSorted());
    expect([...done, ...ids(rest)].toSorted()).toEqual(numbered(300).toSorted());
    expect(new Set(rest.map((line) => `${line.error?.code} ${String(line.response)}`))).toEqual(
      new Set(["batch_cancelled null"]),
    );
    expect((await gateway.journal.summary()).executed).toBe(120);
  });

  test("by a client shows cancelling first, and may be asked for twice", async () => {
    const door = gate("cancelling");
    const start = gate("in_progress");
    const hold = (batch: { status: string }) => door.hold(batch) || start.hold(batch);
    const { gateway, client } = await startTestGateway({ faults: { hold } });
    const id = await submit(client, chatLines(10));
    await gateway.until(id, (batch) => batch.status === "in_progress");
    expect((await client.batches.cancel(id)).status).toBe("cancelling");
    expect((await client.batches.cancel(id)).status).toBe("cancelling");
    door.open();
    gateway.release();
    await gateway.until(id);
    expect((await client.batches.cancel(id)).status).toBe("cancelled");
    expect((await gateway.journal.summary()).executed).toBe(0);
  });

  test("while it validates leaves no files and no counts", async () => {
    const door = gate("validating");
    const { gateway, client } = await startTestGateway({ faults: { hold: door.hold } });
    const id = await submit(client, chatLines(10));
    await client.batches.cancel(id);
    const batch = await gateway.until(id);
    expect(batch).toMatchObject({
      status: "cancelled",
      output_file_id: null,
      error_file_id: null,
      request_counts: { total: 0, completed: 0, failed: 0 },
    });
  });

  test("of a batch that ended otherwise is a conflict", async () => {
    const { gateway, client } = await startTestGateway();
    const completed = await submit(client, chatLines(1));
    const failed = await submit(client, "{}\n");
    for (const [id, status] of [
      [completed, "completed"],
      [failed, "failed"],
    ] as const) {
      await gateway.until(id);
      const refused = await refusalOf(client.batches.cancel(id));
      expect(refused).toMatchObject({ status: 409, type: "invalid_request_error", param: null, code: null });
      expect(refused.error).toMatchObject({ message: `Cannot cancel a batch with status '${status}'.` });
    }
  });

  test("may lose against completion", async () => {
    const start = gate("in_progress");
    const faults = { hold: start.hold, cancelWins: () => false };
    const { gateway, client } = await startTestGateway({ faults });
    const id = await submit(client, chatLines(10));
    await gateway.until(id, (batch) => batch.status === "in_progress");
    expect((await client.batches.cancel(id)).status).toBe("cancelling");
    expect(await gateway.until(id)).toMatchObject({ status: "completed", request_counts: { completed: 10 } });
  });

  test("of an unknown batch is not found", async () => {
    const { client } = await startTestGateway();
    for (const call of [client.batches.cancel("batch_1"), client.batches.retrieve("batch_1")]) {
      const refused = await refusalOf(call);
      expect(refused).toMatchObject({ status: 404, type: "invalid_request_error" });
      expect(refused.message).toContain("No batch found with id 'batch_1'");
    }
  });
});

describe("expiring", () => {
  test("keeps the answers so far and names the rest in the error file", async () => {
    const { gateway, client } = await startTestGateway({ faults: { hold: () => true } });
    const id = await submit(client, [...chatLines(150), chatLine("late", "x")]);
    gateway.expire(id, { afterRequests: 130 });
    const batch = await gateway.until(id);
    expect(batch).toMatchObject({
      status: "expired",
      expired_at: expect.any(Number) as number,
      request_counts: { total: 151, completed: 130, failed: 0 },
    });
    expect(await readLines(client, batch.output_file_id)).toHaveLength(130);
    const rest = await readLines(client, batch.error_file_id);
    expect(rest).toHaveLength(21);
    expect(rest[0]).toMatchObject({
      response: null,
      error: {
        code: "batch_expired",
        message: "This request could not be executed before the completion window expired.",
      },
    });
  });

  test("happens by the clock, a day after the creation", async () => {
    const clock = new TestClock("2026-03-01T00:00:00Z");
    const door = gate("in_progress");
    const { gateway, client } = await startTestGateway({ clock, faults: { hold: door.hold } });
    const id = await submit(client, chatLines(3));
    await gateway.until(id, (batch) => batch.status === "in_progress");
    clock.advanceSeconds(86_400);
    await client.batches.retrieve(id);
    const batch = await gateway.until(id);
    expect(batch).toMatchObject({ status: "expired", output_file_id: null });
    expect(await readLines(client, batch.error_file_id)).toHaveLength(3);
    expect((await refusalOf(client.batches.cancel(id))).status).toBe(409);
  });

  test("from the provider's side is refused for a batch that has ended", async () => {
    const { gateway, client } = await startTestGateway();
    const id = await submit(client, chatLines(1));
    await gateway.until(id);
    expect(() => gateway.expire(id)).toThrow("is already completed");
    expect(() => gateway.cancel("batch_1")).toThrow("is unknown");
  });
});

describe("the list of batches", () => {
  test("comes in pages, newest first, that the client walks through", async () => {
    const { client } = await startTestGateway();
    const file = await upload(client, chatLines(1));
    const created: string[] = [];
    for (let index = 0; index < 25; index++) created.push((await createBatch(client, file.id)).id);
    const page = await client.batches.list();
    expect(page.data.map((batch) => batch.id)).toEqual(created.toReversed().slice(0, 20));
    expect(page.has_more).toBe(true);
    const walked: string[] = [];
    for await (const batch of client.batches.list({ limit: 7 })) walked.push(batch.id);
    expect(walked).toEqual(created.toReversed());
    const rest = await client.batches.list({ after: created[5] ?? "" });
    expect(rest.data.map((batch) => batch.id)).toEqual(created.slice(0, 5).toReversed());
    expect(rest.has_more).toBe(false);
  });

  test.each([
    [{ limit: 0 }, 400, "integer_below_min_value"],
    [{ limit: 101 }, 400, "integer_above_max_value"],
    [{ limit: "x" as unknown as number }, 400, "invalid_type"],
    [{ after: "batch_unknown" }, 404, null],
  ])("refuses %j", async (query, status, code) => {
    const { client } = await startTestGateway();
    expect(await refusalOf(client.batches.list(query))).toMatchObject({ status, code });
  });
});

describe("the journal", () => {
  test("says which batches were created from which file, and how often each request and message was executed", async () => {
    const { gateway, client } = await startTestGateway();
    const file = await upload(client, [chatLine("a", "One."), chatLine("b", "Two.")], "mine.jsonl");
    const first = await createBatch(client, file.id, { run: "1" });
    const second = await createBatch(client, file.id, { run: "2" });
    await Promise.all([gateway.until(first.id), gateway.until(second.id)]);
    const summary = await gateway.journal.summary();
    expect(summary.batches).toMatchObject([
      { batchId: first.id, inputFileId: file.id, inputFilename: "mine.jsonl", metadata: { run: "1" } },
      { batchId: second.id, inputFileId: file.id, inputFilename: "mine.jsonl", metadata: { run: "2" } },
    ]);
    expect(summary.executed).toBe(4);
    expect(Object.fromEntries(summary.executedByCustomId)).toEqual({ a: 2, b: 2 });
    expect(Object.fromEntries(summary.executedByContent)).toEqual({
      [contentHashOf("One.")]: 2,
      [contentHashOf("Two.")]: 2,
    });
    expect(Object.fromEntries(summary.calls)).toMatchObject({ "POST /v1/files": 1, "POST /v1/batches": 2 });
  });

  test("has the moves of each batch in order, and no word of any message or key", async () => {
    const { gateway, client } = await startTestGateway();
    const id = await submit(client, [chatLine("a", "A confidential plot.")]);
    await gateway.until(id);
    const statuses: string[] = [];
    const texts: string[] = [];
    for await (const entry of gateway.journal.entries()) {
      texts.push(JSON.stringify(entry));
      if (entry.kind === "status" && entry.batchId === id) statuses.push(entry.status);
    }
    expect(statuses).toEqual(["in_progress", "finalizing", "completed"]);
    expect(texts.join("\n")).not.toMatch(/confidential|Bearer|"demo"/);
  });
});
