import { randomBytes } from "node:crypto";
import { createReadStream, openAsBlob } from "node:fs";
import { readdir, writeFile } from "node:fs/promises";
import http from "node:http";
import { join } from "node:path";
import OpenAI, { toFile } from "openai";
import { describe, expect, test } from "vitest";
import type { Call } from "../../src/gateway/engine/faults.js";
import { chatLine, chatLines, refusalOf, startTestGateway, temporaryDir, TestClock, upload } from "./gateway-setup.js";

async function fileOnDisk(content: string | Buffer, name = "input.jsonl"): Promise<string> {
  const path = join(await temporaryDir(), name);
  await writeFile(path, content);
  return path;
}

function rememberUploads(): { readonly lengths: (number | null)[]; beforeEffect(call: Call): undefined } {
  const lengths: (number | null)[] = [];
  return {
    lengths,
    beforeEffect(call) {
      if (call.method === "POST" && call.route === "/v1/files") lengths.push(call.contentLength);
      return undefined;
    },
  };
}

describe("an uploaded file", () => {
  const tricky = `${chatLine("a", "Line\u2028separator, paragraph\u2029separator, emoji 🎬 and a tab\t.")}\n${chatLine("b", "no line feed at the end")}`;

  test("comes back byte for byte when it was sent in chunks", async () => {
    const uploads = rememberUploads();
    const { client } = await startTestGateway({ faults: uploads });
    const file = createReadStream(await fileOnDisk(tricky));
    const created = await client.files.create({ file, purpose: "batch" });
    expect(uploads.lengths).toEqual([null]);
    expect(created).toMatchObject({
      object: "file",
      filename: "input.jsonl",
      purpose: "batch",
      status: "processed",
      bytes: Buffer.byteLength(tricky),
    });
    const content = await (await client.files.content(created.id)).arrayBuffer();
    expect(Buffer.from(content).equals(Buffer.from(tricky))).toBe(true);
  });

  test("comes back byte for byte when it was sent with its length", async () => {
    const uploads = rememberUploads();
    const { client } = await startTestGateway({ faults: uploads });
    const path = await fileOnDisk(tricky);
    const file = new File([await openAsBlob(path)], "input.jsonl");
    const created = await client.files.create({ file, purpose: "batch" });
    expect(uploads.lengths).toEqual([expect.any(Number)]);
    const response = await client.files.content(created.id);
    expect(response.headers.get("content-length")).toBe(String(Buffer.byteLength(tricky)));
    expect(Buffer.from(await response.arrayBuffer()).equals(Buffer.from(tricky))).toBe(true);
  });

  test("of another purpose may hold any bytes", async () => {
    const { client } = await startTestGateway();
    const bytes = randomBytes(300_000);
    const created = await client.files.create({
      file: await toFile(bytes, "image.png"),
      purpose: "user_data",
    });
    expect(created.expires_at ?? null).toBeNull();
    const content = await (await client.files.content(created.id)).arrayBuffer();
    expect(Buffer.from(content).equals(bytes)).toBe(true);
  });

  test("lives thirty days, or as long as it asks", async () => {
    const { client } = await startTestGateway();
    const usual = await upload(client, chatLines(1));
    expect((usual.expires_at ?? 0) - usual.created_at).toBe(2_592_000);
    const short = await client.files.create({
      file: await toFile(Buffer.from(chatLines(1).join("\n")), "a.jsonl"),
      purpose: "batch",
      expires_after: { anchor: "created_at", seconds: 3_600 },
    });
    expect((short.expires_at ?? 0) - short.created_at).toBe(3_600);
  });

  test("is gone when its time has passed by the gateway's clock", async () => {
    const clock = new TestClock("2026-03-01T00:00:00Z");
    const { client } = await startTestGateway({ clock });
    const file = await upload(client, chatLines(1));
    clock.advanceSeconds(2_591_999);
    expect((await client.files.retrieve(file.id)).id).toBe(file.id);
    clock.advanceSeconds(1);
    expect((await refusalOf(client.files.retrieve(file.id))).status).toBe(404);
    expect((await client.files.list()).data).toEqual([]);
  });

  test("is gone after its deletion, which says so once", async () => {
    const { client, dataDir } = await startTestGateway();
    const file = await upload(client, chatLines(1));
    expect(await client.files.delete(file.id)).toEqual({ id: file.id, object: "file", deleted: true });
    for (const call of ["delete", "retrieve", "content"] as const) {
      const refused = await refusalOf(client.files[call](file.id));
      expect(refused).toMatchObject({ status: 404, param: "id", type: "invalid_request_error" });
      expect(refused.message).toContain(`No such File object: ${file.id}`);
    }
    expect(await readdir(join(dataDir, "files"))).toEqual([]);
  });
});

