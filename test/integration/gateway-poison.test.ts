/**
 * Lines that ask for what no model can answer, and batches in which something goes wrong: neither takes the gateway or
 * another batch along.
 */
import { describe, expect, test } from "vitest";
import { ANSWER_CHARS_MAX } from "../../src/gateway/demo-model/answer-text.js";
import { chatLine, chatLines, readLines, refusalOf, startTestGateway, submit } from "./gateway-setup.js";

type Schema = Readonly<Record<string, unknown>>;

const thousandOf = (items: Schema): Schema => ({ type: "array", items, minItems: 1_000 });
const refersTo = (name: string): Schema => ({ $ref: `#/$defs/${name}` });
const objectOf = (properties: Record<string, Schema>): Schema => ({
  type: "object",
  properties,
  required: Object.keys(properties),
});
const named = (count: number, of: Schema): Record<string, Schema> =>
  Object.fromEntries(Array.from({ length: count }, (_, index) => [`email${index}`, of]));
const many = <T>(count: number, of: (index: number) => T): T[] =>
  Array.from({ length: count }, (_, index) => of(index));

const poisons: Readonly<Record<string, Schema>> = {
  "three nested arrays of a thousand long texts": thousandOf(
    thousandOf(thousandOf({ type: "string", minLength: 10_000 })),
  ),
  "a required property that refers to its own object": {
    ...objectOf({ child: refersTo("node") }),
    $defs: { node: objectOf({ child: refersTo("node") }) },
  },
  "two required properties that refer to their own object": {
    ...objectOf({ a: refersTo("node") }),
    $defs: { node: objectOf({ a: refersTo("node"), b: refersTo("node") }) },
  },
  "an array that needs itself as an element": {
    ...thousandOf(refersTo("list")),
    $defs: { list: thousandOf(refersTo("list")) },
  },
  "a thousand arrays of a hundred thousand words to choose from": {
    ...objectOf(named(1_000, thousandOf(refersTo("word")))),
    $defs: { word: { enum: many(100_000, (index) => `word ${index}`) } },
  },
  "a thousand properties that merge twenty thousand schemas each": {
    ...objectOf(named(1_000, refersTo("merged"))),
    $defs: { merged: { allOf: many(20_000, (index) => ({ [`key${index}`]: 1 })) } },
  },
  "a thousand properties that choose among a hundred thousand": {
    ...objectOf(named(1_000, refersTo("choice"))),
    $defs: { choice: { anyOf: many(100_000, () => ({ type: "null" })) } },
  },
  "a thousand times a constant of a million characters": thousandOf({ const: "x".repeat(1_000_000) }),
  "ten thousand addresses in a text of letters only": objectOf(named(10_000, { type: "string" })),
};

function formatOf(schema: Schema): object {
  return { response_format: { type: "json_schema", json_schema: { name: "a", strict: true, schema } } };
}

function poisonLine(customId: string, schema: Schema): string {
  return chatLine(customId, "a".repeat(100_000), formatOf(schema));
}

/** A schema whose constant is nested too deep for JSON.stringify, so that the model throws. */
function throwingLine(customId: string): string {
  const deep = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  return chatLine(customId, "A heist.", formatOf({ const: "DEEP" })).replace('"DEEP"', deep);
}

describe("a line with a schema that no model can answer", () => {
  test.each(Object.entries(poisons))("ends at a bound: %s", async (_, schema) => {
    const { gateway, client } = await startTestGateway();
    const lines = [poisonLine("poison", schema), chatLine("fine", "A heist.")];
    const batch = await gateway.until(await submit(client, lines));
    expect(batch).toMatchObject({ status: "completed", request_counts: { completed: 2, failed: 0 } });
    const answers = await readLines(client, batch.output_file_id);
    const choiceOf = (id: string) => answers.find((line) => line.custom_id === id)?.response?.body.choices[0];
    expect(choiceOf("poison")?.finish_reason).toBe("length");
    expect(choiceOf("poison")?.message.content?.length).toBeLessThanOrEqual(ANSWER_CHARS_MAX);
    expect(choiceOf("fine")?.finish_reason).toBe("stop");
  });

  test("is answered after a restart of a gateway that had crashed on it", async () => {
    const before = await startTestGateway({ faults: { hold: (batch) => batch.status === "in_progress" } });
    const lines = Object.values(poisons).map((schema, index) => poisonLine(`poison-${index}`, schema));
    const id = await submit(before.client, lines);
    await before.gateway.until(id, (batch) => batch.status === "in_progress");
    await before.gateway.close();
    const { gateway } = await startTestGateway({ dataDir: before.dataDir });
    expect((await gateway.until(id)).request_counts).toMatchObject({ completed: lines.length, failed: 0 });
  });
});

