import { spawn, execFileSync, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as sleep } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { afterEach, expect, test, vi } from "vitest";
import { embeddedPaths } from "../../src/embedded/embedded-paths.js";
import { acquireWorkerLock, stopEmbedded, type OpenEmbeddedOptions } from "../../src/embedded/embedded.js";
import { connectToHolder, holderOf } from "../../src/embedded/living-lock.js";
import { openEmbedded } from "../support/built.js";
import { embeddedDataDir, emptyDataDir } from "../support/embedded-template.js";

// Each server that starts compiles PGlite: seconds on a busy machine.
vi.setConfig({ testTimeout: 120_000 });

/** Between looks whether a process is still there. */
const lookMs = 20;

const isLinux = process.platform === "linux";
const unlessLinux = isLinux ? "" : " (skipped: a process's peak can be asked for on Linux only)";

const dirs: string[] = [];
const children: ChildProcess[] = [];
const attached: { close(): Promise<void> }[] = [];
const clients: pg.Client[] = [];

afterEach(async () => {
  for (const client of clients.splice(0)) await client.end();
  for (const child of children.splice(0)) await killed(child);
  for (const one of attached.splice(0)) await one.close();
  for (const dir of dirs.splice(0)) {
    await stopEmbedded({ dataDir: dir });
    await rm(dir, { recursive: true, force: true });
  }
});

/** With a cluster inside. */
async function dataDir(): Promise<string> {
  const dir = await embeddedDataDir();
  dirs.push(dir);
  return dir;
}

async function openHere(options: OpenEmbeddedOptions): Promise<string> {
  const database = await openEmbedded(options);
  attached.push(database);
  return database.url;
}

async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  // A server that is killed takes the connection along; what a test wants to know of it, it asks.
  client.on("error", () => {});
  await client.connect();
  clients.push(client);
  return client;
}

/** To the server that lives, or the next one. */
async function connectToNext(dir: string): Promise<pg.Client> {
  const database = await openEmbedded({ dataDir: dir });
  const client = await connect(database.url);
  await database.close();
  return client;
}

async function count(url: string, table: string): Promise<number> {
  const client = await connect(url);
  return (await client.query(`SELECT count(*)::int AS n FROM ${table}`)).rows[0].n;
}

/** Another process; resolves with what it says when it is ready. */
async function opener(verb: "open" | "lock", dir: string): Promise<{ child: ChildProcess; said: unknown }> {
  const script = fileURLToPath(new URL("../support/embedded-opener.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, verb, dir], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) return { child, said: JSON.parse(line) };
  throw new Error("the opener ended without a word");
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

async function serverPid(dir: string): Promise<number> {
  const holder = await holderOf((await embeddedPaths(dir)).socketDir, "server");
  if (holder === null) throw new Error("no server lives");
  return holder.pid;
}

/** Resolves when the server that lives now is no more. Keeps it from ending by itself meanwhile. */
async function killServer(dir: string): Promise<void> {
  const socket = await connectToHolder((await embeddedPaths(dir)).socketDir, "server");
  if (socket === null) throw new Error("no server lives");
  const gone = new Promise((resolve) => socket.resume().once("close", resolve));
  process.kill(await serverPid(dir), "SIGKILL");
  await gone;
}

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
  await clients.pop()?.end();
  await endOf(pid);
  expect(await count(await openHere({ dataDir: dir }), "kept")).toBe(1);
});

test("the server outlives the process that started it, while another is attached", async () => {
  const dir = await dataDir();
  const { child } = await opener("open", dir);
  const pid = await serverPid(dir);
  const client = await connect(await openHere({ dataDir: dir }));
  await killed(child);
  expect((await client.query("SELECT 1 AS n")).rows).toEqual([{ n: 1 }]);
  expect(await serverPid(dir)).toBe(pid);
});

test("the server is out of reach of the terminal's Ctrl-C, and its folder of other users", async () => {
  const dir = await dataDir();
  await openHere({ dataDir: dir });
  const pid = await serverPid(dir);
  const group = execFileSync("ps", ["-o", "pgid=", "-p", String(pid)], { encoding: "utf8" });
  expect(Number(group)).toBe(pid);
  expect((await stat(dir)).mode & 0o777).toBe(0o700);
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
  const url = await openHere({ dataDir: dir });
  const socketDir = new URL(url).searchParams.get("host") ?? "";
  dirs.push(socketDir);
  expect(Buffer.byteLength(`${socketDir}/.s.PGSQL.5432`)).toBeLessThanOrEqual(103);
  expect((await (await connect(url)).query("SELECT 1 AS n")).rows).toEqual([{ n: 1 }]);
  expect(await readdir(dir)).toContain(".s.PGSQL.5432");
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

/** Files and folders below a folder that may not be there. */
async function entriesOf(folder: string): Promise<number> {
  return (await readdir(folder, { recursive: true }).catch(() => [])).length;
}
