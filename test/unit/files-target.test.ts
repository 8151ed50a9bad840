/** A file of answers: what stands in it in each format, while it is read, and where it cannot be written. */
import { spawn } from "node:child_process";
import { text } from "node:stream/consumers";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { files, type FileTargetOptions } from "../../src/connectors/files/files.js";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { readRecords } from "../../src/files/read-records.js";
import type { AnswerColumn } from "../../src/model/answer/answer-columns.js";
import type { Change, KeyColumn, TargetConnector } from "../../src/model/connector.js";

const column = (field: string, type: AnswerColumn["type"]): AnswerColumn => {
  return { field, type, nullable: true, check: null };
};
const FIELDS = [
  column("label", "text"),
  column("score", "bigint"),
  column("tags", "text[]"),
  column("good", "boolean"),
];
const TEXT_KEY: readonly KeyColumn[] = [{ name: "id", type: "text" }];
const { signal } = new AbortController();

function answer(key: string, fence: number, label: string): Change {
  return { key, fence: String(fence), model: "m", cells: { label, score: fence, tags: ["a", "b"], good: true } };
}

describe("a file of answers", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "rowmill-target-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  const opened = async (name: string, key = TEXT_KEY, options: FileTargetOptions = {}): Promise<TargetConnector> => {
    const target = files(join(folder, name), options);
    await target.prepare({ pipeline: "films", fields: FIELDS, key, signal });
    return target;
  };
  const write = (target: TargetConnector, changes: readonly Change[]) =>
    target.write(changes, { pipeline: "films", id: "x", signal });
  const settle = async (target: TargetConnector) => target.settle?.({ pipeline: "films", signal });
  const deliver = async (target: TargetConnector, changes: readonly Change[]) => {
    await write(target, changes);
    await settle(target);
  };
  const content = (name: string) => readFile(join(folder, name), "utf8");
  const records = async (name: string) => {
    const look = await lookAtFile(join(folder, name));
    const found = [];
    for await (const page of readRecords(look)) found.push(...page.records);
    return { look, cells: found.map((record) => ("cells" in record ? record.cells : record.problem)) };
  };

  it("has the key first, and a key of whole numbers as numbers", async () => {
    await deliver(await opened("a.jsonl", [{ name: "id", type: "bigint" }]), [answer("7", 1, "x")]);
    expect(await content("a.jsonl")).toBe('{"id":7,"label":"x","score":1,"tags":["a","b"],"good":true}\n');
  });

  it("has each column of a key of several", async () => {
    const key = [
      { name: "id", type: "integer" },
      { name: "lang", type: "text" },
    ];
    await deliver(await opened("a.csv", key), [answer('["7","en, US"]', 1, "x")]);
    expect(await content("a.csv")).toBe('id,lang,label,score,tags,good\n7,"en, US",x,1,"[""a"",""b""]",true\n');
  });

  it("escapes what a spreadsheet would run in answers, and leaves keys as they are", async () => {
    await deliver(await opened("a.csv"), [answer("-1", 1, "=A1")]);
    expect(await content("a.csv")).toContain("\n-1,'=A1,");
    await deliver(await opened("b.csv", TEXT_KEY, { escapeFormulas: false }), [answer("-1", 1, "=A1")]);
    expect(await content("b.csv")).toContain("\n-1,=A1,");
  });

  it("is Parquet with typed columns, also packed formats", async () => {
    const changes = [answer("7", 1, "x"), answer("8", 2, "é")];
    await deliver(await opened("a.parquet", [{ name: "id", type: "bigint" }]), changes);
    const { look, cells } = await records("a.parquet");
    expect(look.kinds).toEqual(["number", "text", "number", "json", "boolean"]);
    expect(cells).toEqual([
      { id: "7", label: "x", score: "1", tags: '["a","b"]', good: "true" },
      { id: "8", label: "é", score: "2", tags: '["a","b"]', good: "true" },
    ]);
    await deliver(await opened("a.tsv.gz"), changes);
    expect((await records("a.tsv.gz")).cells).toHaveLength(2);
  });

  it("is there before the first answer, and has the columns of a changed answer", async () => {
    const target = await opened("a.csv");
    await settle(target);
    expect(await content("a.csv")).toBe("id,label,score,tags,good\n");
    await deliver(target, [answer("7", 1, "x")]);
    const fields = [column("label", "text"), column("year", "bigint")];
    await target.prepare({ pipeline: "films", fields, key: TEXT_KEY, signal });
    await settle(target);
    expect(await content("a.csv")).toBe("id,label,year\n7,x,\n");
  });

  it("is not written again if nothing changed, and is if someone else changed it", async () => {
    const target = await opened("a.jsonl");
    await deliver(target, [answer("7", 1, "x")]);
    const before = await stat(join(folder, "a.jsonl"));
    await chmod(join(folder, "a.jsonl"), 0o640);
    await settle(target);
    expect((await stat(join(folder, "a.jsonl"))).ino).toBe(before.ino);
    await writeFile(join(folder, "a.jsonl"), "another text");
    await settle(target);
    expect(await content("a.jsonl")).toContain('"label":"x"');
    expect((await stat(join(folder, "a.jsonl"))).mode & 0o777).toBe(0o640);
  });

  it("is always whole for who reads it while two workers replace it", async () => {
    const [one, other] = [await opened("a.jsonl"), await opened("a.jsonl")];
    const keys = Array.from({ length: 300 }, (_, index) => `row-${index}`);
    const round = (fence: number) => keys.map((key) => answer(key, fence, `${fence}`));
    await deliver(one, round(1));
    let done = false;
    const read: number[] = [];
    const reader = (async () => {
      while (!done) {
        const lines = (await content("a.jsonl")).split("\n").slice(0, -1);
        expect(lines).toHaveLength(keys.length);
        const fences = lines.map((line) => (JSON.parse(line) as { score: number }).score);
        read.push(Math.min(...fences));
      }
    })();
    for (let fence = 2; fence < 30; fence += 2)
      await Promise.all([deliver(one, round(fence)), deliver(other, round(fence + 1).toReversed())]);
    done = true;
    await reader;
    expect(read).toEqual(read.toSorted((a, b) => a - b));
    expect(await content("a.jsonl")).toContain('"score":29');
    expect(await content("a.jsonl")).not.toContain('"score":28');
  });

  it("merges many parts into one, and loses none", async () => {
    const target = await opened("a.jsonl");
    for (let fence = 1; fence <= 150; fence++) await write(target, [answer(`row-${fence % 140}`, fence, `${fence}`)]);
    const parts = (await readdir(join(folder, ".a.jsonl.parts"))).filter((name) => name.startsWith("part-"));
    expect(parts.length).toBeLessThanOrEqual(64);
    await settle(await opened("a.jsonl"));
    const lines = (await content("a.jsonl")).split("\n").slice(0, -1);
    expect(lines).toHaveLength(140);
    expect(lines.filter((line) => line.includes('"label":"150"'))).toHaveLength(1);
  });

  it("keeps an answer erased although the older answer comes again after a merge", async () => {
    const target = await opened("a.jsonl");
    await deliver(target, [answer("7", 5, "secret"), answer("8", 6, "kept")]);
    await deliver(target, [{ key: "7", fence: "9", deleted: true }]);
    await deliver(await opened("a.jsonl"), [answer("7", 5, "secret")]);
    expect(await content("a.jsonl")).not.toContain("secret");
    for (const name of await readdir(join(folder, ".a.jsonl.parts")))
      expect(await content(join(".a.jsonl.parts", name))).not.toContain("secret");
  });

  it("is refused where it is yours, a pattern, of another pipeline, of no format, or its answer has a key's name", async () => {
    await writeFile(join(folder, "mine.jsonl"), "mine");
    await opened("taken.jsonl");
    const asOther = files(join(folder, "taken.jsonl")).prepare({ pipeline: "others", fields: FIELDS, signal });
    await expect(asOther).rejects.toMatchObject({ kind: "stop", message: expect.stringContaining('"films"') });
    for (const name of ["mine.jsonl", "*.jsonl", "labels.txt"])
      await expect(opened(name)).rejects.toMatchObject({ kind: "stop" });
    await expect(opened("a.jsonl", [{ name: "label", type: "text" }])).rejects.toMatchObject({ kind: "stop" });
  });

  it("stays as it was where the disk is full, and continues when there is room", async () => {
    const target = await opened("a.jsonl");
    await deliver(target, [answer("7", 1, "before")]);
    const script = join(import.meta.dirname, "../support/answers-until-full.mjs");
    // The system refuses what goes beyond 100 blocks of a file: bash counts 1,024 bytes each.
    const child = spawn("bash", [
      "-c",
      `ulimit -f 100; exec "$0" "$@"`,
      process.execPath,
      script,
      join(folder, "a.jsonl"),
    ]);
    const said = await text(child.stdout);
    expect(said).toContain("again");
    expect(said).toContain("there is no space left");
    expect(await content("a.jsonl")).toContain('"label":"before"');
    await deliver(await opened("a.jsonl"), [answer("8", 2, "after")]);
    expect(await content("a.jsonl")).toContain('"label":"after"');
    expect((await readdir(join(folder, ".a.jsonl.parts"))).toSorted()).toEqual([
      expect.stringMatching(/^base-\d+\.jsonl$/),
      "published.json",
    ]);
  });

  it("is not there while its folder is missing", async () => {
    await expect(opened(join("away", "a.jsonl"))).rejects.toMatchObject({ kind: "again" });
    await mkdir(join(folder, "away"));
    await deliver(await opened(join("away", "a.jsonl")), [answer("7", 1, "x")]);
    expect(await content(join("away", "a.jsonl"))).toContain('"id":"7"');
  });
});
