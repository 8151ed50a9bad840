import { describe, expect, test } from "vitest";
import OpenAI from "openai";
import type { Call, Fault, GatewayFaults } from "../../src/gateway/engine/faults.js";
import {
  chatLine,
  chatLines,
  createBatch,
  readLines,
  refusalOf,
  startTestGateway,
  submit,
  upload,
} from "./gateway-setup.js";

/** The fault at the first call of that route, and none afterwards. */
function once(method: string, route: string, fault: Fault): (call: Call) => Fault | undefined {
  let left = 1;
  return (call) => (call.method === method && call.route === route && left-- > 0 ? fault : undefined);
}

const drop: Fault = { kind: "drop" };

describe("a scripted fault", () => {
  test("loses the reply after a create took effect", async () => {
    const { gateway, client } = await startTestGateway({
      faults: { afterEffect: once("POST", "/v1/batches", drop) },
    });
    const file = await upload(client, chatLines(2));
    await expect(createBatch(client, file.id)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    const { data } = await client.batches.list();
    expect(data).toMatchObject([{ input_file_id: file.id }]);
    expect((await gateway.until(data[0]?.id ?? "")).status).toBe("completed");
    expect((await gateway.journal.summary()).batches).toHaveLength(1);
  });

  test("drops a create before it took effect", async () => {
    const { client } = await startTestGateway({
      faults: { beforeEffect: once("POST", "/v1/batches", drop) },
    });
    const file = await upload(client, chatLines(2));
    await expect(createBatch(client, file.id)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    expect((await client.batches.list()).data).toEqual([]);
  });

  test("shows what the official client does when replies to creates are lost: three batches", async () => {
    const faults: Partial<GatewayFaults> = {
      afterEffect: (call) => (call.route === "/v1/batches" && call.method === "POST" ? drop : undefined),
    };
    const { gateway, client } = await startTestGateway({ faults });
    const file = await upload(client, chatLines(1));
    const eager = new OpenAI({ baseURL: gateway.url, apiKey: "demo", maxRetries: 2 });
    await expect(createBatch(eager, file.id)).rejects.toBeInstanceOf(OpenAI.APIConnectionError);
    expect((await gateway.journal.summary()).batches).toHaveLength(3);
  });

  test("answers something else, with its headers", async () => {
    const fault: Fault = {
      kind: "reply",
      status: 502,
      body: { error: { message: "Bad gateway", type: "server_error", param: null, code: null } },
      headers: { "retry-after": "7" },
    };
    const { client } = await startTestGateway({
      faults: { afterEffect: once("GET", "/v1/files/:id/content", fault) },
    });
    const file = await upload(client, chatLines(1));
    const refused = await refusalOf(client.files.content(file.id));
    expect(refused.status).toBe(502);
    expect(refused.headers?.get("retry-after")).toBe("7");
    expect(await readLines(client, file.id)).toHaveLength(1);
  });

  test("cuts a body short of the length that it announced", async () => {
    const { client } = await startTestGateway({
      faults: { afterEffect: once("GET", "/v1/files/:id/content", { kind: "cut", afterBytes: 100 }) },
    });
    const file = await upload(client, chatLines(50));
    const response = await client.files.content(file.id);
    expect(Number(response.headers.get("content-length"))).toBe(file.bytes);
    const received: number[] = [];
    const reading = async () => {
      for await (const piece of response.body ?? []) received.push((piece as Uint8Array).length);
    };
    await expect(reading()).rejects.toThrow();
    expect(received.reduce((sum, length) => sum + length, 0)).toBe(100);
  });

  test("stalls a body after some bytes, until the client gives up", async () => {
    const { client } = await startTestGateway({
      faults: { afterEffect: once("GET", "/v1/files/:id/content", { kind: "stall", afterBytes: 100 }) },
    });
    const file = await upload(client, chatLines(50));
    const giveUp = new AbortController();
    const response = await client.files.content(file.id, { signal: giveUp.signal });
    const reader = response.body?.getReader();
    let received = 0;
    while (received < 100) received += ((await reader?.read())?.value as Uint8Array | undefined)?.length ?? 0;
    const next = reader?.read();
    giveUp.abort();
    await expect(next).rejects.toThrow();
    expect(received).toBe(100);
  });

  test("delays a reply for as long as the test likes", async () => {
    let letGo = (): void => undefined;
    const waiting = new Promise<void>((resolve) => {
      letGo = resolve;
    });
    const order: string[] = [];
    const { client } = await startTestGateway({
      faults: {
        afterEffect: async (call) => {
          if (call.route === "/v1/models") await waiting;
          return undefined;
        },
      },
    });
    const slow = client.models.list().then(() => order.push("slow"));
    await client.batches.list();
    order.push("quick");
    letGo();
    await slow;
    expect(order).toEqual(["quick", "slow"]);
  });

  test("hides a file just after its upload", async () => {
    let visible = false;
    const { gateway, client } = await startTestGateway({ faults: { seesInput: () => visible } });
    const file = await upload(client, chatLines(1));
    const early = await createBatch(client, file.id);
    expect((await gateway.until(early.id)).errors?.data).toMatchObject([{ param: "file_id" }]);
    visible = true;
    const late = await createBatch(client, file.id);
    expect((await gateway.until(late.id)).status).toBe("completed");
  });

  test("drops, repeats and forges lines of the output", async () => {
    const transformOutput: GatewayFaults["transformOutput"] = (line) => {
      if (line.includes('"r-0"')) return [];
      if (line.includes('"r-1"')) return [line, line];
      return line.includes('"r-2"') ? [line.replace('"r-2"', '"unknown"'), "{broken"] : undefined;
    };
    const { gateway, client } = await startTestGateway({ shuffleSeed: null, faults: { transformOutput } });
    const batch = await gateway.until(await submit(client, chatLines(4)));
    const text = await (await client.files.content(batch.output_file_id ?? "")).text();
    const names = text
      .split("\n")
      .filter((line) => line !== "")
      .map((line) => /"custom_id":"([^"]*)"/.exec(line)?.[1] ?? line);
    expect(names).toEqual(["r-1", "r-1", "unknown", "{broken", "r-3"]);
    expect(batch.request_counts.completed).toBe(4);
  });

  test("shows a batch other than it is", async () => {
    const showBatch: GatewayFaults["showBatch"] = (batch) => ({
      ...batch,
      status: "in_progress",
      request_counts: { total: 15, completed: 0, failed: 0 },
    });
    const { client } = await startTestGateway({ faults: { showBatch } });
    const id = await submit(client, chatLines(2));
    expect(await client.batches.retrieve(id)).toMatchObject({
      status: "in_progress",
      request_counts: { total: 15 },
    });
  });

  test("that throws answers 500, and the next call is served", async () => {
    const logged: string[] = [];
    let thrown = false;
    const { client } = await startTestGateway({
      log: (message) => logged.push(message),
      faults: {
        afterEffect: () => {
          if (thrown) return undefined;
          thrown = true;
          throw new Error("scripted");
        },
      },
    });
    expect(await refusalOf(client.models.list())).toMatchObject({ status: 500, type: "server_error" });
    expect(logged.join()).toContain("scripted");
    expect((await client.models.list()).data.length).toBeGreaterThan(0);
  });

  test("inside a batch leaves that batch where it is, and the others run", async () => {
    const logged: string[] = [];
    const { gateway, client } = await startTestGateway({
      log: (message) => logged.push(message),
      faults: {
        transformOutput: (line) => {
          if (line.includes("poison")) throw new Error("scripted");
          return undefined;
        },
      },
    });
    const stuck = await submit(client, [chatLine("poison", "x")]);
    const well = await submit(client, [chatLine("fine", "x")]);
    expect((await gateway.until(well)).status).toBe("completed");
    expect((await client.batches.retrieve(stuck)).status).not.toBe("completed");
    expect(logged.join()).toContain(stuck);
  });
});
