import { readdir, readFile, stat } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { readJournal, type JournalEntry, type JournalReader } from "../../src/gateway/storage/journal.js";
import { RawHttp, head } from "../support/raw-http.js";
import {
  chatLine,
  chatLines,
  clientOf,
  createBatch,
  readLines,
  refusalOf,
  startTestGateway,
  submit,
  TestClock,
  upload,
} from "./gateway-setup.js";

const AUTHORIZATION = { authorization: "Bearer demo" };
const DAY_SECONDS = 86_400;

async function entriesOf(journal: JournalReader): Promise<JournalEntry[]> {
  const entries: JournalEntry[] = [];
  for await (const entry of journal.entries()) entries.push(entry);
  return entries;
}

async function journalBytes(dataDir: string): Promise<number> {
  const names = (await readdir(dataDir)).filter((name) => /^journal.*\.jsonl$/.test(name));
  const sizes = await Promise.all(names.map(async (name) => (await stat(join(dataDir, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}

describe("refused calls", () => {
  test("take a bounded part of the journal, and are counted all the same", async () => {
    const clock = new TestClock("2031-05-06T07:08:09Z");
    const { gateway, client, dataDir } = await startTestGateway({ clock });
    const path = "a".repeat(10_000);
    const call = () => fetch(`${client.baseURL}/nowhere/${path}`, { headers: AUTHORIZATION });
    for (let sent = 0; sent < 1_600; sent += 40) await Promise.all(Array.from({ length: 40 }, call));
    expect(await journalBytes(dataDir)).toBeLessThan(50_000);
    expect((await gateway.journal.summary()).calls).toEqual(new Map([["GET no route", 1_600]]));
    const entries = await entriesOf(gateway.journal);
    expect(entries.filter(({ kind }) => kind === "call")).toHaveLength(100);
    expect(entries.at(-1)).toEqual({
      kind: "refusedCalls",
      at: clock.nowMs(),
      method: "GET",
      route: "no route",
      status: 404,
      calls: 1_500,
    });
  });

  test("that were counted are in the journal after the gateway has closed", async () => {
    const { gateway, client, dataDir } = await startTestGateway();
    for (let sent = 0; sent < 130; sent++) await refusalOf(client.files.retrieve("file-none"));
    await gateway.close();
    expect((await readJournal(dataDir).summary()).calls).toEqual(new Map([["GET /v1/files/:id", 130]]));
  });
});

describe("a key", () => {
  test("above its rate hears when it may call again, and others are served", async () => {
    const clock = new TestClock("2031-05-06T07:08:09Z");
    const keys = { apiKeys: ["first-key", "second-key"], limits: { callsPerMinute: 3 } };
    const { gateway } = await startTestGateway({ ...keys, clock });
    const [first, second] = [clientOf(gateway, "first-key"), clientOf(gateway, "second-key")];
    for (let sent = 0; sent < 3; sent++) await first.models.list();
    const refused = await refusalOf(first.models.list());
    expect(refused).toMatchObject({ status: 429, code: "rate_limit_exceeded", type: "requests" });
    expect(refused.headers?.get("retry-after")).toBe("20");
    expect(refused.message).toBe(
      "429 Rate limit reached in organization org-demo on requests per min (RPM): Limit 3, Used 3, Requested 1. Please try again in 20s.",
    );
    await second.models.list();
    clock.advanceSeconds(20);
    await first.models.list();
  });
});

describe("the journal", () => {
  test("keeps its newest entries within its bound, and is read as one", async () => {
    const { gateway, client, dataDir } = await startTestGateway({ retention: { journalBytesMax: 100_000 } });
    for (let sent = 0; sent < 1_000; sent++) await client.models.list();
    expect(await journalBytes(dataDir)).toBeLessThan(100_000);
    const own = await entriesOf(gateway.journal);
    expect(own.length).toBeGreaterThan(300);
    expect(own.length).toBeLessThan(1_000);
    const ids = own.map((entry) => (entry.kind === "call" ? entry.requestId : ""));
    expect(new Set(ids).size).toBe(own.length);
    expect(await entriesOf(readJournal(dataDir))).toEqual(own);
  });

  test("that forgot its beginning still knows which texts took effect once, also after a restart", async () => {
    const options = { retention: { journalBytesMax: 70_000 } };
    const started = await startTestGateway(options);
    const { dataDir } = started;
    const once = chatLine("once", "[[demo:error-once 500]] A heist.");
    const failuresOf = async ({ gateway, client }: typeof started) =>
      (await gateway.until(await submit(client, [once]))).request_counts.failed;
    expect(await failuresOf(started)).toBe(1);
    for (let sent = 0; sent < 700; sent++) await started.client.models.list();
    await started.gateway.close();
    const again = await startTestGateway({ ...options, dataDir });
    expect((await entriesOf(again.gateway.journal)).some(({ kind }) => kind === "executed")).toBe(false);
    expect(await failuresOf(again)).toBe(0);
  });

  test("that forgot the first lines of a running batch continues it after a restart, each request once", async () => {
    const options = { retention: { journalBytesMax: 70_000 } };
    const first = await startTestGateway({ ...options, latencyMs: 1 });
    const { dataDir } = first;
    const id = await submit(first.client, chatLines(2_000));
    await first.gateway.until(id, ({ request_counts: counts }) => counts.completed >= 500);
    await first.gateway.close();
    const carried = JSON.parse(await readFile(join(dataDir, "journal-carried.json"), "utf8")) as {
      executed: Record<string, number>;
    };
    expect(carried.executed[id]).toBeGreaterThan(0);
    const again = await startTestGateway({ ...options, dataDir });
    const batch = await again.gateway.until(id);
    expect(batch.request_counts).toEqual({ total: 2_000, completed: 2_000, failed: 0 });
    const lines = await readLines(again.client, batch.output_file_id);
    expect(new Set(lines.map((line) => line.custom_id)).size).toBe(2_000);
    const executed = (await entriesOf(again.gateway.journal)).filter(({ kind }) => kind === "executed");
    expect(new Set(executed.map((entry) => (entry.kind === "executed" ? entry.customId : ""))).size).toBe(
      executed.length,
    );
  });
});

describe("what ended long ago", () => {
  test("is deleted with its files; what is newer, or has not ended, stays", async () => {
    const clock = new TestClock("2031-05-06T07:08:09Z");
    const hold = ({ metadata }: { metadata?: Record<string, string> | null | undefined }) => metadata?.["held"] === "1";
    const options = { clock, retention: { batchSeconds: 10 * DAY_SECONDS }, faults: { hold } };
    const { gateway, client, dataDir } = await startTestGateway(options);
    const old = await gateway.until(await submit(client, chatLines(3)));
    const failed = await gateway.until(await submit(client, "{}\n"));
    clock.advanceSeconds(8 * DAY_SECONDS);
    const newer = await gateway.until(await submit(client, chatLines(3)));
    await gateway.close();
    clock.advanceSeconds(3 * DAY_SECONDS);
    const again = await startTestGateway({ ...options, dataDir });
    expect((await again.client.batches.list()).data.map(({ id }) => id)).toEqual([newer.id]);
    for (const { id } of [old, failed])
      expect(await refusalOf(again.client.batches.retrieve(id))).toMatchObject({ status: 404 });
    const files = (await again.client.files.list()).data.map(({ id }) => id);
    expect(files).toContain(newer.output_file_id);
    expect(files).not.toContain(old.output_file_id);
    expect(await readdir(join(dataDir, "files"))).toHaveLength(2 * files.length);
    // A batch of the same input works as before.
    const repeated = await again.gateway.until(await submit(again.client, chatLines(3)));
    expect(repeated.request_counts).toEqual({ total: 3, completed: 3, failed: 0 });
  });

  test("is deleted from the disk although no one asks for it: expired files", async () => {
    const clock = new TestClock("2031-05-06T07:08:09Z");
    const { gateway, client, dataDir } = await startTestGateway({ clock, fileTtlSeconds: DAY_SECONDS });
    await upload(client, chatLines(3));
    await gateway.close();
    clock.advanceSeconds(2 * DAY_SECONDS);
    await startTestGateway({ clock, dataDir });
    expect(await readdir(join(dataDir, "files"))).toEqual([]);
  });

  test("may be kept for no less than an hour", async () => {
    await expect(startTestGateway({ retention: { batchSeconds: 60 } })).rejects.toMatchObject({ code: "usage" });
  });
});

describe("an upload", () => {
  test("and a batch are refused while all files together have more bytes than allowed", async () => {
    const { client } = await startTestGateway({ limits: { storedBytesMax: 1_000 } });
    const file = await upload(client, chatLines(5));
    for (const call of [() => upload(client, chatLines(1)), () => createBatch(client, file.id)])
      expect(await refusalOf(call())).toMatchObject({ status: 429, code: "insufficient_quota" });
    await client.files.delete(file.id);
    await upload(client, chatLines(1));
  });

  test("that announces far more than a file may have is refused before it comes", async () => {
    const { gateway } = await startTestGateway();
    const client = await RawHttp.connect(gateway.port);
    const headers = { ...AUTHORIZATION, "content-type": "multipart/form-data; boundary=x", "content-length": 1e12 };
    await client.send(head("POST /v1/files", headers));
    expect(await client.until(/\}$/)).toMatch(/^HTTP\/1.1 400 [^]*"File is too large."/);
    client.close();
  });

  test("in chunks without an end is refused at the limit, and leaves nothing", async () => {
    const { gateway, dataDir } = await startTestGateway({ limits: { bytesMax: 1_000_000 } });
    const client = await RawHttp.connect(gateway.port);
    const headers = { ...AUTHORIZATION, "content-type": "multipart/form-data; boundary=x" };
    await client.send(head("POST /v1/files", { ...headers, "transfer-encoding": "chunked" }));
    const chunk = (text: string) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
    await client.send(chunk('--x\r\ncontent-disposition: form-data; name="file"; filename="a.jsonl"\r\n\r\n'));
    while (!client.isEnded) await client.send(chunk("x".repeat(65_536)));
    expect(await client.untilEnd()).toMatch(/^HTTP\/1.1 400 [^]*"File is too large."/);
    expect(await readdir(join(dataDir, "files"))).toEqual([]);
  });

  test("may be in gzip", async () => {
    const { gateway, client } = await startTestGateway();
    const form = new FormData();
    form.append("purpose", "batch");
    form.append("file", new File([`${chatLine("a", "A heist.")}\n`], "a.jsonl"));
    const plain = new Request("http://a", { method: "POST", body: form });
    const response = await fetch(`${gateway.url}/files`, {
      method: "POST",
      headers: {
        ...AUTHORIZATION,
        "content-type": plain.headers.get("content-type") ?? "",
        "content-encoding": "gzip",
      },
      body: gzipSync(Buffer.from(await plain.arrayBuffer())),
    });
    expect(response.status).toBe(200);
    expect((await client.files.list()).data).toHaveLength(1);
  });
});

describe("a reply that never reaches a route", () => {
  test("is a refusal in the usual envelope too, with a request id and the gateway's date", async () => {
    const { gateway } = await startTestGateway({ clock: new TestClock("2031-05-06T07:08:09Z") });
    const client = await RawHttp.connect(gateway.port);
    await client.send(head("GET /v1/models", { "x-long": "x".repeat(20_000) }));
    const reply = await client.untilEnd();
    expect(reply).toMatch(/^HTTP\/1.1 431 [^]*x-request-id: req_[0-9a-f]{32}\r\n/);
    expect(reply).toContain("date: Tue, 06 May 2031 07:08:09 GMT\r\n");
    expect(JSON.parse(reply.slice(reply.indexOf("{")))).toEqual({
      error: {
        message: "The request's head is larger than the limit of 16384 bytes.",
        type: "invalid_request_error",
        param: null,
        code: null,
      },
    });
  });

  test("to HEAD is a 404 without a body", async () => {
    const { gateway } = await startTestGateway();
    const response = await fetch(`${gateway.url}/models`, { method: "HEAD", headers: AUTHORIZATION });
    expect([response.status, await response.text()]).toEqual([404, ""]);
  });
});
