/**
 * A MariaDB for the tests of a worker, with its files in the temporary folder. Whatever ends the worker ends the
 * server: a shell beside it reads a pipe whose other end only this process holds.
 */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, chown, mkdtemp, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createConnection, type Connection } from "mysql2/promise";
import { unprivilegedUser } from "./postgres-binaries.js";
import { freePort } from "./postgres-servers.js";

/** Debian puts the server where only root's PATH leads. */
const PATH = `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin`;
const START_TRIES_MAX = 300;
const START_PAUSE_MS = 100;
/** Durability is given up: the data does not outlive the run. */
const SETTINGS = [
  "--bind-address=127.0.0.1",
  "--innodb-flush-log-at-trx-commit=0",
  "--innodb-flush-method=nosync",
  "--innodb-buffer-pool-size=64M",
  "--innodb-log-file-size=16M",
  "--performance-schema=off",
  "--skip-name-resolve",
];

const SCRIPT = `
folder=$1; shift
mariadb-install-db --no-defaults --datadir="$folder/data" --auth-root-authentication-method=normal --skip-test-db \\
  >"$folder/install.log" 2>&1 || exit 1
mariadbd --no-defaults --datadir="$folder/data" --socket="$folder/socket" --init-file="$folder/users.sql" "$@" \\
  >"$folder/server.log" 2>&1 </dev/null &
server=$!
read -r _
kill -9 $server
wait
rm -rf "$folder"`;

/** Null: it can be started here. */
export const mariadbMissingBecause: string | null = whyMissing();

function whyMissing(): string | null {
  try {
    execFileSync("mariadbd", ["--no-defaults", "--version"], { env: { PATH }, stdio: "ignore", timeout: 10_000 });
    return null;
  } catch {
    return "mariadb-server is not installed; on Debian: apt-get install mariadb-server";
  }
}

export interface MariaDb {
  /** Of the server, without a database, as a user who may do everything. */
  readonly url: string;
  /** Of a new database. */
  createDatabase(): Promise<MariaDatabase>;
  stop(): Promise<void>;
}

export interface MariaDatabase {
  readonly url: string;
  /** As that user; several statements with `;` between them. */
  run(text: string, values?: readonly unknown[]): Promise<void>;
  rows<Row>(text: string, values?: readonly unknown[]): Promise<Row[]>;
  /** Another session. */
  connect(): Promise<Connection>;
  drop(): Promise<void>;
}

let shared: Promise<MariaDb> | null = null;

/** One for all test files of this worker. */
export function sharedMariaDb(): Promise<MariaDb> {
  return (shared ??= startMariaDb());
}

/** `files`: written into the folder, whose path stands for `FOLDER` in the arguments. */
export async function startMariaDb(
  more: readonly string[] = [],
  files: Readonly<Record<string, string>> = {},
): Promise<MariaDb> {
  const user = await unprivilegedUser();
  const folder = await mkdtemp(join(tmpdir(), "rowmill-test-mariadb-"));
  const users =
    "create user rowmill@'%' identified by 'pass-word';\ngrant all on *.* to rowmill@'%' with grant option;\n";
  for (const [name, text] of Object.entries({ ...files, "users.sql": users })) {
    await writeFile(join(folder, name), text, { mode: 0o600 });
    if (user !== undefined) await chown(join(folder, name), user.uid, user.gid);
  }
  await chmod(folder, 0o700);
  if (user !== undefined) await chown(folder, user.uid, user.gid);
  const port = await freePort();
  const args = [...SETTINGS, `--port=${port}`, ...more.map((one) => one.replaceAll("FOLDER", folder))];
  const watchdog = spawn("/bin/sh", ["-c", SCRIPT, "rowmill-test-mariadb", folder, ...args], {
    ...user,
    cwd: "/",
    env: { PATH },
    detached: true,
    stdio: ["pipe", "ignore", "ignore"],
  });
  watchdog.unref();
  const url = `mysql://rowmill:pass-word@127.0.0.1:${port}`;
  const stop = () => stopThrough(watchdog);
  try {
    await ready(url, watchdog);
    return { url, createDatabase: () => createDatabase(url), stop };
  } catch (error) {
    await stop();
    throw new Error(`MariaDB did not start.`, { cause: error });
  }
}

async function ready(url: string, watchdog: ChildProcess): Promise<void> {
  for (let tries = 1; ; tries++) {
    try {
      await (await createConnection(url)).end();
      return;
    } catch (error) {
      if (tries === START_TRIES_MAX || watchdog.exitCode !== null) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, START_PAUSE_MS));
  }
}

async function stopThrough(watchdog: ChildProcess): Promise<void> {
  if (watchdog.exitCode !== null || watchdog.signalCode !== null) return;
  const ended = once(watchdog, "exit");
  watchdog.ref();
  watchdog.stdin?.end();
  await ended;
}

let databases = 0;

async function createDatabase(server: string): Promise<MariaDatabase> {
  const name = `shop_${process.pid}_${++databases}`;
  const open = (database: string) =>
    createConnection({ uri: `${server}/${database}`, multipleStatements: true, dateStrings: true, charset: "utf8mb4" });
  const first = await open("");
  await first.query(`create database ${name} character set utf8mb4`);
  await first.end();
  const client = await open(name);
  return {
    url: `${server}/${name}`,
    run: async (text, values = []) => void (await client.query(text, [...values])),
    rows: async <Row>(text: string, values: readonly unknown[] = []) =>
      (await client.query(text, [...values]))[0] as unknown as Row[],
    connect: () => open(name),
    drop: async () => {
      await client.query(`drop database ${name}`);
      await client.end();
    },
  };
}
