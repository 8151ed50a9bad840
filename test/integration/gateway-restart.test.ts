import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { createReadStream, createWriteStream } from "node:fs";
import { stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import readline from "node:readline";
import { pipeline } from "node:stream/promises";
import { describe, expect, onTestFinished, test } from "vitest";
import { readJournal } from "../../src/gateway/storage/journal.js";
import {
  chatLine,
  chatLines,
  clientOf,
  createBatch,
  readLines,
  startTestGateway,
  submit,
  temporaryDir,
  upload,
} from "./gateway-setup.js";

const CHILD_TIMEOUT_MS = 90_000;
const numbered = (count: number) => Array.from({ length: count }, (_, index) => `r-${index}`).toSorted();
const ids = (lines: readonly { custom_id: string }[]) => lines.map((line) => line.custom_id).toSorted();

interface Child {
  readonly process: ChildProcess;
  readonly url: string;
  readonly usedBytes: number;
  /** The next line that it prints. */
  next(): Promise<Record<string, unknown>>;
}

async function startChild(dataDir: string, latencyMs = 0): Promise<Child> {
  const script = join(import.meta.dirname, "gateway-child.mjs");
  const args = ["--max-old-space-size=128", "--expose-gc", script, dataDir, String(latencyMs)];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "pipe", "inherit"] });
  onTestFinished(() => {
    child.kill("SIGKILL");
  });
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const next = async () => JSON.parse(String((await lines.next()).value)) as Record<string, unknown>;
  const { url, usedBytes } = await next();
  return { process: child, url: String(url), usedBytes: Number(usedBytes), next };
}

describe("after a restart", () => {
  test("files, batches and their order are as they were", async () => {
    const { gateway, client, dataDir } = await startTestGateway();
    const file = await upload(client, chatLines(3));
    const first = await createBatch(client, file.id, { n: "1" });
    const second = await createBatch(client, file.id, { n: "2" });
    await Promise.all([gateway.until(first.id), gateway.until(second.id)]);
    const files = (await client.files.list()).data;
    const batches = (await client.batches.list()).data;
    await gateway.close();
    const again = await startTestGateway({ dataDir });
    expect((await again.client.files.list()).data).toEqual(files);
    expect((await again.client.batches.list()).data).toEqual(batches);
    expect(await readLines(again.client, batches[0]?.output_file_id)).toHaveLength(3);
    expect((await again.gateway.journal.summary()).executed).toBe(6);
  });

  test.each(["validating", "in_progress", "finalizing", "cancelling"])(
    "a batch that was %s continues, and executes each request once",
    async (status) => {
      const hold = (batch: { status: string }) => batch.status === status;
      const before = await startTestGateway({ faults: { hold } });
      const id = await submit(before.client, chatLines(150));
      if (status === "cancelling") before.gateway.cancel(id, { afterRequests: 120 });
      await before.gateway.until(id, (batch) => batch.status === status);
      await before.gateway.close();
      const { gateway, client } = await startTestGateway({ dataDir: before.dataDir });
      const batch = await gateway.until(id);
      const executed = status === "cancelling" ? 120 : 150;
      expect(batch.request_counts).toEqual({ total: 150, completed: executed, failed: 0 });
      expect(await readLines(client, batch.output_file_id)).toHaveLength(executed);
      const summary = await gateway.journal.summary();
      expect(summary.executedByCustomId.size).toBe(executed);
      expect(summary.executed).toBe(executed);
    },
  );

  test("a half executed batch continues behind the last line, with its usage", async () => {
    const before = await startTestGateway({ latencyMs: 1 });
    const id = await submit(before.client, [...chatLines(250), chatLine("bad", "[[demo:error]]")]);
    await before.gateway.until(id, (batch) => batch.request_counts.completed === 100);
    await before.gateway.close();
    const { gateway, client } = await startTestGateway({ dataDir: before.dataDir });
    const batch = await gateway.until(id);
    expect(batch.request_counts).toEqual({ total: 251, completed: 250, failed: 1 });
    const lines = await readLines(client, batch.output_file_id);
    expect(ids(lines)).toEqual(numbered(250));
    const tokens = lines.reduce((sum, line) => sum + (line.response?.body.usage.prompt_tokens ?? 0), 0);
    expect(batch.usage.input_tokens).toBe(tokens);
    expect((await gateway.journal.summary()).executed).toBe(251);
  });

  test("a journal whose last lines were lost is made whole: what it does not hold is executed again", async () => {
    const before = await startTestGateway({ latencyMs: 1 });
    const id = await submit(before.client, chatLines(250));
    await before.gateway.until(id, (batch) => batch.request_counts.completed === 100);
    await before.gateway.close();
    const path = join(before.dataDir, "journal.jsonl");
    await truncate(path, (await stat(path)).size - 1_000);
    const { gateway, client } = await startTestGateway({ dataDir: before.dataDir });
    const batch = await gateway.until(id);
    expect(ids(await readLines(client, batch.output_file_id))).toEqual(numbered(250));
    const { executedByCustomId } = await gateway.journal.summary();
    expect(new Set(executedByCustomId.values())).toEqual(new Set([1]));
    expect(executedByCustomId.size).toBe(250);
  });

  test("a text that has its effect once does not have it again", async () => {
    const before = await startTestGateway();
    const line = chatLine("a", "[[demo:error-once 500]] A heist.");
    expect(await before.gateway.until(await submit(before.client, [line]))).toMatchObject({
      request_counts: { failed: 1 },
    });
    await before.gateway.close();
    const { gateway, client } = await startTestGateway({ dataDir: before.dataDir });
    expect(await gateway.until(await submit(client, [line]))).toMatchObject({
      request_counts: { completed: 1 },
    });
  });

  test("creations of the last hour still count", async () => {
    const limits = { creationsPerHour: 1 };
    const before = await startTestGateway({ limits });
    await submit(before.client, chatLines(1));
    await before.gateway.close();
    const { client } = await startTestGateway({ limits, dataDir: before.dataDir });
    await expect(submit(client, chatLines(1))).rejects.toMatchObject({ status: 429 });
  });
});

