import { expect, test } from "vitest";
import { LineTooLongError, splitLines, TooManyLinesError } from "../../src/model/json/jsonl.js";

async function linesOf(chunks: readonly (string | Uint8Array)[], lineBytesMax = 1_000): Promise<string[]> {
  const bytes = chunks.map((chunk) => (typeof chunk === "string" ? Buffer.from(chunk) : chunk));
  return collect(splitLines(stream(bytes), { lineBytesMax }));
}

async function collect(split: AsyncIterable<readonly string[]>): Promise<string[]> {
  const collected: string[] = [];
  for await (const lines of split) collected.push(...lines);
  return collected;
}

async function* stream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

test.each<[string, (string | Uint8Array)[], string[]]>([
  ["one line without an end", ["a"], ["a"]],
  ["lines with and without an end", ["a\nb\nc"], ["a", "b", "c"]],
  ["an end cut off by a chunk", ["a", "\n", "b\n"], ["a", "b"]],
  ["carriage returns, also cut off", ["a\r\nb\r", "\nc\r"], ["a", "b", "c"]],
  ["a carriage return inside a line", ["a\rb\n"], ["a\rb"]],
  ["empty lines", ["\n\na\n\r\n\nb\n\n"], ["a", "b"]],
  ["a byte order mark", ["\ufeffa\n\ufeffb\n"], ["a", "\ufeffb"]],
  ["a byte order mark in three chunks", [Buffer.from([0xef]), Buffer.from([0xbb]), Buffer.from([0xbf]), "a"], ["a"]],
  ["nothing but a byte order mark", ["\ufeff"], []],
  ["line separators of other alphabets", ["a\u2028b\u2029c\u0085d\n"], ["a\u2028b\u2029c\u0085d"]],
  ["a character cut in two", [Buffer.from("😀é").subarray(0, 2), Buffer.from("😀é").subarray(2)], ["😀é"]],
  ["bytes that are not UTF-8", [Buffer.from([0x61, 0xff, 0x62, 0x0a, 0x63])], ["a\ufffdb", "c"]],
  ["a character that never ends", [Buffer.from([0xf0, 0x9f, 0x0a, 0x61])], ["\ufffd", "a"]],
  ["empty chunks", ["", "a", "", "\n", ""], ["a"]],
  ["no chunk", [], []],
])("takes %s", async (_, chunks, lines) => {
  expect(await linesOf(chunks)).toEqual(lines);
});

test("takes a line of exactly the limit and refuses a longer one, naming it", async () => {
  expect(await linesOf(["a\n12", "34\nb"], 4)).toEqual(["a", "1234", "b"]);
  for (const chunks of [["a\n\n12345\n"], ["a\n\n12", "345"], ["a\n\n1", "2", "3", "4", "5", "6"]]) {
    const error = await linesOf(chunks, 4).catch((caught: unknown) => caught);
    expect(error).toBeInstanceOf(LineTooLongError);
    expect(error).toMatchObject({ line: 3, message: expect.stringContaining("line 3") });
  }
});

test("gives the lines before the first that is too many", async () => {
  const seen: string[] = [];
  const options = { lineBytesMax: 4, linesMax: 2 };
  await expect(async () => {
    for await (const lines of splitLines(stream([Buffer.from("a\nb\nc\nd")]), options)) seen.push(...lines);
  }).rejects.toThrow(TooManyLinesError);
  expect(seen).toEqual(["a", "b"]);
});

test("gives the lines before one that is too long", async () => {
  const seen: string[] = [];
  await expect(async () => {
    for await (const lines of splitLines(stream([Buffer.from("a\nb\n123456")]), { lineBytesMax: 4 }))
      seen.push(...lines);
  }).rejects.toThrow(LineTooLongError);
  expect(seen).toEqual(["a", "b"]);
});

test("lets the source's error through, and gives no half line before it", async () => {
  async function* broken(): AsyncGenerator<Uint8Array> {
    yield Buffer.from("a\nhal");
    throw new Error("reset");
  }
  const seen: string[] = [];
  await expect(async () => {
    for await (const lines of splitLines(broken())) seen.push(...lines);
  }).rejects.toThrow("reset");
  expect(seen).toEqual(["a"]);
});
