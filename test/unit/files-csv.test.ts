import { appendFile, writeFile } from "node:fs/promises";
import { expect, test } from "vitest";
import { RECORD_BYTES_MAX } from "../../src/files/record-cutter.js";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { readRecords } from "../../src/files/read-records.js";
import { readTable, recordsIn, shown, written } from "../support/file-tables.js";

const MIB = 1024 * 1024;

test("a byte order mark is no part of the first column's name", async () => {
  const read = await readTable("\ufefftitle,year\nHeat,1995\n");
  expect(read.look).toMatchObject({ bom: true, encoding: "utf-8", columns: ["title", "year"] });
  expect(shown(read)).toEqual([["Heat", "1995"]]);
});

test("lines of Windows are read", async () => {
  const read = await readTable("a,b\r\n1,2\r\n3,4\r\n");
  expect(read.look.lineEnd).toBe("\r\n");
  expect(shown(read)).toEqual([
    ["1", "2"],
    ["3", "4"],
  ]);
});

test("quotes, separators and line breaks in quoted cells are kept, and lines are counted", async () => {
  const read = await readTable('a,b\n"one, ""two""\r\nthree\nfour",x\n5,6\n');
  expect(shown(read)).toEqual([
    ['one, "two"\r\nthree\nfour', "x"],
    ["5", "6"],
  ]);
  expect(read.records.map(({ line }) => line)).toEqual([2, 5]);
});

test("a quote inside of an unquoted cell is a character", async () => {
  expect(shown(await readTable('size,b\n5" pipe,x"y"\n'))).toEqual([['5" pipe', 'x"y"']]);
});

test.each([
  [",", "a,b\n1;1,2\n", []],
  [";", "a;b\n1,5;2,5\n1,6;2\n", ["Its cells are separated by semicolons."]],
  ["\t", "a\tb\n1,5\t2\n", ["Its cells are separated by tabs."]],
  ["|", "a|b\n1,5|2\n", ["Its cells are separated by bars."]],
])("the separator %j is found", async (delimiter, text, notes) => {
  const read = await readTable(text);
  expect(read.look).toMatchObject({ delimiter, notes, columns: ["a", "b"] });
  expect(read.records.every((record) => "cells" in record)).toBe(true);
});

test("a separator inside of quotes is not counted", async () => {
  const { look } = await readTable('a;b\n"x,y,z";1\n"x,y";2\n');
  expect(look.delimiter).toBe(";");
});

test("a single column has no separator, also when its cells hold commas", async () => {
  const read = await readTable("review\nGood, really good\nBad\nWell, well, well\n");
  expect(read.look).toMatchObject({ delimiter: null, columns: ["review"], notes: ["It has a single column."] });
  expect(shown(read)).toEqual([["Good, really good"], ["Bad"], ["Well, well, well"]]);
});

test("a separator that you name is used, and one of several characters is refused", async () => {
  const path = await written("a^b\n1^2\n");
  expect((await lookAtFile(path, { delimiter: "^" })).columns).toEqual(["a", "b"]);
  await expect(lookAtFile(path, { delimiter: "::" })).rejects.toThrow("it must be one ASCII character");
});

test("the line sep=; of Excel names the separator", async () => {
  const read = await readTable("sep=;\r\na;b\r\n1,5;2\r\n");
  expect(read.look).toMatchObject({ delimiter: ";", head: "sep=;\r\na;b", body: { at: 12, line: 3 } });
  expect(shown(read)).toEqual([["1,5", "2"]]);
});

test("a file named .tsv is separated by tabs", async () => {
  const read = await readTable("a\tb, c\n1, 2\t3\n", "rows.tsv");
  expect(read.look).toMatchObject({ format: "tsv", delimiter: "\t", columns: ["a", "b, c"], notes: [] });
});

test("a first column without a name is column_1, which is said", async () => {
  const { look } = await readTable(",title\n0,Heat\n");
  expect(look.columns).toEqual(["column_1", "title"]);
  expect(look.notes).toEqual(["Column 1 has no name. It is read as column_1."]);
});

