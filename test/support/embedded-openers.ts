/** Embedded servers that a test opens, from this process and from others, and ends itself. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { embeddedPaths } from "../../src/embedded/embedded-paths.js";
import { stopEmbedded, type OpenEmbeddedOptions } from "../../src/embedded/embedded.js";
import { connectToHolder, holderOf } from "../../src/embedded/living-lock.js";
import { openEmbedded } from "./built.js";
import { embeddedDataDir } from "./embedded-template.js";

/** Removed after each test. */
export const dirs: string[] = [];
const children: ChildProcess[] = [];
const attached: { close(): Promise<void> }[] = [];
const clients: pg.Client[] = [];

/** After each test. */
export async function endEmbedded(): Promise<void> {
  for (const client of clients.splice(0)) await client.end();
  for (const child of children.splice(0)) await killed(child);
  for (const one of attached.splice(0)) await one.close();
  for (const dir of dirs.splice(0)) {
    await stopEmbedded({ dataDir: dir });
    await rm(dir, { recursive: true, force: true });
  }
}

/** With a cluster inside. */
export async function dataDir(): Promise<string> {
  const dir = await embeddedDataDir();
  dirs.push(dir);
  return dir;
}

export async function openHere(options: OpenEmbeddedOptions): Promise<string> {
  const database = await openEmbedded(options);
  attached.push(database);
  return database.url;
}

export async function connect(url: string): Promise<pg.Client> {
  const client = new pg.Client({ connectionString: url });
  // A server that is killed takes the connection along; what a test wants to know of it, it asks.
  client.on("error", () => {});
  await client.connect();
  clients.push(client);
  return client;
}

/** To the server that lives, or the next one. */
export async function connectToNext(dir: string): Promise<pg.Client> {
  const database = await openEmbedded({ dataDir: dir });
  const client = await connect(database.url);
  await database.close();
  return client;
}

export async function count(url: string, table: string): Promise<number> {
  const client = await connect(url);
  return (await client.query(`SELECT count(*)::int AS n FROM ${table}`)).rows[0].n;
}

/** Another process; resolves with what it says when it is ready. */
export async function opener(verb: "open" | "lock", dir: string): Promise<{ child: ChildProcess; said: unknown }> {
  const script = fileURLToPath(new URL("./embedded-opener.mjs", import.meta.url));
  const child = spawn(process.execPath, [script, verb, dir], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  children.push(child);
  for await (const line of createInterface({ input: child.stdout })) return { child, said: JSON.parse(line) };
  throw new Error("the opener ended without a word");
}

export async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}

export async function serverPid(dir: string): Promise<number> {
  const holder = await holderOf((await embeddedPaths(dir)).socketDir, "server");
  if (holder === null) throw new Error("no server lives");
  return holder.pid;
}

/** Resolves when the server that lives now is no more. Keeps it from ending by itself meanwhile. */
export async function killServer(dir: string): Promise<void> {
  const socket = await connectToHolder((await embeddedPaths(dir)).socketDir, "server");
  if (socket === null) throw new Error("no server lives");
  const gone = new Promise((resolve) => socket.resume().once("close", resolve));
  process.kill(await serverPid(dir), "SIGKILL");
  await gone;
}
