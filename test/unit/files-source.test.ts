/** What a source of files makes of files that come, go and change while it reads. */
import { mkdir, mkdtemp, rename, rm, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { readFiles } from "../../src/connectors/files/read-files.js";
import type { Page } from "../../src/model/connector.js";
import type { Json } from "../../src/model/pipeline.js";

describe("a source of files", () => {
  let folder: string;
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), "rowmill-source-"));
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** `age`: seconds since it was written. */
  const put = async (name: string, rows: readonly string[], age: number) => {
    const path = join(folder, name);
    await writeFile(path, ["id,title", ...rows, ""].join("\n"));
    const time = Date.now() / 1000 - age;
    await utimes(path, time, time);
  };
  const reading = (since: Json = null): AsyncGenerator<Page> =>
    readFiles(
      { pattern: join(folder, "*.csv"), key: ["id"], columns: ["title"], look: {} },
      { since, place: null, signal: new AbortController().signal },
    );
  const readAll = async (since: Json = null) => {
    const pages: Page[] = [];
    for await (const page of reading(since)) pages.push(page);
    return { rows: pages.flatMap(({ rows }) => rows), mark: pages.at(-1)?.mark ?? null };
  };

  it("gives no row of an older file that arrives late where a newer file has its key", async () => {
    await put("new.csv", ["1,newer"], 10);
    const first = await readAll();
    await put("late.csv", ["1,older", "2,other"], 60);
    expect((await readAll(first.mark)).rows).toEqual([{ id: "2", title: "other" }]);
    expect((await readAll()).rows).toEqual([
      { id: "1", title: "newer" },
      { id: "2", title: "other" },
    ]);
  });

  it("passes over a file of answers that matches its pattern", async () => {
    await put("in.csv", ["1,M"], 10);
    await put("out.csv", ["1,answer"], 5);
    await mkdir(join(folder, ".out.csv.parts"));
    expect((await readAll()).rows).toEqual([{ id: "1", title: "M" }]);
  });

  it("begins again where a file is replaced while it is read", async () => {
    const rows = Array.from({ length: 3_000 }, (_, id) => `${id},before`);
    await put("in.csv", rows, 10);
    const pages = reading();
    await pages.next();
    await put("next", ["1,after"], 0);
    await rename(join(folder, "next"), join(folder, "in.csv"));
    await expect(pages.next()).rejects.toMatchObject({ kind: "again", message: expect.stringContaining("replaced") });
    expect((await readAll()).rows).toEqual([{ id: "1", title: "after" }]);
  });

  it("begins again where a file vanishes before it is read", async () => {
    await put("a.csv", ["1,M"], 1);
    await put("b.csv", ["2,Nosferatu"], 10);
    const pages = reading();
    await pages.next();
    await rm(join(folder, "b.csv"));
    await expect(pages.next()).rejects.toMatchObject({ kind: "again" });
    expect((await readAll()).rows).toEqual([{ id: "1", title: "M" }]);
  });
});
