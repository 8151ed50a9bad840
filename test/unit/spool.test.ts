import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { LINES, type Frame } from "../../src/model/provider.js";
import { isWhole, openSpool } from "../../src/worker/spool.js";

let folder = "";
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), "rowmill-spool-"));
});
afterAll(() => rm(folder, { recursive: true, force: true }));

const LIST: Frame = { head: "[", separator: ",\n", tail: "]\n" };

describe("a spool file has its lines in the provider's frame, counted and hashed", () => {
  test.each<[string, Frame, readonly string[]]>([
    ["no line", LINES, []],
    ["no line between brackets", LIST, []],
    ["one line", LIST, ["a"]],
    [
      "more lines than are gathered",
      LINES,
      Array.from({ length: 3_000 }, (_, index) => `${index}${"x".repeat(400)}`),
    ],
    ["characters of one to four bytes", LIST, Array.from({ length: 50_000 }, () => "aé€😀")],
    ["a line longer than what is gathered", LIST, ["a", "é".repeat(300_000), "b", "y".repeat(90_000), "c"]],
  ])("%s", async (_, frame, lines) => {
    const spool = await openSpool(folder, "batch", frame);
    for (const line of lines) await spool.write(line);
    const file = await spool.close();
    const [first, ...others] = lines;
    const body = first === undefined ? "" : frame.head + [first, ...others].join(frame.separator);
    const expected = Buffer.from(body + frame.tail);
    expect((await readFile(spool.path)).equals(expected)).toBe(true);
    const sha256 = createHash("sha256").update(expected).digest("hex");
    expect(file).toEqual({ bytes: expected.length, sha256 });
    expect(await isWhole({ batchId: "batch", path: spool.path, ...file })).toBe(true);
  });
});
