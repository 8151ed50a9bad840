import { mkdtempSync, readdirSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, onTestFinished, test } from "vitest";
import { Journal, readJournal, type ExecutedEntry, type JournalReader } from "../../src/gateway/storage/journal.js";

/** Parts of 4 kB, of which none is deleted within the first 60 kB. */
const bytesMax = 65_536;

function folder(): string {
  const dir = mkdtempSync(join(tmpdir(), "rowmill-journal-"));
  onTestFinished(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

function openJournal(dataDir: string, running: readonly string[] = ["batch_1"]): Promise<Journal> {
  const log = (message: string) => {
    throw new Error(message);
  };
  return Journal.open({ dataDir, bytesMax, running, log });
}

function executed(index: number, extra: Partial<ExecutedEntry> = {}): ExecutedEntry {
  const customId = `r-${index}`;
  const contentHash = index.toString(16).padStart(32, "0");
  const entry = { kind: "executed", at: index, batchId: "batch_1", customId, model: "m", contentHash } as const;
  return { ...entry, status: 200, behaviour: null, ...extra };
}

async function instants(journal: JournalReader): Promise<number[]> {
  const found: number[] = [];
  for await (const { at } of journal.entries()) found.push(at);
  return found;
}

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);
const parts = (dir: string) => readdirSync(dir).filter((name) => /^journal-\d+\.jsonl$/.test(name));

describe("a journal of several parts", () => {
  test("is one list, for its writer and for others, in its order", async () => {
    const dir = folder();
    const journal = await openJournal(dir);
    for (const index of upTo(200)) journal.append(executed(index));
    expect(parts(dir).length).toBeGreaterThan(5);
    expect(await instants(journal)).toEqual(upTo(200));
    expect(await instants(readJournal(dir))).toEqual(upTo(200));
    journal.close();
  });

  test("is read without a gap or a repetition while it grows and is closed into parts", async () => {
    const dir = folder();
    const journal = await openJournal(dir);
    for (const index of upTo(20)) journal.append(executed(index));
    let next = 20;
    const seen: number[] = [];
    for await (const { at } of readJournal(dir).entries()) {
      seen.push(at);
      if (next < 200) journal.append(executed(next++), executed(next++));
    }
    expect(seen).toEqual(upTo(seen.length));
    expect(seen.length).toBeGreaterThanOrEqual(20);
    journal.close();
  });

  test("loses only its oldest parts above its bound, and still counts what they held", async () => {
    const dir = folder();
    const journal = await openJournal(dir);
    journal.append(executed(0, { behaviour: "invalid-once" }));
    for (const index of upTo(1_000).slice(1)) journal.append(executed(index));
    journal.close();
    const bytes = readdirSync(dir).filter((name) => name.endsWith(".jsonl"));
    expect(bytes.reduce((sum, name) => sum + statSync(join(dir, name)).size, 0)).toBeLessThanOrEqual(bytesMax);
    const again = await openJournal(dir);
    const kept = await instants(again);
    expect(kept).toEqual(upTo(1_000).slice(-kept.length));
    expect(kept.length).toBeLessThan(500);
    expect(again.executed).toEqual(new Map([["batch_1", 1_000]]));
    expect([...again.once]).toEqual([executed(0).contentHash]);
    again.close();
  });

  test("forgets the count of a batch when it has ended", async () => {
    const dir = folder();
    const journal = await openJournal(dir, []);
    for (const index of upTo(60)) journal.append(executed(index));
    expect(journal.executed).toEqual(new Map([["batch_1", 60]]));
    journal.append({ kind: "status", at: 60, batchId: "batch_1", status: "completed" });
    expect(journal.executed).toEqual(new Map());
    journal.close();
  });
});

describe("a kill while a part is closed", () => {
  test.each([
    ["after the part has its number, before a new file begins", true],
    ["after a new file begins, before the part is carried", false],
  ])("%s loses and repeats nothing", async (_when, isWithoutFile) => {
    const dir = folder();
    const journal = await openJournal(dir);
    for (const index of upTo(10)) journal.append(executed(index, { behaviour: "error-once" }));
    journal.close();
    renameSync(join(dir, "journal.jsonl"), join(dir, "journal-000001.jsonl"));
    if (!isWithoutFile) writeFileSync(join(dir, "journal.jsonl"), "");
    expect(await instants(readJournal(dir))).toEqual(upTo(10));
    const again = await openJournal(dir);
    expect(again.executed).toEqual(new Map([["batch_1", 10]]));
    expect(again.once.size).toBe(10);
    for (const index of upTo(200).slice(10)) again.append(executed(index));
    expect(await instants(again)).toEqual(upTo(200));
    again.close();
  });

  test("in the middle of a line cuts that line off, and no other", async () => {
    const dir = folder();
    const journal = await openJournal(dir);
    for (const index of upTo(3)) journal.append(executed(index));
    journal.close();
    const path = join(dir, "journal.jsonl");
    writeFileSync(path, '{"kind":"executed","at":3', { flag: "a" });
    const again = await openJournal(dir);
    expect(again.executed).toEqual(new Map([["batch_1", 3]]));
    again.append(executed(3));
    expect(await instants(again)).toEqual(upTo(4));
    again.close();
  });
});

test("what a restart has to know of deleted parts is refused when someone edited it, with what to do", async () => {
  const dir = folder();
  writeFileSync(join(dir, "journal-carried.json"), "{}");
  await expect(openJournal(dir)).rejects.toMatchObject({
    code: "internal",
    hints: ["Delete that file. Running batches may execute requests again."],
  });
});