test("names that are there twice get a number, and given names keep their columns", async () => {
  const { look, records } = await readTable("a,a,a_2,,column_4,a\n1,2,3,4,5,6\n");
  expect(look.columns).toEqual(["a", "a_3", "a_2", "column_4_2", "column_4", "a_4"]);
  expect(look.notes).toEqual([
    "The name a occurs twice. Column 2 is read as a_3.",
    "Column 4 has no name. It is read as column_4_2.",
    "The name a occurs twice. Column 6 is read as a_4.",
  ]);
  expect(records[0]).toMatchObject({ cells: { a: "1", a_3: "2", a_2: "3", column_4_2: "4", column_4: "5", a_4: "6" } });
});

test("a column may be called __proto__", async () => {
  const { records } = await readTable("__proto__,constructor\n1,2\n");
  const [first] = records;
  expect(first !== undefined && "cells" in first && Object.entries(first.cells)).toEqual([
    ["__proto__", "1"],
    ["constructor", "2"],
  ]);
});

test("lines with too few or too many cells fail alone, with their line number", async () => {
  expect(shown(await readTable("a,b,c\n1,2,3\n1,2\n1,2,3,4\n4,5,6\n"))).toEqual([
    ["1", "2", "3"],
    "3: It has 2 cells, and the header has 3. Add the missing separators.",
    "4: It has 4 cells, and the header has 3. Put quotes around a cell that holds the separator.",
    ["4", "5", "6"],
  ]);
});

test("bytes that are not UTF-8 fail alone, with their line number", async () => {
  const text = Buffer.from("name,b\nZoë,1\nJos#,2\nÅsa,3\n");
  text[text.indexOf("#")] = 0xe9;
  expect(shown(await readTable(text))).toEqual([
    ["Zoë", "1"],
    "3: It holds bytes that are not UTF-8. Save the file as UTF-8, or name its encoding.",
    ["Åsa", "3"],
  ]);
});

test("a NUL byte fails alone, with its line number", async () => {
  expect(shown(await readTable("a,b\n1,2\n1\0,2\n3,4\n"))).toEqual([
    ["1", "2"],
    "3: It holds a NUL byte, which a table cannot store. Remove it.",
    ["3", "4"],
  ]);
});

test("a file with only a header has columns and no rows, with or without line end", async () => {
  for (const text of ["a,b\n", "a,b", "a,b\n\n\r\n"]) {
    const { look, records } = await readTable(text);
    expect(look.columns).toEqual(["a", "b"]);
    expect(records).toEqual([]);
  }
});

test("an empty file is refused, also one of blank lines or of a byte order mark alone", async () => {
  for (const text of ["", "\n\r\n  \n", "\ufeff"]) {
    await expect(readTable(text)).rejects.toThrow("is empty: it has no header and no rows");
  }
});

test("a mixture of line ends is read, and lines are counted right", async () => {
  const read = await readTable("a,b\n1,2\r\n3,4\r5,6\n\r\n7,8");
  expect(read.records.map(({ line }) => line)).toEqual([2, 3, 4, 6]);
  expect(shown(read)).toEqual([
    ["1", "2"],
    ["3", "4"],
    ["5", "6"],
    ["7", "8"],
  ]);
});

test("blank lines at the end and between are no rows, and a last line needs no line end", async () => {
  expect(shown(await readTable("a,b\n1,2\n\n\n3,4\n\n\n"))).toHaveLength(2);
  expect(shown(await readTable("a,b\n1,2\n3,"))).toEqual([
    ["1", "2"],
    ["3", ""],
  ]);
});

test("an empty cell of a single column is a row if it is quoted", async () => {
  expect(shown(await readTable('a\n""\nx\n'))).toEqual([[""], ["x"]]);
});

test("a quote that is never closed costs its line alone, and the line is named", async () => {
  expect(shown(await readTable('a,b\n1,2\n"x\ny",\n3,"4\n5,6\n7,8\n'))).toEqual([
    ["1", "2"],
    ["x\ny", ""],
    "5: A quote that is opened is never closed. Write each quote inside of a cell twice.",
    ["5", "6"],
    ["7", "8"],
  ]);
});

test("a quote that the next quoted cell closes costs its line alone", async () => {
  expect(shown(await readTable('a,b\n"1,2\n3,4\n"5",6\n'))).toEqual([
    "2: A quote that is opened is closed, and text follows it. Write each quote inside of a cell twice.",
    ["3", "4"],
    ["5", "6"],
  ]);
});

