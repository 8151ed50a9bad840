import { copyFile, mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { parquetMetadata } from "hyparquet";
import { parquetWriteBuffer } from "hyparquet-writer";
import { expect, test } from "vitest";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { readRecords } from "../../src/files/read-records.js";
import { RowmillError } from "../../src/model/errors.js";
import { column, readFileOf, readTable, scratchFolder, shown, writeAnswers, written } from "../support/file-tables.js";

/** Written by DuckDB 1.5.6 (@duckdb/node-api), Polars 0.26.1 (nodejs-polars), arrow-rs (parquet-wasm 0.8.0). */
const TABLES = join(import.meta.dirname, "../support/tables");

const DUCKDB_ROWS = [
  {
    id: "1",
    big: "9007199254740993",
    title: "Amélie",
    price: "12.30",
    huge: "170141183460469231731687303715884105.72",
    day: "2024-02-29",
    at: "2024-01-31T10:20:30.123456",
    at_utc: "2024-01-31T10:20:30.123456Z",
    time: "10:20:30.500000",
    tags: '["a",null,"b\\""]',
    more: '{"x":1,"y":"z"}',
    bytes: "\\x686900",
    yes: "true",
    single: "0.1",
    double: "0.1",
    uuid: "6c1f8b0e-0000-4000-8000-0123456789ab",
    map: '{"k":1}',
    unsigned: "18446744073709551615",
    tiny: "200",
    json: '{"a": [1]}',
    span: "P1M2DT0S",
    nested: "[[1,2],[],null]",
  },
  { id: "2", title: null, tags: null, more: null, map: null, nested: null, price: null, yes: null },
  {
    big: "-1",
    title: "",
    price: "-0.05",
    huge: "-0.01",
    day: "1969-12-31",
    at: "1969-12-31T23:59:59.999999",
    tags: "[]",
    more: '{"x":null,"y":null}',
    bytes: "\\x",
    single: "NaN",
    double: "-Infinity",
    map: "{}",
    json: "null",
    nested: "[]",
  },
];

test("all types of DuckDB are read as exact texts", async () => {
  const { look, records } = await readFileOf(join(TABLES, "duckdb.parquet"));
  expect(look).toMatchObject({ format: "parquet", rows: 3, notes: [] });
  expect(records.map(({ line }) => line)).toEqual([1, 2, 3]);
  expect(records).toMatchObject(DUCKDB_ROWS.map((cells) => ({ cells })));
});

test("texts, lists and timestamps of Polars are read", async () => {
  expect(shown(await readFileOf(join(TABLES, "polars.parquet")))).toEqual([
    ["1", "Amélie", '["a","b"]', "2024-02-29T10:20:30.123", "true", "0.1"],
    ["2", null, "[]", null, null, null],
    ["3", 'a "q"\nb', null, "1969-12-31T23:59:59.999", "false", "-0.5"],
  ]);
});

test.each(["brotli", "gzip", "lz4-raw", "snappy", "uncompressed", "zstd"])(
  "Parquet that is packed with %s is read, over its row groups and from any place",
  async (codec) => {
    const { look, records } = await readFileOf(join(TABLES, `arrow-${codec}.parquet`));
    expect(shown({ look, records })).toEqual([
      ["1", "a", "0.1"],
      ["2", "é", "-0.5"],
      ["3", "", "NaN"],
      ["4", "x", "1e+300"],
    ]);
    for (let at = 0; at <= 4; at++) {
      const rest = [];
      for await (const page of readRecords(look, { after: { at, line: at + 1 } })) rest.push(...page.records);
      expect(rest).toEqual(records.slice(at));
    }
  },
);

test("columns keep their types and values, and answers are typed", async () => {
  const path = join(TABLES, "duckdb.parquet");
  const out = join(await scratchFolder(), "out.parquet");
  const columns = [
    column("label"),
    column("count", "bigint"),
    column("share", "double precision"),
    column("ok", "boolean"),
    column("tags", "text[]"),
    column("more", "jsonb"),
  ];
  const answer = { label: "=x", count: "9007199254740993", share: -0.5, ok: false, tags: ["a", ""], more: { a: [1] } };
  const notes = await writeAnswers(await lookAtFile(path), out, {
    answer: columns,
    errors: true,
    answerTo: (index) => (index === 1 ? null : answer),
  });
  expect(notes).toEqual([
    "The file has a column tags, so the answer's is written as tags_2.",
    "The file has a column more, so the answer's is written as more_2.",
  ]);
  const { look, records } = await readFileOf(out);
  const added = {
    label: "=x",
    count: "9007199254740993",
    share: "-0.5",
    ok: "false",
    tags_2: '["a",""]',
    more_2: '{"a":[1]}',
  };
  const none = { label: null, count: null, share: null, ok: null, tags_2: null, more_2: null };
  expect(records).toMatchObject(
    DUCKDB_ROWS.map((cells, index) => ({ cells: { ...cells, ...(index === 1 ? none : added), error: null } })),
  );
  const [before, after] = await Promise.all([path, out].map(async (one) => parquetMetadata(await readFile(one))));
  const own = before?.schema.slice(1) ?? [];
  expect(after?.schema.slice(1, own.length + 1)).toEqual(own);
  expect(look.kinds?.slice(-7)).toEqual(["text", "number", "number", "boolean", "json", "text", "text"]);
});

test("texts that are not UTF-8, and those with U+0000, fail alone, and keep their bytes", async () => {
  const path = join(await scratchFolder(), "rows.parquet");
  const data = [Buffer.from("good"), Buffer.from([0x5a, 0xe9]), Buffer.from("a\0b"), Buffer.from("\ufeffgood")];
  const schema = [
    { name: "root", num_children: 1 },
    { name: "title", type: "BYTE_ARRAY", converted_type: "UTF8", repetition_type: "REQUIRED" },
  ] as const;
  await writeFile(
    path,
    Buffer.from(parquetWriteBuffer({ columnData: [{ name: "title", data }], schema: [...schema] })),
  );
  const read = await readFileOf(path);
  expect(shown(read)).toEqual([
    ["good"],
    "2: Column title: It holds bytes that are not UTF-8.",
    "3: Column title: It holds the character U+0000, which a table cannot store.",
    ["\ufeffgood"],
  ]);
  const out = join(dirname(path), "out.parquet");
  await writeAnswers(read.look, out, { errors: true });
  const again = await readFileOf(out);
  expect(again.records[1]).toMatchObject({ problem: "Column title: It holds bytes that are not UTF-8." });
  expect(Buffer.from(again.records[1]?.value?.[0] as Uint8Array)).toEqual(data[1]);
});

test("a type that cannot be written becomes text, which is said", async () => {
  const variant = parquetWriteBuffer({
    columnData: [{ name: "event", data: [{ a: 1 }, null], type: "VARIANT" }],
  });
  const path = await written(Buffer.from(variant), "rows.parquet");
  const look = await lookAtFile(path);
  const out = join(dirname(path), "out.parquet");
  expect(await writeAnswers(look, out)).toEqual(["Column event is written as text, because variants cannot be kept."]);
  expect(shown(await readFileOf(out))).toEqual([
    ['{"a":1}', "answer 0"],
    [null, "answer 1"],
  ]);
});

test("CSV becomes Parquet with texts, and Parquet becomes CSV and JSONL with typed values", async () => {
  const path = await written('id,note\n007,"a\n""b"""\n1\n8,\n');
  const folder = dirname(path);
  const parquet = join(folder, "out.parquet");
  await writeAnswers(await lookAtFile(path), parquet, { errors: true });
  const problem = "It has 1 cell, and the header has 2. Add the missing separators.";
  const read = await readFileOf(parquet);
  expect(shown(read)).toEqual([
    ["007", 'a\n"b"', "answer 0", null],
    ["1", null, null, problem],
    ["8", "", "answer 1", null],
  ]);
  await writeAnswers(await lookAtFile(join(TABLES, "arrow-zstd.parquet")), join(folder, "out.jsonl"));
  expect((await readFile(join(folder, "out.jsonl"), "utf8")).split("\n")).toEqual([
    '{"id":1,"title":"a","n":0.1,"label":"answer 0"}',
    '{"id":2,"title":"é","n":-0.5,"label":"answer 1"}',
    '{"id":3,"title":"","n":"NaN","label":"answer 2"}',
    '{"id":4,"title":"x","n":1e+300,"label":"answer 3"}',
    "",
  ]);
  await writeAnswers(await lookAtFile(join(TABLES, "polars.parquet")), join(folder, "out.csv"));
  expect(await readFile(join(folder, "out.csv"), "utf8")).toBe(
    'id,title,tags,day,yes,n,label\n1,Amélie,"[""a"",""b""]",2024-02-29T10:20:30.123,true,0.1,answer 0\n' +
      '2,,[],,,,answer 1\n3,"a ""q""\nb",,1969-12-31T23:59:59.999,false,-0.5,answer 2\n',
  );
});

test("Parquet inside of gzip is read and written, and its temporary file is removed", async () => {
  const folder = await scratchFolder();
  const scratch = join(folder, "scratch");
  await mkdir(scratch);
  const path = join(folder, "rows.parquet.gz");
  await writeFile(path, gzipSync(await readFile(join(TABLES, "polars.parquet"))));
  const look = await lookAtFile(path, { scratch });
  expect(look).toMatchObject({ format: "parquet", gzip: true, rows: 3 });
  const out = join(folder, "out.parquet.gz");
  await writeAnswers(look, out, { scratch });
  await writeFile(join(folder, "out.parquet"), gunzipSync(await readFile(out)));
  expect(shown(await readFileOf(join(folder, "out.parquet")))).toHaveLength(3);
  expect(await readdir(scratch)).toEqual([]);
});

test("many rows are written in several row groups, and read in the same order", async () => {
  const path = await written(`a,b\n${Array.from({ length: 120_000 }, (_, index) => `${index},x\n`).join("")}`);
  const out = join(dirname(path), "out.parquet");
  await writeAnswers(await lookAtFile(path), out);
  expect(parquetMetadata(await readFile(out)).row_groups.length).toBeGreaterThan(1);
  const { look, records } = await readFileOf(out);
  expect(look.rows).toBe(120_000);
  expect(records.every((record, index) => "cells" in record && record.cells["label"] === `answer ${index}`)).toBe(true);
});

test("Parquet without rows has columns and no rows", async () => {
  const path = await written("a,b\n");
  const out = join(dirname(path), "out.parquet");
  await writeAnswers(await lookAtFile(path), out);
  const { look, records } = await readFileOf(out);
  expect([look.columns, look.rows, records]).toEqual([["a", "b", "label"], 0, []]);
});

test("what is no Parquet file, or a damaged one, is said", async () => {
  await expect(readTable("a,b\n1,2\n", "rows.parquet")).rejects.toThrow(
    "is not a Parquet file: it does not begin with PAR1",
  );
  const whole = await readFile(join(TABLES, "duckdb.parquet"));
  await expect(readTable(whole.subarray(0, -200), "rows.parquet")).rejects.toThrow(
    "is not a Parquet file that Rowmill can read",
  );
  const broken = Buffer.from(whole);
  broken.fill(0xff, 20, 200);
  await expect(readTable(broken, "rows.parquet")).rejects.toBeInstanceOf(RowmillError);
});

test(
  "a page whose size is damaged is refused: hyparquet would read it again without end",
  { timeout: 60_000 },
  async () => {
    const whole = await readFile(join(TABLES, "arrow-lz4-raw.parquet"));
    const { row_groups: groups } = parquetMetadata(
      whole.buffer.slice(whole.byteOffset, whole.byteOffset + whole.length),
    );
    const pages = groups.flatMap(({ columns }) =>
      columns.map(({ meta_data: of }) => Number(of?.dictionary_page_offset)),
    );
    let refused = 0;
    // A structure, a list, a large and a negative number, where a header has the types and values of its sizes.
    for (const [page, value] of pages.flatMap((one) => [0x1c, 0x19, 0x7f, 0x01].map((each) => [one, each] as const)))
      for (let at = 0; at < 12; at++) {
        const broken = Buffer.from(whole);
        broken[page + at] = value;
        const read = readTable(broken, "rows.parquet");
        refused += await read.then(
          () => 0,
          (error: unknown) => (error instanceof RowmillError ? 1 : Promise.reject(error)),
        );
      }
    expect(refused).toBeGreaterThan(pages.length);
  },
);

test("a damaged footer is refused or read, and no error is left behind", { timeout: 60_000 }, async () => {
  const whole = await readFile(join(TABLES, "arrow-lz4-raw.parquet"));
  const footer = whole.readUInt32LE(whole.length - 8);
  for (let at = whole.length - 8 - footer; at < whole.length - 8; at++) {
    const broken = Buffer.from(whole);
    // A structure, where a number or a list is expected.
    broken[at] = 0x1c;
    const failure: unknown = await readTable(broken, "rows.parquet").catch((error: unknown) => error);
    if (failure instanceof Error) expect(failure).toBeInstanceOf(RowmillError);
  }
});

test("a header that begins with PAR1 is CSV", async () => {
  expect((await readTable("PAR1,b\n1,2\n")).look.format).toBe("csv");
});

test("CSV as DuckDB and Polars write it is read", async () => {
  const folder = await scratchFolder();
  await copyFile(join(TABLES, "duckdb.csv"), join(folder, "rows.csv"));
  const duckdb = await readFileOf(join(folder, "rows.csv"));
  expect(duckdb.records).toMatchObject([
    { cells: { title: "Amélie", tags: "[a, NULL, 'b\"']", json: '{"a": [1]}' } },
    { cells: { title: "", tags: "" } },
    { cells: { title: "", bytes: "" } },
  ]);
  expect(shown(await readFileOf(join(TABLES, "polars.csv")))).toEqual([
    ["1.0", "Amélie", "2024-02-29T10:20:30.123", "true", "0.1"],
    ["2.0", "", "", "", ""],
    ["3.0", 'a "q"\nb', "1969-12-31T23:59:59.999", "false", "-0.5"],
  ]);
});

test("a page that would fill the memory is refused, with the way to write the file", async () => {
  const data = [new Uint8Array(129 * 1024 * 1024)];
  const path = join(await scratchFolder(), "films.parquet");
  await writeFile(
    path,
    Buffer.from(parquetWriteBuffer({ columnData: [{ name: "poster", data, type: "BYTE_ARRAY" }] })),
  );
  await expect(lookAtFile(path)).rejects.toMatchObject({
    code: "refused",
    message: `${path} has too large row groups: Rowmill would have to read 130 MiB at once, unpacked. The most is 128 MiB.`,
    hints: [
      "Write it with smaller row groups. In DuckDB: " +
        "copy (from 'films.parquet') to 'smaller.parquet' (row_group_size 10240)",
    ],
  });
});
