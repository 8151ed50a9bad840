import { readFileSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { parse } from "csv-parse/sync";
import fc from "fast-check";
import { expect, test } from "vitest";
import type { FileLook, FileRecord } from "../../src/files/file-types.js";
import { jsonlRecord } from "../../src/files/jsonl-record.js";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { RecordCutter } from "../../src/files/record-cutter.js";
import { RowmillError } from "../../src/model/errors.js";
import { recordsIn, scratchFolder, writeAnswers } from "../support/file-tables.js";

const RUNS = { numRuns: 150 };

/** Texts that PostgreSQL can hold. */
const text = fc
  .oneof(
    fc.string({ unit: "binary", maxLength: 12 }),
    fc.string({ unit: fc.constantFrom('"', ",", ";", "\t", "|", "\n", "\r", " ", "'", "=", "\\", "a", "é", "😀") }),
    fc.constantFrom("", "NULL", "null", "007", "1.10", "12345678901234567890", "NaN", "true", "\u2028", "\ufeff", "#x"),
  )
  .filter((one) => one.isWellFormed() && !one.includes("\0"));

const table = fc
  .integer({ min: 1, max: 6 })
  .chain((width) => fc.array(fc.array(text, { minLength: width, maxLength: width }), { minLength: 1, maxLength: 12 }));

interface Style {
  readonly delimiter: string;
  readonly lineEnd: "\n" | "\r\n" | "\r";
  readonly quotesAll: boolean;
  readonly bom: boolean;
  readonly endsLine: boolean;
}

const style = fc.record({
  delimiter: fc.constantFrom(",", ";", "\t", "|"),
  lineEnd: fc.constantFrom("\n", "\r\n", "\r"),
  quotesAll: fc.boolean(),
  bom: fc.boolean(),
  endsLine: fc.boolean(),
});

function asCsv(rows: readonly (readonly string[])[], { delimiter, lineEnd, quotesAll, bom, endsLine }: Style): string {
  const mustQuote = new RegExp(
    String.raw`["\r\n\u{feff}]|^$|^sep=|[${delimiter === "|" ? String.raw`\|` : delimiter}]`,
    "u",
  );
  const cell = (one: string): string => (quotesAll || mustQuote.test(one) ? `"${one.replaceAll('"', '""')}"` : one);
  const lines = rows.map((row) => row.map(cell).join(delimiter)).join(lineEnd);
  return (bom ? "\ufeff" : "") + lines + (endsLine ? lineEnd : "");
}

/** Such a file is refused. */
function isEmpty(rows: readonly (readonly string[])[], how: Style): boolean {
  return asCsv(rows, { ...how, bom: false }).trim() === "";
}

function cellsOf(look: FileLook, records: readonly FileRecord[]): readonly unknown[] {
  return records.map((record) =>
    "problem" in record ? record.problem : look.columns.map((name) => record.cells[name]),
  );
}

test("any table of texts is read as it was written, in each style of CSV and each encoding", async () => {
  const path = join(await scratchFolder(), "rows.csv");
  await fc.assert(
    fc.asyncProperty(
      table,
      style,
      fc.constantFrom("utf8", "utf16le"),
      fc.boolean(),
      async (rows, how, encoding, packs) => {
        fc.pre(!isEmpty(rows, how));
        const bytes = Buffer.from(asCsv(rows, { ...how, bom: how.bom || encoding === "utf16le" }), encoding);
        await writeFile(path, packs ? gzipSync(bytes) : bytes);
        const look = await lookAtFile(path, { delimiter: how.delimiter });
        expect(look.columns).toHaveLength(rows[0]?.length ?? 0);
        expect(new Set(look.columns).size).toBe(look.columns.length);
        expect(cellsOf(look, await recordsIn(look))).toEqual(rows.slice(1));
      },
    ),
    RUNS,
  );
});

test("any table of texts survives the way into each format and back, with its answers", async () => {
  const folder = await scratchFolder();
  const path = join(folder, "rows.csv");
  await fc.assert(
    fc.asyncProperty(
      table,
      style,
      fc.constantFrom("csv", "tsv", "jsonl", "parquet"),
      fc.boolean(),
      async (rows, how, format, gzip) => {
        fc.pre(!isEmpty(rows, how));
        await writeFile(path, asCsv(rows, how));
        const look = await lookAtFile(path, { delimiter: how.delimiter });
        const out = join(folder, "out");
        const answers = rows.slice(1).map((row) => row.join(""));
        const answerTo = (index: number): { label: string } => ({ label: answers[index] ?? "" });
        await writeAnswers(look, out, { format, gzip, overwrite: true, escapeFormulas: false, answerTo });
        // JSONL has no header, so a table without rows is an empty file.
        if (format === "jsonl" && rows.length === 1) return;
        const delimiter = format === "csv" ? how.delimiter : "\t";
        const read = await lookAtFile(out, { format, ...(format === "csv" || format === "tsv" ? { delimiter } : {}) });
        expect(read.columns).toHaveLength(look.columns.length + 1);
        expect(cellsOf(read, await recordsIn(read))).toEqual(
          rows.slice(1).map((row, index) => [...row, answers[index]]),
        );
      },
    ),
    RUNS,
  );
});

test("the bytes of the input stand in the output, each record's answer after it", async () => {
  const folder = await scratchFolder();
  const path = join(folder, "rows.csv");
  const wide = table.filter((rows) => (rows[0]?.length ?? 0) > 1);
  await fc.assert(
    fc.asyncProperty(wide, style, async (rows, how) => {
      const input = asCsv(rows, how);
      await writeFile(path, input);
      const look = await lookAtFile(path, { delimiter: how.delimiter });
      const out = join(folder, "out.csv");
      await writeAnswers(look, out, { overwrite: true, answerTo: () => ({ label: "ANSWER" }) });
      const end = how.delimiter + "ANSWER" + look.lineEnd;
      const [head = "", ...records] = (await readFile(out, "utf8")).replace(`${how.delimiter}label`, "").split(end);
      const given = head.length === 0 ? "" : head + records.map((one) => look.lineEnd + one).join("");
      expect(given.replace(/[\r\n]+$/, "")).toBe(input.replace(/[\r\n]+$/, ""));
    }),
    RUNS,
  );
});

/** All records, however the bytes are cut. */
function cut(
  bytes: Buffer,
  places: readonly number[],
  delimiter: number | null = 0x2c,
): readonly (readonly string[] | string)[] {
  const cutter = new RecordCutter({ delimiter, hasQuotes: true, at: 0, line: 1 });
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  const records: (readonly string[] | string)[] = [];
  const take = (): void => {
    for (let record = cutter.next(); record !== null; record = cutter.next()) {
      records.push(record.problem === null ? record.cells : `${record.line}: ${record.problem}`);
    }
  };
  let from = 0;
  for (const end of ends) {
    cutter.push(bytes.subarray(from, end));
    from = end;
    take();
  }
  cutter.end();
  take();
  expect(cutter.place.at).toBe(bytes.length);
  return records;
}

const csvText = fc.string({
  unit: fc.constantFrom('"', '"', ",", "\n", "\r", "\r\n", "a", "b", " ", "é"),
  maxLength: 40,
});

test("records are the same however the bytes are cut", () => {
  fc.assert(
    fc.property(csvText, fc.array(fc.nat(), { maxLength: 12 }), (one, places) => {
      expect(cut(Buffer.from(one), places)).toEqual(cut(Buffer.from(one), []));
    }),
    { numRuns: 2000 },
  );
});

test("what csv-parse can read is read as csv-parse reads it", () => {
  const options = { relax_column_count: true, skip_empty_lines: true, record_delimiter: ["\r\n", "\n", "\r"] };
  let compared = 0;
  fc.assert(
    fc.property(csvText, (one) => {
      let expected: unknown;
      try {
        expected = parse(one, options);
      } catch {
        // Broken quotes, which end csv-parse.
        return;
      }
      compared += 1;
      expect(cut(Buffer.from(one), [])).toEqual(expected);
    }),
    { numRuns: 5000 },
  );
  expect(compared).toBeGreaterThan(500);
});

const jsonPiece = fc.constantFrom(..."{}[]:, 1".split(""), '"a"', '"b"', "-0.5e3", "01", "null", '"', "\\u0041", ".");
const jsonLine = fc.oneof(
  fc.array(jsonPiece, { maxLength: 9 }).map((pieces) => pieces.join("")),
  fc
    .tuple(fc.dictionary(fc.string(), fc.jsonValue()), fc.nat(), jsonPiece, fc.nat(1))
    .map(([object, place, piece, removed]) => {
      const line = JSON.stringify(object);
      const at = place % line.length;
      return line.slice(0, at) + piece + line.slice(at + removed);
    }),
  fc.dictionary(fc.string(), fc.jsonValue()).map((object) => JSON.stringify(object)),
);

function parsedObject(line: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}

test("a line of JSONL is read as JSON.parse reads it, and refused where it is", () => {
  fc.assert(
    fc.property(jsonLine, (line) => {
      fc.pre(!line.includes("\\u0000") && !line.includes("\\ud"));
      const record = jsonlRecord({ line: 1, raw: Buffer.from(line), problem: null });
      const object = parsedObject(line);
      if (object === null) {
        expect(record).toHaveProperty("problem");
        return;
      }
      const cells = "cells" in record ? Object.entries(record.cells) : [];
      const values = cells.map(([name, cell]) => {
        const isText = cell === null || typeof object[name] === "string";
        return [name, isText ? cell : (JSON.parse(cell) as unknown)];
      });
      expect(values).toEqual(Object.entries(object));
    }),
    { numRuns: 5000 },
  );
});

const TABLES = join(import.meta.dirname, "../support/tables");
const tables = ["duckdb.parquet", "polars.parquet", "arrow-brotli.parquet", "arrow-lz4-raw.parquet"].map((name) =>
  readFileSync(join(TABLES, name)),
);

const noise = fc.oneof(
  fc.constantFrom(...tables),
  fc.uint8Array({ maxLength: 400 }),
  fc.string({ unit: fc.constantFrom('"', ",", "{", "}", "[", ":", "1", "\n", "\r", "\\", "a", "\0", "\ufeff", "é") }),
  csvText.map((one) => Uint8Array.from(gzipSync(`a,b\n${one}`))),
  fc.constantFrom(
    Buffer.from("PAR1"),
    Buffer.from("PAR1PAR1"),
    Buffer.from([0x1f, 0x8b]),
    Buffer.from([0xff, 0xfe]),
    Buffer.from([0xfe, 0xff, 0]),
  ),
);

test("random bytes are read to their end, or refused in words", async () => {
  const folder = await scratchFolder();
  const names = fc.constantFrom("rows.csv", "rows.tsv", "rows.jsonl", "rows", "rows.parquet", "rows.parquet.gz");
  await fc.assert(
    fc.asyncProperty(
      noise,
      fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 4 }),
      names,
      async (one, flips, name) => {
        const bytes = Buffer.from(one);
        for (const [place, value] of flips) if (bytes.length > 0) bytes[place % bytes.length] = value;
        const path = join(folder, name);
        await writeFile(path, bytes);
        try {
          const look = await lookAtFile(path);
          for (const record of await recordsIn(look)) expect(record.line).toBeGreaterThan(0);
        } catch (error) {
          expect(error).toBeInstanceOf(RowmillError);
        }
      },
    ),
    { numRuns: 600 },
  );
});
