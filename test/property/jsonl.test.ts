import fc from "fast-check";
import { expect, test } from "vitest";
import { splitLines } from "../../src/model/json/jsonl.js";

async function collect(split: AsyncIterable<readonly string[]>): Promise<string[]> {
  const collected: string[] = [];
  for await (const lines of split) collected.push(...lines);
  return collected;
}

async function* stream(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks;
}

/** Bytes cut at arbitrary places, empty chunks included. */
function cut(bytes: Buffer, places: readonly number[]): Uint8Array[] {
  const ends = [...places.map((place) => place % (bytes.length + 1)), bytes.length].sort((a, b) => a - b);
  return ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end));
}

const text = fc.string({ unit: "binary", maxLength: 40 });
const value = fc.oneof(fc.jsonValue(), fc.constantFrom("\u2028", "\ufeff", "a\r\nb", "😀", "\u0085"));

test("JSON values written one a line come back, however the bytes are cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(value),
      fc.array(fc.nat(), { maxLength: 30 }),
      fc.constantFrom("\n", "\r\n"),
      fc.boolean(),
      async (values, places, ending, marked) => {
        const lines = values.map((entry) => JSON.stringify(entry));
        const file = Buffer.from((marked ? "\ufeff" : "") + lines.map((line) => line + ending).join(""));
        const read = await collect(splitLines(stream(cut(file, places))));
        expect(read).toEqual(lines);
      },
    ),
  );
});

test("any bytes give the lines of a plain split, however they are cut", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(text, fc.constantFrom("\n", "\r\n", "\r"))),
      fc.uint8Array({ maxLength: 20 }),
      fc.array(fc.nat(), { maxLength: 30 }),
      async (parts, noise, places) => {
        const bytes = Buffer.concat([Buffer.from(parts.join("")), noise]);
        const whole = bytes.subarray(bytes.subarray(0, 3).equals(Buffer.from("\ufeff")) ? 3 : 0);
        const expected = plainSplit(whole)
          .map((line) => line.replace(/\r$/, ""))
          .filter((line) => line !== "");
        expect(await collect(splitLines(stream(cut(bytes, places))))).toEqual(expected);
      },
    ),
  );
});

function plainSplit(bytes: Buffer): string[] {
  const lines: string[] = [];
  let start = 0;
  for (const [index, byte] of bytes.entries()) {
    if (byte !== 0x0a) continue;
    lines.push(bytes.toString("utf8", start, index));
    start = index + 1;
  }
  return [...lines, bytes.toString("utf8", start)];
}
