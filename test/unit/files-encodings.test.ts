import { readFile, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { lookAtFile } from "../../src/files/look-at-file.js";
import { readRecords } from "../../src/files/read-records.js";
import { readFileOf, readTable, shown, writeAnswers, written } from "../support/file-tables.js";

const TEXT = 'title,note\r\nAmélie,"a ""b"" 😀"\r\n映画,Σ\r\n';
const ROWS = [
  ["Amélie", 'a "b" 😀'],
  ["映画", "Σ"],
];

function utf16(text: string, isBigEndian: boolean): Buffer {
  const bytes = Buffer.from(text, "utf16le");
  return isBigEndian ? bytes.swap16() : bytes;
}

test.each([
  ["utf-16le", "with", "\ufeff"],
  ["utf-16be", "with", "\ufeff"],
  ["utf-16le", "without", ""],
  ["utf-16be", "without", ""],
] as const)("%s %s byte order mark is found and said", async (encoding, _, mark) => {
  const read = await readTable(utf16(mark + TEXT, encoding === "utf-16be"));
  expect(read.look).toMatchObject({
    encoding,
    bom: mark !== "",
    notes: ["It is read as UTF-16. Outputs are in UTF-8."],
  });
  expect(read.look.columns).toEqual(["title", "note"]);
  expect(shown(read)).toEqual(ROWS);
});

test("UTF-16 of a script without ASCII is found by its line ends", async () => {
  const read = await readTable(utf16(`映画\n${"日本語の題名\n".repeat(20)}`, false));
  expect(read.look).toMatchObject({ encoding: "utf-16le", columns: ["映画"] });
});

test("characters of UTF-16 that chunks cut in two are whole", async () => {
  const text = `a,b\n${`😀x,${"é".repeat(37)}\n`.repeat(20_000)}`;
  const read = await readTable(utf16(text, true));
  expect(read.records).toHaveLength(20_000);
  expect(read.records.every((record) => "cells" in record && record.cells["a"] === "😀x")).toBe(true);
});

test("half a surrogate pair, and half a character at the end, fail alone", async () => {
  const text = utf16("a,b\n1,\ud800x\n2,y\n3,z", false);
  expect(shown(await readTable(Buffer.concat([text, Buffer.from([0x41])])))).toEqual([
    "2: It holds bytes that are not UTF-8. Save the file as UTF-8, or name its encoding.",
    ["2", "y"],
    "4: It holds bytes that are not UTF-8. Save the file as UTF-8, or name its encoding.",
  ]);
});

test("Latin-1 is found and said, with the characters that Windows-1252 adds", async () => {
  const read = await readTable(Buffer.from("title,price\nAm\xe9lie \x96 \x93b\x94,5 \x80\n", "latin1"));
  expect(read.look).toMatchObject({
    encoding: "latin1",
    notes: ["It is read as Latin-1 (Windows-1252). Outputs are in UTF-8."],
  });
  expect(shown(read)).toEqual([["Amélie – “b”", "5 €"]]);
});

test("an encoding that you name is used", async () => {
  const read = await readTable(Buffer.from("a,b\nZo\xeb,1\n", "latin1"), "rows.csv", { encoding: "utf-8" });
  expect(shown(read)).toEqual(["2: It holds bytes that are not UTF-8. Save the file as UTF-8, or name its encoding."]);
  const other = await readTable("a,b\nZoë,1\n", "rows.csv", { encoding: "latin1" });
  expect(shown(other)).toEqual([["ZoÃ«", "1"]]);
});

test("a character that the sample of 1 MiB cuts in two does not make it Latin-1", async () => {
  const read = await readTable(`a,b\n${"é".repeat(600_000)},1\n`);
  expect(read.look.encoding).toBe("utf-8");
});

test("an output of UTF-16 is UTF-8 with a byte order mark, for Excel", async () => {
  const path = await written(utf16("\ufeffa\tb\r\né\t1\r\n", false), "rows.txt");
  const out = join(dirname(path), "out.txt");
  await writeAnswers(await lookAtFile(path), out);
  expect(await readFile(out, "utf8")).toBe("\ufeffa\tb\tlabel\r\né\t1\tanswer 0\r\n");
});

test("gzip is recognised by its bytes, not its name", async () => {
  const read = await readTable(gzipSync("a,b\n1,2\n"), "rows.csv");
  expect(read.look.gzip).toBe(true);
  expect(shown(read)).toEqual([["1", "2"]]);
  expect((await readTable(gzipSync("a\tb\n1\t2\n"), "rows.tsv.gz")).look.format).toBe("tsv");
});

test("a gzip of several members is read to its end", async () => {
  const members = [gzipSync("\ufeffa,b\n1,2\n3"), gzipSync(",4\n"), gzipSync(""), gzipSync("5,6\n")];
  expect(shown(await readTable(Buffer.concat(members), "rows.csv.gz"))).toEqual([
    ["1", "2"],
    ["3", "4"],
    ["5", "6"],
  ]);
});

test("a gzip that is cut off is said, at the look or after the records before the cut", async () => {
  const small = gzipSync("a,b\n1,2\n");
  await expect(readTable(small.subarray(0, -4))).rejects.toThrow("is cut off: its gzip data ends in the middle");
  const lines = Array.from({ length: 300_000 }, (_, index) => `${index},${Math.sin(index)}\n`);
  const large = gzipSync(`a,b\n${lines.join("")}`);
  const look = await lookAtFile(await written(large.subarray(0, -1000), "rows.csv.gz"));
  let rows = 0;
  const reading = (async () => {
    for await (const { records } of readRecords(look)) rows += records.length;
  })();
  await expect(reading).rejects.toThrow("is cut off");
  expect(rows).toBeGreaterThan(290_000);
});

test("a gzip that is damaged is said", async () => {
  const packed = gzipSync(`a,b\n${"1,2\n".repeat(1000)}`);
  packed.fill(0xff, 20, 40);
  await expect(readTable(packed)).rejects.toThrow("is damaged: its gzip data cannot be unpacked");
});

test("reading gzip continues from the place of an earlier page", async () => {
  const path = await written(gzipSync(`\ufeffa,b\n${"1,é\n".repeat(3000)}`), "rows.csv.gz");
  const look = await lookAtFile(path);
  const pages = [];
  for await (const page of readRecords(look)) pages.push(page);
  const rest = [];
  for await (const page of readRecords(look, { after: pages[0]?.place })) rest.push(...page.records);
  expect(rest).toEqual(pages.slice(1).flatMap(({ records }) => records));
});

test("a file is read under the signal that stops it", async () => {
  const path = await written(`a,b\n${"1,2\n".repeat(200_000)}`);
  const stop = new AbortController();
  const look = await lookAtFile(path);
  const reading = (async () => {
    for await (const _ of readRecords(look, { signal: stop.signal })) stop.abort(new Error("stopped"));
  })();
  await expect(reading).rejects.toThrow("stopped");
});

test("what is written is read again, packed or not", async () => {
  const path = await written(gzipSync(TEXT), "rows.csv.gz");
  const out = join(dirname(path), "out.csv.gz");
  await writeAnswers(await lookAtFile(path), out);
  expect(shown(await readFileOf(out))).toEqual(ROWS.map((row, index) => [...row, `answer ${index}`]));
  await writeFile(join(dirname(path), "plain"), "");
});
