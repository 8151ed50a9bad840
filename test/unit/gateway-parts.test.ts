import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { AppendFile } from "../../src/gateway/storage/append-file.js";
import { LINE_BYTES_MAX, readLineChunks } from "../../src/gateway/protocol/input-lines.js";
import { shuffledOrder } from "../../src/gateway/engine/batch-files.js";
import { Slots } from "../../src/gateway/protocol/signal.js";
import { WorkFile } from "../../src/gateway/storage/work-file.js";

let dir = "";
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), "rowmill-gateway-parts-"));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

async function linesIn(content: string | Buffer, perChunk = 7): Promise<(string | null)[]> {
  const path = join(dir, "lines");
  writeFileSync(path, content);
  const lines: (string | null)[] = [];
  for await (const chunk of readLineChunks(path, perChunk)) lines.push(...chunk);
  return lines;
}

describe("lines of a file", () => {
  test("are what stands between line feeds, whatever the characters and sizes", async () => {
    const line = fc.string({ unit: "grapheme", maxLength: 50 }).map((text) => text.replaceAll("\n", ""));
    await fc.assert(
      fc.asyncProperty(fc.array(line, { maxLength: 40 }), fc.integer({ min: 1, max: 50 }), async (lines, perChunk) => {
        const content = lines.map((text) => `${text}\n`).join("");
        expect(await linesIn(content, perChunk)).toEqual(lines);
      }),
      { numRuns: 100 },
    );
  });

  test("may be longer than one read, and the last needs no line feed", async () => {
    const lines = ["a".repeat(300_000), "é🎬\u2028".repeat(100_000), "end"];
    expect(await linesIn(lines.join("\n"))).toEqual(lines);
  });

  test("that are too long are null, and the next one is read", async () => {
    const content = Buffer.concat([Buffer.alloc(LINE_BYTES_MAX + 1, 0x61), Buffer.from("\nnext\n")]);
    expect(await linesIn(content)).toEqual([null, "next"]);
  });
});

describe("a file that grows by lines", () => {
  test("loses a last line that was cut, however long", () => {
    const path = join(dir, "append");
    for (const torn of ["half", "x".repeat(200_000)]) {
      writeFileSync(path, `one\ntwo\n${torn}`);
      const file = new AppendFile(path);
      file.append("three\n");
      expect(file.read(0, file.bytes)).toBe("one\ntwo\nthree\n");
      file.close();
    }
  });
});

describe("a work file", () => {
  test("gives its lines back in any order, also after it was opened again with fewer", async () => {
    const path = join(dir, "work");
    const { work } = await WorkFile.open(path, 0);
    const usage = { prompt_tokens: 7, completion_tokens: 2 };
    const good = JSON.stringify({ response: { body: { usage } }, text: "é" });
    work.append([
      { ok: true, text: good },
      { ok: false, text: "{}" },
    ]);
    work.append([{ ok: true, text: good }]);
    expect([work.line(2), work.line(1), work.line(0)].map((line) => line.ok)).toEqual([true, false, true]);
    work.close();
    const again = await WorkFile.open(path, 2);
    expect(again.tokens).toEqual({ input: 7, output: 2 });
    expect([again.work.lines, again.work.completed]).toEqual([2, 1]);
    again.work.append([{ ok: false, text: "[]" }]);
    expect(again.work.line(2)).toEqual({ ok: false, text: "[]" });
    again.work.close();
  });
});

describe("a shuffled order", () => {
  test("holds each number once, and depends on the seed alone", () => {
    fc.assert(
      fc.property(fc.nat({ max: 300 }), fc.integer(), (count, seed) => {
        const order = shuffledOrder(count, seed);
        expect([...order].toSorted((a, b) => a - b)).toEqual([...shuffledOrder(count, null)]);
        expect(shuffledOrder(count, seed)).toEqual(order);
      }),
    );
    expect(shuffledOrder(100, 1)).not.toEqual(shuffledOrder(100, 2));
  });
});

describe("slots", () => {
  test("let no more run at once than there are, and lose none to an error", async () => {
    const slots = new Slots(3);
    let running = 0;
    let most = 0;
    const work = async (fails: boolean) => {
      most = Math.max(most, ++running);
      await Promise.resolve();
      running -= 1;
      if (fails) throw new Error("scripted");
    };
    const ended = await Promise.allSettled(
      Array.from({ length: 20 }, (_, index) =>
        slots.run(
          () => work(index % 4 === 0),
          () => false,
        ),
      ),
    );
    expect(ended.filter(({ status }) => status === "rejected")).toHaveLength(5);
    expect(most).toBe(3);
  });

  test("let in what becomes urgent beside those that run, and no more than before afterwards", async () => {
    const slots = new Slots(1);
    const begun: string[] = [];
    const urgent = new Set(["born urgent"]);
    const ends = new Map<string, () => void>();
    const start = (name: string) =>
      slots.run(
        () => {
          begun.push(name);
          return new Promise<void>((resolve) => ends.set(name, resolve));
        },
        () => urgent.has(name),
      );
    const end = async (name: string, run: Promise<void>) => {
      ends.get(name)?.();
      await run;
    };
    const [first, , third] = [start("first"), start("second"), start("third")];
    const born = start("born urgent");
    expect(begun).toEqual(["first", "born urgent"]);
    urgent.add("third");
    slots.hurry();
    await Promise.resolve();
    expect(begun).toEqual(["first", "born urgent", "third"]);
    await end("third", third);
    await end("born urgent", born);
    expect(begun).toHaveLength(3);
    await end("first", first);
    expect(begun).toEqual(["first", "born urgent", "third", "second"]);
  });
});