test("the line of an open quote is named when its record began earlier", async () => {
  expect(shown(await readTable('a,b\n"1\n2","3\n4,5\n'))).toEqual([
    "2: A quote that is opened at line 3 is never closed. Write each quote inside of a cell twice.",
    ["4", "5"],
  ]);
});

test("an open quote before many MiB costs its line alone, and not the rest of the file", async () => {
  const line = `${"x".repeat(998)},y\n`;
  const count = Math.ceil((RECORD_BYTES_MAX + MIB) / line.length);
  const path = await written(`a,b\n"open,1\n${line.repeat(count)}`);
  const { records } = { records: await recordsIn(await lookAtFile(path)) };
  expect(records).toHaveLength(count + 1);
  expect(records[0]).toMatchObject({
    line: 2,
    problem: "A quote that is opened is not closed within 16 MiB. Write each quote inside of a cell twice.",
  });
  expect(records.slice(1).every((record) => "cells" in record)).toBe(true);
});

test("a record above 16 MiB fails alone, and its bytes are not held", async () => {
  const path = await written(`a,b\n1,2\n${"x".repeat(RECORD_BYTES_MAX + MIB)},3\n4,5\n`);
  const records = await recordsIn(await lookAtFile(path));
  expect(records.map(({ line, raw }) => [line, raw?.toString() ?? null])).toEqual([
    [2, "1,2"],
    [3, null],
    [4, "4,5"],
  ]);
  expect(records[1]).toMatchObject({ problem: "It is larger than 16 MiB, which is too large for a record." });
});

test("a file that grows while it is read is read up to its size at the start", async () => {
  const path = await written(`a,b\n${"1,2\n".repeat(200_000)}`);
  const look = await lookAtFile(path);
  let rows = 0;
  for await (const { records } of readRecords(look)) {
    if (rows === 0) await appendFile(path, "3,4\n".repeat(1000));
    rows += records.length;
  }
  expect(rows).toBe(200_000);
});

test("a file that became shorter while it was read is an error", async () => {
  const path = await written(`a,b\n${"1,2\n".repeat(200_000)}`);
  const look = await lookAtFile(path);
  await writeFile(path, "a,b\n1,2\n");
  await expect(recordsIn(look)).rejects.toThrow("became shorter while it was read");
});

test("names of files with spaces and letters of any script are read", async () => {
  expect(shown(await readTable("a,b\n1,2\n", "filme für 映画 'quoted' #1?.csv"))).toEqual([["1", "2"]]);
});

test("2,000 columns are read", async () => {
  const names = Array.from({ length: 2000 }, (_, index) => (index % 2 === 0 ? `name ${index}` : ""));
  const line = names.map((_, index) => String(index)).join(";");
  const read = await readTable(`${names.join(";")}\n${line}\n${line}\n`);
  expect(read.look.columns).toHaveLength(2000);
  expect(read.look.columns[1999]).toBe("column_2000");
  expect(shown(read)).toEqual([line.split(";"), line.split(";")]);
});

test("a header longer than 1 MiB, and one with a broken quote, are refused", async () => {
  await expect(readTable(`${"a,".repeat(MIB)}b\n1\n`)).rejects.toThrow("has a header longer than 1 MiB");
  await expect(readTable('a,"b\n1,2\n')).rejects.toThrow("has a broken header, line 1. A quote that is opened");
});

test("reading continues from the place of an earlier page", async () => {
  const lines = Array.from({ length: 5000 }, (_, index) => `${index},"x\n${index}"\n`);
  const look = await lookAtFile(await written(`\ufeffa,b\n${lines.join("")}`));
  const whole = await recordsIn(look);
  const pages = [];
  for await (const page of readRecords(look)) pages.push(page);
  expect(Math.max(...pages.map(({ records }) => records.length))).toBe(1000);
  for (const [index, { place }] of pages.entries()) {
    const rest = [];
    for await (const page of readRecords(look, { after: place })) rest.push(...page.records);
    expect(rest).toEqual(whole.slice((index + 1) * 1000));
  }
});

test("there is no such file, a folder, a workbook: each is said", async () => {
  await expect(lookAtFile("/nowhere/rows.csv")).rejects.toThrow("There is no file /nowhere/rows.csv");
  await expect(lookAtFile("/")).rejects.toThrow("/ is a folder");
  await expect(readTable(Buffer.from("504b030414000600", "hex"), "rows.xlsx")).rejects.toThrow("an Excel workbook");
});
