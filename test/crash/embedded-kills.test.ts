/** The process of the embedded database dies, or the one that opened it; or making the database is interrupted. */
import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, test, vi } from "vitest";
import { stopEmbedded } from "../../src/embedded/embedded.js";
import { openEmbedded } from "../support/built.js";
import {
  connect,
  connectToNext,
  count,
  dataDir,
  dirs,
  endEmbedded,
  killed,
  killServer,
  opener,
  openHere,
  serverPid,
} from "../support/embedded-openers.js";
import { emptyDataDir } from "../support/embedded-template.js";

/** Between looks at what is being made. */
const lookMs = 20;

afterEach(endEmbedded);

test("the server outlives the process that started it, while another is attached", async () => {
  const dir = await dataDir();
  const { child } = await opener("open", dir);
  const pid = await serverPid(dir);
  const client = await connect(await openHere({ dataDir: dir }));
  await killed(child);
  expect((await client.query("SELECT 1 AS n")).rows).toEqual([{ n: 1 }]);
  expect(await serverPid(dir)).toBe(pid);
});

test("kill -9 of the server under load loses no row that was acknowledged", async () => {
  const dir = await dataDir();
  const url = await openHere({ dataDir: dir });
  await (await connect(url)).query("CREATE TABLE acknowledged (n int PRIMARY KEY)");
  let acknowledged = 0;
  for (let round = 0; round < 2; round += 1) {
    const writer = await connectToNext(dir);
    const wanted = acknowledged + 25 + round;
    const writing = (async () => {
      for (;;) {
        await writer.query("INSERT INTO acknowledged VALUES ($1)", [acknowledged]);
        acknowledged += 1;
        if (acknowledged === wanted) void killServer(dir);
      }
    })();
    await expect(writing).rejects.toThrow();
    const reader = await connectToNext(dir);
    const { rows } = await reader.query("SELECT count(*)::int AS n, max(n) AS last FROM acknowledged");
    // The row on its way when the server died may be there or not.
    expect(rows[0].n - acknowledged).toBeOneOf([0, 1]);
    expect(rows[0].last).toBe(rows[0].n - 1);
    acknowledged = rows[0].n;
  }
});

test("a dead server's lock is taken over by exactly one of several openers", async () => {
  const dir = await dataDir();
  const { child } = await opener("open", dir);
  await killed(child);
  await killServer(dir);
  const urls = await Promise.all([1, 2, 3, 4].map(() => openHere({ dataDir: dir })));
  expect(new Set(urls).size).toBe(1);
  expect((await readdir(dir)).filter((name) => /^server\.\d+$/.test(name)).sort()).toEqual(["server.1", "server.2"]);
});

test("creating a database starts again after an interruption", async () => {
  const dir = await emptyDataDir();
  dirs.push(dir);
  await mkdir(join(dir, "postgres.new"));
  await writeFile(join(dir, "postgres.new", "PG_VERSION"), "18\n");
  const client = await connect(await openHere({ dataDir: dir }));
  expect((await client.query("SELECT 1 AS n")).rows).toEqual([{ n: 1 }]);
});

test("kill -9 while it is made leaves no database that looks whole", async () => {
  const dir = await emptyDataDir();
  dirs.push(dir);
  for (const files of [1, 900]) {
    const outcome = openEmbedded({ dataDir: dir }).catch((error: unknown) => error);
    await vi.waitUntil(async () => (await entriesOf(join(dir, "postgres.new"))) >= files, {
      interval: lookMs,
      timeout: 60_000,
    });
    await killServer(dir);
    expect(await outcome).toMatchObject({ code: "database_unreachable" });
    expect(await readdir(dir)).not.toContain("postgres");
  }
  const [other, ...urls] = await Promise.all([opener("open", dir), ...[1, 2].map(() => openHere({ dataDir: dir }))]);
  expect(other.said).toEqual({ url: urls[0] });
  expect(new Set(urls).size).toBe(1);
  expect(await readdir(dir)).not.toContain("postgres.new");
  await (await connect(urls[0]!)).query("CREATE TABLE whole AS SELECT n FROM generate_series(1, 1000) AS t (n)");
  await stopEmbedded({ dataDir: dir });
  expect(await count(await openHere({ dataDir: dir }), "whole")).toBe(1_000);
});

test("the rest of a database that was half made is removed also from a folder that holds a whole one", async () => {
  const dir = await dataDir();
  await mkdir(join(dir, "postgres.new", "base"), { recursive: true });
  await openHere({ dataDir: dir });
  expect(await readdir(dir)).not.toContain("postgres.new");
});

/** Files and folders below a folder that may not be there. */
async function entriesOf(folder: string): Promise<number> {
  return (await readdir(folder, { recursive: true }).catch(() => [])).length;
}
