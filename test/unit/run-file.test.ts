/** The parts of `rowmill run` that need no database. */
import { describe, expect, it } from "vitest";
import { FileReading } from "../../src/app/run/file-reading.js";
import { messagesOf, promptNames } from "../../src/app/run/run-config.js";
import { pipelineNameOf } from "../../src/app/run/run-folder.js";
import { pipelineNameProblem } from "../../src/config/read/read-names.js";
import { rowOf, type RowShape } from "../../src/connectors/files/file-row.js";
import { KnownKeys } from "../../src/connectors/files/known-keys.js";
import type { FileRecord } from "../../src/files/file-types.js";

const record = (cells: Record<string, string | null>): FileRecord => ({ line: 2, raw: null, cells });
const shape = (more: Partial<RowShape> = {}): RowShape => ({
  keyColumn: null,
  key: "line_hash",
  columns: ["title"],
  names: promptNames(["id", "title"]),
  ...more,
});

describe("A record of a file", () => {
  it("is named by the cells that are asked about, whatever their order and that of others, without a key", () => {
    const asked = shape({ columns: ["title", "year"] });
    const one = rowOf(record({ id: "1", title: "M", year: "1931" }), asked);
    expect(one).toMatchObject({ cells: { title: "M", year: "1931" } });
    expect(one).toEqual(rowOf(record({ year: "1931", title: "M", id: "2", more: "" }), asked));
    expect(one).not.toEqual(rowOf(record({ id: "1", title: "M", year: "1951" }), asked));
    expect(one).not.toEqual(rowOf(record({ id: "1", title: "1931", year: "M" }), asked));
  });

  it("is named by its key's cell, and cannot be asked where that is empty or too long", () => {
    const byId = shape({ keyColumn: "id", key: "id" });
    expect(rowOf(record({ id: "7", title: "M" }), byId)).toEqual({ key: "7", cells: { id: "7", title: "M" } });
    for (const id of ["", null, "x".repeat(2_000)])
      expect(rowOf(record({ id, title: "M" }), byId)).toMatchObject({ problem: expect.stringContaining("key") });
  });

  it("cannot be asked where PostgreSQL cannot hold it", () => {
    expect(rowOf(record({ title: "a\0b" }), shape())).toMatchObject({ problem: expect.stringContaining("U+0000") });
    expect(rowOf(record({ title: "x".repeat(5_000_000) }), shape())).toMatchObject({
      problem: expect.stringContaining("4 MiB"),
    });
    expect(rowOf({ line: 3, raw: null, problem: "It has 2 cells." }, shape())).toEqual({ problem: "It has 2 cells." });
  });
});

describe("What was read of a file", () => {
  const read = (reading: FileReading, title: string): void => {
    reading.onBegin();
    for (const id of ["1", "2"]) {
      const one = record({ id, title });
      reading.onRecord({ ...one, line: Number(id) }, { key: id, cells: { id, title } });
    }
    reading.onRecord({ line: 3, raw: null, problem: "It has 2 cells." }, { problem: "It has 2 cells." });
  };

  it("is counted once where a pass that was cut off is followed by another one, also if the file changed", () => {
    const reading = new FileReading("films.csv", { keyColumn: "id" });
    read(reading, "M");
    read(reading, "Nosferatu");
    expect(reading).toMatchObject({ records: 3, problems: 1, fault: null });
    expect(reading.examples).toEqual([{ line: 3, problem: "It has 2 cells." }]);
  });
});

describe("A column whose name PostgreSQL cannot hold", () => {
  const question = "How satisfied are you with the answers that you got from our support team last month?";
  const names = promptNames(["column_2", question, "rowmill_x"]);

  it("is called by its place", () => {
    expect([...names]).toEqual([
      ["column_2", "column_2"],
      ["column_2_", question],
      ["column_3", "rowmill_x"],
    ]);
    const found = rowOf(record({ [question]: "very" }), shape({ columns: ["column_2_"], names }));
    expect(found).toMatchObject({ cells: { column_2_: "very" } });
  });

  it("is called by its place too if an object cannot hold it", () => {
    const own = promptNames(["id", "__proto__"]);
    expect([...own.keys()]).toEqual(["id", "column_2"]);
    const cells = Object.fromEntries([["__proto__", "very"]]);
    const found = rowOf({ line: 2, raw: null, cells }, shape({ columns: ["column_2"], names: own }));
    expect(found).toMatchObject({ cells: { column_2: "very" } });
  });

  it("may be named by its place or in full where no template names it", () => {
    const asked = (columns: string[]) => messagesOf({ prompt: "Name the mood.", columns }, names).columns;
    expect(asked([question])).toEqual(["column_2_"]);
    expect(asked(["column_2_"])).toEqual(["column_2_"]);
    expect(() => asked(["nothing"])).toThrow('--columns: the file has no column "nothing".');
  });
});

describe("The name of a file's pipeline", () => {
  const of = (file: string, label: string | null = null, key: string | null = null) =>
    pipelineNameOf({ file, label, key });

  it.each(["/a/films.csv", "/a/Überblick 2026 (neu).csv.gz", "/a/123.parquet", `/a/${"long".repeat(40)}.csv`])(
    "is one that a pipeline may have: %s",
    (file) => {
      expect(pipelineNameProblem(of(file))).toBeNull();
      expect(pipelineNameProblem(of(file, "second"))).toBeNull();
    },
  );

  it("differs by path, label and key, and not by what is asked", () => {
    const all = [of("/a/x.csv"), of("/b/x.csv"), of("/a/x.csv", "two"), of("/a/x.csv", null, "id")];
    expect(new Set(all).size).toBe(4);
    expect(of("/a/films.csv")).toMatch(/^films-[0-9a-f]{8}$/);
  });
});

describe("Known keys", () => {
  it("find the earlier line of a key with other content, among many", () => {
    const keys = new KnownKeys();
    for (let line = 1; line <= 5_000; line++) expect(keys.add(`key ${line}`, `text ${line}`, line)).toBeNull();
    expect(keys.add("key 17", "text 17", 6_000)).toBeNull();
    expect(keys.add("key 4999", "another", 6_001)).toBe(4_999);
  });
});