describe("the data folder", () => {
  test("belongs to one gateway at a time", async () => {
    const { gateway, dataDir } = await startTestGateway();
    await expect(startTestGateway({ dataDir })).rejects.toMatchObject({ code: "refused" });
    await gateway.close();
    const { client } = await startTestGateway({ dataDir });
    expect((await client.batches.list()).data).toEqual([]);
  });
});

describe("a gateway in a process of its own", () => {
  test(
    "that is killed in the middle of a batch executes each request once over both lives",
    async () => {
      const dataDir = await temporaryDir();
      const child = await startChild(dataDir, 20);
      const id = await submit(clientOf(child), chatLines(1_000));
      await expect
        .poll(async () => (await clientOf(child).batches.retrieve(id)).request_counts?.completed, {
          timeout: 20_000,
        })
        .toBeGreaterThanOrEqual(200);
      child.process.kill("SIGKILL");
      await once(child.process, "exit");
      const halfWay = (await readJournal(dataDir).summary()).executed;
      expect(halfWay).toBeGreaterThanOrEqual(200);
      expect(halfWay).toBeLessThan(1_000);
      const { gateway, client } = await startTestGateway({ dataDir });
      const batch = await gateway.until(id);
      expect(batch).toMatchObject({ status: "completed", request_counts: { completed: 1_000 } });
      expect(ids(await readLines(client, batch.output_file_id))).toEqual(numbered(1_000));
      const { executed, executedByCustomId } = await gateway.journal.summary();
      expect([executed, executedByCustomId.size]).toEqual([1_000, 1_000]);
    },
    CHILD_TIMEOUT_MS,
  );

  test(
    "holds two thousand long lines in a fraction of their size",
    async () => {
      const filling = "and the detective follows another trace through the rainy town ".repeat(750);
      const path = join(await temporaryDir(), "input.jsonl");
      const make = function* () {
        for (let n = 0; n < 2_000; n++) yield `${chatLine(`r-${n}`, `Film ${n}. A killer runs, ${filling}.`)}\n`;
      };
      await pipeline(make, createWriteStream(path));
      const { size } = await stat(path);
      const child = await startChild(await temporaryDir());
      const client = clientOf(child);
      const file = await client.files.create({ file: createReadStream(path), purpose: "batch" });
      expect(file.bytes).toBe(size);
      const { id } = await createBatch(client, file.id);
      await expect
        .poll(async () => (await client.batches.retrieve(id)).status, { timeout: 60_000, interval: 200 })
        .toBe("completed");
      const { output_file_id: outputId } = await client.batches.retrieve(id);
      expect(ids(await readLines(client, outputId))).toEqual(numbered(2_000));
      child.process.kill("SIGTERM");
      const { usedBytesMax } = await child.next();
      expect(size).toBeGreaterThan(95_000_000);
      expect(Number(usedBytesMax) - child.usedBytes).toBeLessThan(size / 2);
    },
    CHILD_TIMEOUT_MS,
  );
});
