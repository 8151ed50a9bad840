import { execFileSync } from "node:child_process";
import { readdir, readFile, rename, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, test, vi } from "vitest";
import { acquireWorkerLock, stopEmbedded } from "../../src/embedded/embedded.js";
import { openEmbedded } from "../support/built.js";
import {
  connect,
  count,
  dataDir,
  dirs,
  endEmbedded,
  killed,
  opener,
  openHere,
  serverPid,
} from "../support/embedded-openers.js";
import { embeddedDataDir, emptyDataDir } from "../support/embedded-template.js";

// Each server that starts compiles PGlite: seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

/** Between looks whether a process is still there. */
const lookMs = 20;

const isLinux = process.platform === "linux";
const unlessLinux = isLinux ? "" : " (skipped: a process's peak can be asked for on Linux only)";

afterEach(endEmbedded);
test("openers of one folder at the same time, in several processes, share one server", async () => {
  const dir = await dataDir();
  const [first, second, ...urls] = await Promise.all([
    opener("open", dir),
    opener("open", dir),
    ...[1, 2, 3].map(() => openHere({ dataDir: dir })),
  ]);
  expect(first.said).toEqual({ url: urls[0] });
  expect(second.said).toEqual({ url: urls[0] });
  expect(new Set(urls).size).toBe(1);
  expect((await readdir(dir)).filter((name) => name.startsWith("server."))).toEqual(
    expect.arrayContaining(["server.1"]),
  );
  expect((await readdir(dir)).filter((name) => /^server\.[2-9]/.test(name))).toEqual([]);
});

test("the server ends by itself after the last one has gone, and the data is there for the next", async () => {
  const dir = await dataDir();
  const database = await openEmbedded({ dataDir: dir, graceMs: 50 });
  const client = await connect(database.url);
  await client.query("CREATE TABLE kept AS SELECT 1 AS n");
  await database.close();
  expect((await client.query("SELECT n FROM kept")).rows).toEqual([{ n: 1 }]);
  const pid = await serverPid(dir);
  await client.end();
  await endOf(pid);
  expect(await count(await openHere({ dataDir: dir }), "kept")).toBe(1);
});

test("the server is out of reach of the terminal's Ctrl-C, and its folder of other users", async () => {
  const dir = await dataDir();
  await openHere({ dataDir: dir });
  const pid = await serverPid(dir);
  const group = execFileSync("ps", ["-o", "pgid=", "-p", String(pid)], { encoding: "utf8" });
  expect(Number(group)).toBe(pid);
  expect((await stat(dir)).mode & 0o777).toBe(0o700);
});

test("SIGTERM closes the database cleanly and tells its clients", async () => {
  const dir = await dataDir();
  const client = await connect(await openHere({ dataDir: dir }));
  const told = new Promise<Error>((resolve) => client.once("error", resolve));
  await client.query("CREATE TABLE closed AS SELECT 1 AS n");
  await stopEmbedded({ dataDir: dir });
  expect(await told).toMatchObject({ code: "57P01" });
  expect(await count(await openHere({ dataDir: dir }), "closed")).toBe(1);
});

test("a client that is silent in its transaction too long is cut off, and the others continue", async () => {
  const dir = await dataDir();
  const url = await openHere({ dataDir: dir, transactionIdleMs: 100 });
  const [silent, other] = [await connect(url), await connect(url)];
  const told = new Promise<Error>((resolve) => silent.once("error", resolve));
  await silent.query("CREATE TABLE silence (n int)");
  await silent.query("BEGIN");
  await silent.query("INSERT INTO silence VALUES (1)");
  expect((await other.query("SELECT count(*)::int AS n FROM silence")).rows).toEqual([{ n: 0 }]);
  expect(await told).toMatchObject({ code: "25P03" });
});

test("the right to be the one worker process is held by one, who is named, and freed by its end", async () => {
  const dir = await dataDir();
  const lock = await acquireWorkerLock({ dataDir: dir, command: "rowmill up --until-idle" });
  if ("heldBy" in lock) throw new Error("the lock was held");
  const second = await opener("lock", dir);
  expect(second.said).toMatchObject({ heldBy: { pid: process.pid, command: "rowmill up --until-idle" } });
  lock.release();
  const third = await opener("lock", dir);
  expect(third.said).toEqual({ locked: true });
  expect(await acquireWorkerLock({ dataDir: dir, command: "rowmill up" })).toMatchObject({
    heldBy: { pid: third.child.pid },
  });
  await killed(third.child);
  const free = await acquireWorkerLock({ dataDir: dir, command: "rowmill up" });
  expect(free).toHaveProperty("release");
  if (!("heldBy" in free)) free.release();
});

test("a folder whose path is too long for a socket works like another", async () => {
  const base = await emptyDataDir();
  const dir = join(base, "long".repeat(30));
  dirs.push(dir, base);
  await rename(await embeddedDataDir(), dir);
  const url = await openHere({ dataDir: dir });
  const socketDir = new URL(url).searchParams.get("host") ?? "";
  dirs.push(socketDir);
  expect(Buffer.byteLength(`${socketDir}/.s.PGSQL.5432`)).toBeLessThanOrEqual(103);
  expect((await (await connect(url)).query("SELECT 1 AS n")).rows).toEqual([{ n: 1 }]);
  expect(await readdir(dir)).toContain(".s.PGSQL.5432");
});

test.runIf(isLinux)(
  `the server needs less than 300 MB at its peak, also when the database was made for it and after 200,000 rows${unlessLinux}`,
  async () => {
    const dir = await emptyDataDir();
    dirs.push(dir);
    const client = await connect(await openHere({ dataDir: dir }));
    await client.query("CREATE TABLE large AS SELECT n, repeat('x', 250) FROM generate_series(1, 200000) AS t (n)");
    const status = await readFile(`/proc/${await serverPid(dir)}/status`, "utf8");
    expect(Number(/VmHWM:\s+(\d+) kB/.exec(status)?.[1])).toBeLessThan(300 * 1024);
  },
);

test("files that PostgreSQL does not take are reported with the server's own words", async () => {
  const dir = await dataDir();
  await writeFile(join(dir, "postgres", "PG_VERSION"), "9.6\n");
  await expect(openEmbedded({ dataDir: dir })).rejects.toMatchObject({
    code: "database_unreachable",
    message: expect.stringMatching(/database files are incompatible/),
  });
});

/** Resolves when no process has that id; fails by the test's own time-out. Attaching would keep the server alive. */
async function endOf(pid: number): Promise<void> {
  for (;;) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await sleep(lookMs);
  }
}
