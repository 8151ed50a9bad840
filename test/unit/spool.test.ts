import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LINES, type Frame } from "../../src/model/provider/provider.js";
import type { Lease } from "../../src/store/batches/batches.js";
import { emptyMemory } from "../../src/worker/context.js";
import { DraftLines, isWhole, openSpool } from "../../src/worker/spool.js";

const context = { spoolFolder: "", memory: emptyMemory() };
beforeAll(async () => {
  context.spoolFolder = await mkdtemp(join(tmpdir(), "rowmill-spool-"));
});
afterAll(() => rm(context.spoolFolder, { recursive: true, force: true }));

const LIST: Frame = { head: "[", separator: ",\n", tail: "]\n" };

describe("a spool file has its lines in the provider's frame, counted and hashed", () => {
  test.each<[string, Frame, readonly string[]]>([
    ["no line", LINES, []],
    ["no line between brackets", LIST, []],
    ["one line", LIST, ["a"]],
    ["more lines than are gathered", LINES, Array.from({ length: 3_000 }, (_, index) => `${index}${"x".repeat(400)}`)],
    ["characters of one to four bytes", LIST, Array.from({ length: 50_000 }, () => "aé€😀")],
    ["a line longer than what is gathered", LIST, ["a", "é".repeat(300_000), "b", "y".repeat(90_000), "c"]],
  ])("%s", async (_, frame, lines) => {
    const spool = await openSpool(context, "batch", frame);
    const draft = new DraftLines(frame);
    let bytes = 0;
    for (const line of lines) {
      bytes += draft.add(line);
      draft.add(`dropped ${line}`);
      draft.dropLast();
    }
    await spool.append(draft, () => true);
    const file = await spool.close({ batchId: "batch", token: "0" });
    const [first, ...others] = lines;
    const body = first === undefined ? "" : frame.head + [first, ...others].join(frame.separator);
    const expected = Buffer.from(body + frame.tail);
    expect((await readFile(spool.path)).equals(expected)).toBe(true);
    const sha256 = createHash("sha256").update(expected).digest("hex");
    expect(file).toEqual({ bytes: expected.length, sha256 });
    const { head, separator, tail } = frame;
    const around = first === undefined ? 0 : head.length - separator.length;
    expect(expected.length).toBe(bytes + around + tail.length);
    const lease = { batchId: "batch", token: "1" };
    const written = { batchId: "batch", path: spool.path, ...file };
    expect(await isWhole(context, written, lease)).toBe(true);
    expect(await isWhole(context, { ...written, sha256: "other" }, lease)).toBe(false);
  });

  test("a file that was just written is not read again, until it is another one", async () => {
    const lease = { batchId: "fresh", token: "1" };
    const write = async (line: string, lease: Lease) => {
      const spool = await openSpool(context, "fresh", LINES);
      const draft = new DraftLines(LINES);
      draft.add(line);
      await spool.append(draft, () => true);
      return { batchId: "fresh", path: spool.path, ...(await spool.close(lease)) };
    };
    const file = await write("one", lease);
    // It is known by what it was, so that what stands in it does not matter.
    expect(await isWhole(context, { ...file, sha256: "unread" }, lease)).toBe(true);
    expect(await isWhole(context, { ...file, sha256: "unread" }, { ...lease })).toBe(false);
    expect(await isWhole(context, { ...file, bytes: file.bytes + 1 }, lease)).toBe(false);
    await writeFile(file.path, "two\n");
    expect(await isWhole(context, file, lease)).toBe(false);
    const other = await write("two", { ...lease });
    expect(await isWhole(context, file, lease)).toBe(false);
    expect(await isWhole(context, other, lease)).toBe(true);
    await rm(file.path);
    expect(await isWhole(context, file, lease)).toBe(false);
  });

  test.each<[string, (place: number) => boolean, number]>([
    ["none of them", () => false, 4_000],
    ["not the first", (place) => place > 0, 4_000],
    ["each second one", (place) => place % 2 === 1, 4_000],
    ["runs of them", (place) => place % 1_000 < 700, 4_000],
  ])("of a draft's lines those that are taken: %s", async (_, isTaken, count) => {
    const spool = await openSpool(context, "taken", LIST);
    const texts = Array.from({ length: count }, (_line, place) => `${place}${"é".repeat(place % 300)}`);
    for (const half of [texts.slice(0, count / 2), texts.slice(count / 2)]) {
      const draft = new DraftLines(LIST);
      for (const text of half) draft.add(text);
      await spool.append(draft, isTaken);
    }
    await spool.close({ batchId: "taken", token: "0" });
    const taken = texts.filter((_text, place) => isTaken(place % (count / 2)));
    const expected = taken.length === 0 ? "" : LIST.head + taken.join(LIST.separator);
    expect(await readFile(spool.path, "utf8")).toBe(expected + LIST.tail);
  });
});