describe("an upload is refused", () => {
  const wrongFormat = "Invalid file format for Batch API. Must be .jsonl";
  const cases: readonly (readonly [string, string | Buffer, string, string])[] = [
    ["for its name", chatLines(1).join("\n"), "input.txt", wrongFormat],
    ["when it is empty", "", "in.jsonl", wrongFormat],
    ["when its first line is not JSON", "hello\n{}\n", "in.jsonl", wrongFormat],
    [
      "when it is not UTF-8",
      Buffer.concat([Buffer.from(`${chatLine("a", "x")}\n`), Buffer.from([0xff, 0xfe, 0x0a])]),
      "in.jsonl",
      "Invalid file for Batch API. Must be utf-8 encoded",
    ],
    [
      "when its last character is cut",
      Buffer.from(`${chatLine("a", "x")}\né`).subarray(0, -1),
      "in.jsonl",
      "Invalid file for Batch API. Must be utf-8 encoded",
    ],
    ["when it has more bytes than allowed", "x".repeat(5_001), "in.jsonl", "File is too large."],
  ];

  test.each(cases)("%s", async (_why, content, name, message) => {
    const { client, dataDir } = await startTestGateway({ limits: { bytesMax: 5_000 } });
    const file = await toFile(Buffer.from(content), name);
    const refused = await refusalOf(client.files.create({ file, purpose: "batch" }));
    expect(refused).toMatchObject({ status: 400, code: null, param: null, type: "invalid_request_error" });
    expect(refused.error).toMatchObject({ message });
    expect(await readdir(join(dataDir, "files"))).toEqual([]);
  });

  test("for a purpose that does not exist", async () => {
    const { client } = await startTestGateway();
    const file = await toFile(Buffer.from("{}"), "a.jsonl");
    const refused = await refusalOf(client.files.create({ file, purpose: "lunch" as "batch" }));
    expect(refused.status).toBe(400);
    expect(refused.message).toContain("'lunch' is not one of");
  });

  test.each([
    ["without a file", (form: FormData) => form.set("purpose", "batch"), "file"],
    ["without a purpose", (form: FormData) => form.set("file", new Blob(["{}"]), "a.jsonl"), "purpose"],
  ])("%s", async (_why, fill, param) => {
    const { gateway } = await startTestGateway();
    const form = new FormData();
    fill(form);
    const headers = { authorization: "Bearer demo" };
    const response = await fetch(`${gateway.url}/files`, { method: "POST", body: form, headers });
    expect(response.status).toBe(400);
    expect(await response.json()).toMatchObject({ error: { param, code: "missing_required_parameter" } });
  });

  /** Sends the first bytes of an upload and waits until they are on disk. */
  async function beginUpload(url: string, dataDir: string): Promise<http.ClientRequest> {
    const headers = { authorization: "Bearer demo", "content-type": "multipart/form-data; boundary=x" };
    const request = http.request(`${url}/files`, { method: "POST", headers, agent: false });
    request.on("error", () => undefined);
    request.write('--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n{"half":');
    await expect.poll(() => readdir(join(dataDir, "files"))).toHaveLength(1);
    return request;
  }

  test("and forgotten when the client hangs up half way", async () => {
    const { gateway, client, dataDir } = await startTestGateway();
    (await beginUpload(gateway.url, dataDir)).destroy();
    await expect.poll(() => readdir(join(dataDir, "files"))).toEqual([]);
    expect((await client.files.list()).data).toEqual([]);
  });

  test("and forgotten when the gateway closes half way", async () => {
    const { gateway, dataDir } = await startTestGateway();
    const request = await beginUpload(gateway.url, dataDir);
    const hungUp = new Promise<void>((resolve) => request.once("close", () => resolve()));
    await gateway.close();
    await hungUp;
    await expect.poll(() => readdir(join(dataDir, "files"))).toEqual([]);
  });

  test("but one of exactly the allowed bytes, or with a bad line further down, is taken", async () => {
    const { client } = await startTestGateway({ limits: { bytesMax: 5_000 } });
    const first = chatLine("a", "x");
    const content = `${first}\n${"y".repeat(4_999 - first.length)}`;
    expect((await upload(client, content)).bytes).toBe(5_000);
  });
});

describe("the list of files", () => {
  async function threeFiles(client: OpenAI): Promise<string[]> {
    const ids: string[] = [];
    for (const name of ["a.jsonl", "b.jsonl", "c.jsonl"]) ids.push((await upload(client, chatLines(1), name)).id);
    return ids;
  }

  test("begins with the newest, and is reversed on request", async () => {
    const { client } = await startTestGateway();
    const ids = await threeFiles(client);
    expect((await client.files.list()).data.map((file) => file.id)).toEqual(ids.toReversed());
    expect((await client.files.list({ order: "asc" })).data.map((file) => file.id)).toEqual(ids);
  });

  test("comes in pages that the client walks through", async () => {
    const { client } = await startTestGateway();
    const ids = await threeFiles(client);
    const first = await client.files.list({ limit: 2 });
    expect(first.has_more).toBe(true);
    const walked: string[] = [];
    for await (const file of client.files.list({ limit: 1 })) walked.push(file.id);
    expect(walked).toEqual(ids.toReversed());
  });

  test("is narrowed to a purpose", async () => {
    const { client } = await startTestGateway();
    await threeFiles(client);
    const other = await client.files.create({
      file: await toFile(Buffer.from("x"), "x"),
      purpose: "user_data",
    });
    expect((await client.files.list({ purpose: "user_data" })).data.map((file) => file.id)).toEqual([other.id]);
    expect((await client.files.list({ purpose: "batch" })).data).toHaveLength(3);
  });

  test.each([
    [{ limit: 0 }, 400, "integer_below_min_value", "limit"],
    [{ limit: 10_001 }, 400, "integer_above_max_value", "limit"],
    [{ order: "sideways" as "asc" }, 400, "invalid_value", "order"],
    [{ after: "file-unknown" }, 404, null, "after"],
  ])("refuses %j", async (query, status, code, param) => {
    const { client } = await startTestGateway();
    expect(await refusalOf(client.files.list(query))).toMatchObject({ status, code, param });
  });
});