describe("what goes wrong inside of one line", () => {
  test("is a 500 of that line in the error file, and the others are answered", async () => {
    const logged: string[] = [];
    const { gateway, client } = await startTestGateway({ log: (message) => logged.push(message) });
    const lines = [chatLine("first", "A heist."), throwingLine("deep"), chatLine("last", "A heist.")];
    const batch = await gateway.until(await submit(client, lines));
    expect(batch).toMatchObject({
      status: "completed",
      request_counts: { total: 3, completed: 2, failed: 1 },
    });
    expect(await readLines(client, batch.error_file_id)).toMatchObject([
      {
        custom_id: "deep",
        response: { status_code: 500, body: { error: { type: "server_error" } } },
        error: null,
      },
    ]);
    expect(logged.join("\n")).toContain("1 requests got status 500");
  });

  test("is a 500 of each line that a gateway started with other models does not take any more", async () => {
    const before = await startTestGateway({ faults: { hold: (batch) => batch.status === "in_progress" } });
    const id = await submit(before.client, [chatLine("a", "A heist."), chatLine("b", "A heist.")]);
    await before.gateway.until(id, (batch) => batch.status === "in_progress");
    await before.gateway.close();
    const { dataDir } = before;
    const { gateway, client } = await startTestGateway({
      dataDir,
      models: ["another"],
      log: () => undefined,
    });
    const batch = await gateway.until(id);
    expect(batch.request_counts).toEqual({ total: 2, completed: 0, failed: 2 });
    const failed = await readLines(client, batch.error_file_id);
    expect(failed.map((line) => line.custom_id).toSorted()).toEqual(["a", "b"]);
    expect(failed.map((line) => line.response?.status_code)).toEqual([500, 500]);
  });

  test("answers a live call with a 500, and the next one is served", async () => {
    let throws = 1;
    const afterEffect = () => {
      if (throws-- > 0) throw new Error("this call");
      return undefined;
    };
    const { client } = await startTestGateway({ log: () => undefined, faults: { afterEffect } });
    const post = (line: string) =>
      fetch(`${client.baseURL}/chat/completions`, {
        method: "POST",
        headers: { authorization: "Bearer demo", "content-type": "application/json" },
        body: line.slice(line.indexOf('"body":') + '"body":'.length, -1),
      });
    expect((await post(chatLine("x", "A heist."))).status).toBe(500);
    expect((await post(chatLine("x", "A heist."))).status).toBe(200);
  });
});

test("a live call that is nested too deep is refused with the limit", async () => {
  const { client } = await startTestGateway();
  const refused = await refusalOf(
    client.post("/chat/completions", { body: Buffer.from("[".repeat(10_000_000)) as never }),
  );
  expect(refused).toMatchObject({ status: 400, type: "invalid_request_error" });
  expect(refused.message).toBe("400 The JSON is nested deeper than the limit of 500 levels.");
});

describe("a line of more values than a memory holds", () => {
  test.each([
    ["arrays", "[],"],
    ["objects", "{},"],
    ["numbers", "1,"],
  ])("is no request: two million %s", async (_, value) => {
    const { gateway, client } = await startTestGateway();
    const tools = `[${value.repeat(2_000_000)}0]`;
    const line = chatLine("many", "A heist.", { tools: "TOOLS" }).replace('"TOOLS"', tools);
    const batch = await gateway.until(await submit(client, [chatLine("fine", "A heist."), line]));
    expect(batch).toMatchObject({
      status: "failed",
      errors: { data: [{ code: "invalid_json_line", line: 2 }] },
    });
  });

  test("is distinguished from a long text with as many commas and brackets", async () => {
    const { gateway, client } = await startTestGateway();
    const text = 'A heist, "a dragon" [and] {a king},\\ '.repeat(100_000);
    const batch = await gateway.until(await submit(client, [chatLine("long", text)]));
    expect(batch).toMatchObject({ status: "completed", request_counts: { completed: 1 } });
  });
});

describe("a cancel", () => {
  test("ends a batch that waits for its turn while others run", async () => {
    const { gateway, client } = await startTestGateway({ latencyMs: 3_600_000 });
    const lines = chatLines(101);
    const running = await Promise.all(many(4, () => submit(client, lines)));
    for (const id of running) await gateway.until(id, (batch) => batch.request_counts.completed === 100);
    const waiting = await submit(client, lines);
    await client.batches.cancel(waiting);
    expect((await gateway.until(waiting)).status).toBe("cancelled");
  });

  test("ends a batch between two lines that take long", async () => {
    const { gateway, client } = await startTestGateway();
    const schema = objectOf(named(10_000, { type: "string" }));
    const id = await submit(
      client,
      many(100, (index) => poisonLine(`poison-${index}`, schema)),
    );
    await gateway.until(id, (batch) => batch.status === "in_progress");
    await client.batches.cancel(id);
    const batch = await gateway.until(id);
    expect(batch.status).toBe("cancelled");
    expect(batch.request_counts).toMatchObject({ total: 100, failed: 0 });
    expect(batch.request_counts.completed).toBeLessThan(100);
    const rest = await readLines(client, batch.error_file_id);
    expect(rest).toHaveLength(100 - batch.request_counts.completed);
    expect(new Set(rest.map((line) => line.error?.code))).toEqual(new Set(["batch_cancelled"]));
  });

  test("ends a batch whose files cannot be written, without them", async () => {
    const faults = {
      transformOutput: (): never => {
        throw new Error("scripted");
      },
    };
    const { gateway, client } = await startTestGateway({ faults, log: () => undefined });
    const id = await submit(client, [chatLine("a", "A heist.")]);
    await gateway.until(id, (batch) => batch.status === "finalizing");
    await client.batches.cancel(id);
    expect(await gateway.until(id)).toMatchObject({ status: "cancelled", output_file_id: null });
  });

  test("ends a batch in which something else went wrong before", async () => {
    let broken = true;
    const hold = (batch: { status: string }): boolean => {
      if (broken && batch.status === "in_progress") throw new Error("scripted");
      return false;
    };
    const logged: string[] = [];
    const { gateway, client } = await startTestGateway({
      faults: { hold },
      log: (message) => logged.push(message),
    });
    const cancelled = await submit(client, [chatLine("a", "A heist.")]);
    const fixed = await submit(client, [chatLine("b", "A heist.")]);
    await expect.poll(() => logged.filter((line) => line.includes("is retried")).length).toBeGreaterThan(1);
    await client.batches.cancel(cancelled);
    expect((await gateway.until(cancelled)).status).toBe("cancelled");
    broken = false;
    expect((await gateway.until(fixed)).status).toBe("completed");
  });
});
