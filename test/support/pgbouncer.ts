/** PgBouncer in transaction mode before a server of the tests, where the machine has it. */
import { execFileSync, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chown, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import pg from "pg";
import { unprivilegedUser } from "./postgres-binaries.js";
import { freePort } from "./postgres-servers.js";

/** Debian puts it where only root's PATH leads. */
const path = `${process.env["PATH"] ?? ""}:/usr/sbin:/usr/local/sbin`;
const startTriesMax = 100;
const startPauseMs = 50;

/** Null: it can be started here. */
export const pgbouncerMissingBecause: string | null = whyMissing();

function whyMissing(): string | null {
  try {
    execFileSync("pgbouncer", ["--version"], { env: { PATH: path }, stdio: "ignore", timeout: 10_000 });
    return null;
  } catch {
    return "pgbouncer is not installed; on Debian: apt-get install pgbouncer";
  }
}

export interface PgBouncer {
  /** The same database, by way of the pooler. */
  readonly url: string;
  stop(): Promise<void>;
}

/** `serverConnectionsMax`: that many connections to the server, for all clients together. */
export async function startPgBouncer(url: string, serverConnectionsMax: number): Promise<PgBouncer> {
  const user = await unprivilegedUser();
  const folder = await mkdtemp(join(tmpdir(), "rowmill-test-pgbouncer-"));
  const port = await freePort();
  const file = join(folder, "pgbouncer.ini");
  await writeFile(file, settings(new URL(url), port, serverConnectionsMax), { mode: 0o600 });
  if (user !== undefined) {
    await chown(folder, user.uid, user.gid);
    await chown(file, user.uid, user.gid);
  }
  const child = spawn("pgbouncer", ["-q", file], {
    ...user,
    cwd: "/",
    env: { PATH: path },
    stdio: ["ignore", "ignore", "pipe"],
  });
  const said: string[] = [];
  child.stderr.on("data", (text: Buffer) => said.push(text.toString()));
  const pooled = new URL(url);
  pooled.host = `127.0.0.1:${port}`;
  const stop = async (): Promise<void> => {
    await end(child);
    await rm(folder, { recursive: true, force: true });
  };
  try {
    await ready(pooled.href, child);
    return { url: pooled.href, stop };
  } catch (error) {
    await stop();
    throw new Error(`PgBouncer did not start, and said: ${said.join("")}`, { cause: error });
  }
}

/** Nothing is set that a user would not set: no start-up parameter is ignored, no query is run at a reset. */
function settings(server: URL, port: number, serverConnectionsMax: number): string {
  const name = server.pathname.slice(1);
  return `[databases]
${name} = host=${server.hostname} port=${server.port} dbname=${name} user=${server.username} password=${server.password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = ${serverConnectionsMax}
max_client_conn = 100
`;
}

async function ready(url: string, child: ChildProcess): Promise<void> {
  for (let tries = 1; ; tries++) {
    const client = new pg.Client({ connectionString: url, connectionTimeoutMillis: 5_000 });
    client.on("error", () => undefined);
    try {
      await client.connect();
      return;
    } catch (error) {
      if (tries === startTriesMax || child.exitCode !== null) throw error;
    } finally {
      await client.end().catch(() => undefined);
    }
    await new Promise((resolve) => setTimeout(resolve, startPauseMs));
  }
}

async function end(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null) return;
  const ended = once(child, "exit");
  child.kill("SIGKILL");
  await ended;
}
