import { spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { once } from "node:events";
import { readdir, readFile, writeFile } from "node:fs/promises";
import { basename, join } from "node:path";
import { Readable } from "node:stream";
import { gzipSync } from "node:zlib";
import { expect, test } from "vitest";
import { spoolPipe } from "../../src/files/spool-pipe.js";
import { readFileOf, scratchFolder, shown } from "../support/file-tables.js";

function piped(...chunks: readonly (string | Buffer)[]): Readable {
  return Readable.from(
    chunks.map((chunk) => Buffer.from(chunk)),
    { objectMode: true },
  );
}

test("the same bytes through a pipe are the same file, however they come", async () => {
  const folder = join(await scratchFolder(), "state", "pipes");
  const one = await spoolPipe(piped("a,b\n", "1,2\n"), folder);
  const two = await spoolPipe(piped("a,b", "\n1,", "2\n"), folder);
  const other = await spoolPipe(piped("a,b\n1,3\n"), folder);
  expect(two).toEqual(one);
  expect(one).toMatchObject({ bytes: 8, hash: createHash("sha256").update("a,b\n1,2\n").digest("hex") });
  expect((await readdir(folder)).sort()).toEqual([basename(one.path), basename(other.path)].sort());
  expect(shown(await readFileOf(one.path))).toEqual([["1", "2"]]);
});

test("what comes through a pipe is recognised by its content", async () => {
  const folder = await scratchFolder();
  const packed = await spoolPipe(piped(gzipSync('{"a":1}\n{"a":2}\n')), folder);
  expect((await readFileOf(packed.path)).look).toMatchObject({ format: "jsonl", gzip: true });
});

test("an empty pipe is refused, and a pipe that breaks leaves nothing", async () => {
  const folder = await scratchFolder();
  await expect(spoolPipe(piped(), folder)).rejects.toThrow("nothing came through the pipe");
  async function* broken(): AsyncGenerator<Buffer> {
    yield Buffer.from("a,b\n");
    throw new Error("the pipe broke");
  }
  await expect(spoolPipe(broken(), folder)).rejects.toThrow("the pipe broke");
  const stop = new AbortController();
  async function* endless(): AsyncGenerator<Buffer> {
    for (;;) {
      yield Buffer.from("a,b\n");
      stop.abort(new Error("stopped"));
    }
  }
  await expect(spoolPipe(endless(), folder, { signal: stop.signal })).rejects.toThrow("stopped");
  expect(await readdir(folder)).toEqual([]);
});

test("what a killed process left of a pipe is removed", async () => {
  const folder = await scratchFolder();
  const child = spawn(process.execPath, ["-e", ""]);
  await once(child, "exit");
  await writeFile(join(folder, `.stdin.rowmill-${child.pid}-0123abcd-1`), "half");
  const { path } = await spoolPipe(piped("a\n1\n"), folder);
  expect(await readdir(folder)).toEqual([basename(path)]);
  expect(await readFile(path, "utf8")).toBe("a\n1\n");
});
