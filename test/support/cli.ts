/**
 * The built command line as real processes: `dist/` is built once when it is older than `src/`, a project folder
 * holds a config, its database and a gateway. Waiting is always for something that can be seen, within a bound.
 */
import { fork, spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, realpath, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { inject } from "vitest";
import { stopEmbedded } from "../../src/embedded/embedded.js";
import { startGateway, type Gateway, type GatewayOptions } from "../../src/gateway/gateway.js";
import type { Database } from "../../src/postgres/database.js";
import { cliScript } from "./build.js";
import { openEmbedded } from "./built.js";
import { createDatabase, databaseKinds, type DatabaseKind } from "./databases.js";
import { embeddedDataDir } from "./embedded-template.js";
import { findViolations } from "./invariants.js";
import { asUnopened, createPreparedDatabase, shareEmbedded } from "./prepared-databases.js";
import { openUsersDatabase } from "./users-database.js";

/** A command that does not end by then is killed, and its test fails. */
const COMMAND_MS_MAX = 60_000;
const WAIT_MS_MAX = 30_000;
const LOOK_MS = 100;

export { buildCli, cliScript } from "./build.js";

/** For tests that need a server: the newest that this machine has. */
export const serverKind: DatabaseKind = databaseKinds.includes("pg18") ? "pg18" : "embedded";
/** For the title of what needs a server: the reason why it is skipped. */
export const unlessServer = serverKind === "embedded" ? " (skipped: this machine runs no PostgreSQL server)" : "";

export interface Ended {
  readonly status: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface RunningCli {
  readonly child: ChildProcess;
  readonly ended: Promise<Ended>;
  stderr(): string;
  stdout(): string;
  /** Resolves when stderr has it. */
  says(text: string): Promise<void>;
}

export type Variables = Readonly<Record<string, string | undefined>>;

export function startCli(args: readonly string[], options: { cwd: string; env: Variables }): RunningCli {
  const child = spawn(process.execPath, [cliScript, ...args], {
    cwd: options.cwd,
    env: variablesOf(options.env),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let stdout = "";
  let stderr = "";
  child.stdout.on("data", (chunk: Buffer) => (stdout += chunk.toString()));
  child.stderr.on("data", (chunk: Buffer) => (stderr += chunk.toString()));
  const ended = once(child, "close").then(([status]: unknown[]) => ({
    status: typeof status === "number" ? status : null,
    stdout,
    stderr,
  }));
  return {
    child,
    ended,
    stdout: () => stdout,
    stderr: () => stderr,
    says: async (text) => {
      await until(`"${text}" on stderr`, () => {
        if (child.exitCode !== null && !stderr.includes(text)) throw new Error(`It ended first, saying:\n${stderr}`);
        return Promise.resolve(stderr.includes(text));
      });
    },
  };
}

export async function runCli(args: readonly string[], options: { cwd: string; env: Variables }): Promise<Ended> {
  const running = startCli(args, options);
  const timer = setTimeout(() => running.child.kill("SIGKILL"), COMMAND_MS_MAX);
  try {
    return await running.ended;
  } finally {
    clearTimeout(timer);
  }
}

let server: ChildProcess | null = null;
let previous: Promise<unknown> = Promise.resolve();

/**
 * As `runCli`, one at a time in one process of the built CLI for all tests of this worker. For tests about what a
 * command does; those about the process itself (signals, streams, what runs at the same time) have one of their own.
 */
export function runCommand(args: readonly string[], options: { cwd: string; env: Variables }): Promise<Ended> {
  const ended = previous.then(() => askServer(args, options));
  previous = ended.catch(() => undefined);
  return ended;
}

async function askServer(args: readonly string[], { cwd, env }: { cwd: string; env: Variables }): Promise<Ended> {
  const asked = (server ??= forkServer());
  const timer = setTimeout(() => asked.kill("SIGKILL"), COMMAND_MS_MAX);
  const settled = new AbortController();
  const { signal } = settled;
  try {
    const answer = once(asked, "message", { signal }).then(([ended]: Ended[]) => ended);
    const death = once(asked, "exit", { signal }).then(() => undefined);
    death.catch(() => undefined);
    asked.send({ args, cwd, env: variablesOf(env) });
    const ended = await Promise.race([answer, death]);
    if (ended !== undefined) return ended;
    server = null;
    throw new Error(`The process of the commands died: ${args.join(" ")}`);
  } finally {
    clearTimeout(timer);
    settled.abort();
  }
}

function forkServer(): ChildProcess {
  const forked = fork(join(import.meta.dirname, "command-server.mjs"), {
    execArgv: [],
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  forked.unref();
  forked.channel?.unref();
  return forked;
}

function variablesOf(env: Variables): Record<string, string> {
  return withoutUndefined({ PATH: process.env["PATH"], HOME: process.env["HOME"], ...env });
}

function withoutUndefined(variables: Variables): Record<string, string> {
  return Object.fromEntries(
    Object.entries(variables).filter((entry): entry is [string, string] => entry[1] !== undefined),
  );
}

/** Looks until it is so. */
export async function until(what: string, isSo: () => Promise<boolean>): Promise<void> {
  const deadlineMs = Date.now() + WAIT_MS_MAX;
  while (!(await isSo())) {
    if (Date.now() > deadlineMs) throw new Error(`Not seen in ${WAIT_MS_MAX} ms: ${what}`);
    await pause(LOOK_MS);
  }
}

export interface StatusJson {
  readonly pipelines: readonly {
    name: string;
    waiting: number;
    batched: number;
    succeeded: number;
    failed: number;
    cancelled: number;
    gone: number;
    paused: string | null;
    unnamed: readonly { rows: number; example: string; reason: string }[];
    topFailure: { reason: string; rows: number; key: string; message: string } | null;
    deliveries?: Readonly<Record<string, unknown>>;
  }[];
  readonly batches: readonly {
    id: string;
    pipeline: string;
    state: string;
    cancelWanted: boolean;
    provider: string;
    providerBatchId: string | null;
    requests: number;
    succeeded: number;
    failed: number;
    returned: number;
    held?: { presentAccount: string };
  }[];
  readonly workers: readonly { host: string; pid: number; startedAt: string }[];
  readonly refusedPushes: readonly {
    pipeline: string | null;
    reason: string;
    pushes: number;
    rows: number;
    example: string | null;
    lastAt: string;
  }[];
}

export interface CliProject {
  readonly folder: string;
  readonly gateway: Gateway;
  /** The user's own connection. */
  readonly database: Database;
  readonly env: Variables;
  writeConfig(pipelines: string): Promise<void>;
  run(...args: string[]): Promise<Ended>;
  start(...args: string[]): RunningCli;
  status(): Promise<StatusJson>;
  /** The invariant script; throws when one is violated. */
  check(): Promise<void>;
  close(): Promise<void>;
}

/**
 * A folder, a database, a gateway. `embedded`: the database of `database: "embedded"`, else a server by DATABASE_URL.
 * `prepared`: it has Rowmill's schemas already, which the first `up` would make; an embedded one serves other tests
 * before and after this one.
 */
export async function startCliProject(
  kind: DatabaseKind,
  options: { gateway?: Partial<GatewayOptions>; run?: typeof runCli; prepared?: true } = {},
): Promise<CliProject> {
  const { run = runCommand } = options;
  const folder = await realpath(await mkdtemp(join(inject("runFolder"), "cli-")));
  const place = await (kind !== "embedded"
    ? placeServer(kind, options.prepared)
    : (options.prepared ? placeShared : placeEmbedded)(folder));
  const gateway = await startGateway({
    dataDir: join(folder, "gateway"),
    demoModel: true,
    batchDelayMs: 0,
    ...options.gateway,
  });
  const env = {
    DATABASE_URL: place.databaseUrl,
    OPENAI_API_KEY: "sk-test-key-of-the-command-line",
    OPENAI_BASE_URL: gateway.url,
    PGSSLMODE: "disable",
  };
  const started: RunningCli[] = [];
  const at = { cwd: folder, env };
  return {
    folder,
    gateway,
    database: place.database,
    env,
    // Plain JavaScript: a compiler in each of many processes costs a second of two cores; TypeScript has its own tests.
    writeConfig: (pipelines) => writeFile(join(folder, "rowmill.config.mjs"), configText(pipelines)),
    run: (...args) => run(args, at),
    start: (...args) => {
      const running = startCli(args, at);
      started.push(running);
      return running;
    },
    status: async () => {
      const { stdout, stderr } = await runCommand(["status", "--json"], at);
      if (stdout === "") throw new Error(`status said nothing but: ${stderr}`);
      const parsed: StatusJson = JSON.parse(stdout);
      return parsed;
    },
    check: async () => {
      const violations = await findViolations(place.database);
      if (violations.length > 0) throw new Error(`Invariants violated:\n${violations.join("\n")}`);
    },
    close: async () => {
      for (const { child, ended } of started) {
        child.kill("SIGKILL");
        await ended;
      }
      await place.database.close();
      await place.drop();
      await gateway.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

interface Place {
  readonly databaseUrl: string;
  readonly database: Database;
  drop(): Promise<void>;
}

async function placeServer(kind: DatabaseKind, prepared = false): Promise<Place> {
  const { url, drop } = await (prepared ? createPreparedDatabase : createDatabase)(kind);
  return { databaseUrl: url, database: openUsersDatabase({ connectionString: url }), drop };
}

async function placeShared(folder: string): Promise<Place> {
  const { connection, drop } = await shareEmbedded();
  await linkSharedDatabase(folder);
  const database = openUsersDatabase(connection);
  await asUnopened(database);
  return { databaseUrl: "embedded", database, drop };
}

/** Another place for the state of a project with `prepared`: the same database. */
export async function linkSharedDatabase(folder: string): Promise<void> {
  const { dataDir } = await shareEmbedded();
  await symlink(dataDir, await dataDirIn(folder), "dir");
}

async function placeEmbedded(folder: string): Promise<Place> {
  const dataDir = await dataDirIn(folder);
  await rename(await embeddedDataDir(), dataDir);
  const embedded = await openEmbedded({ dataDir });
  const database = openUsersDatabase(embedded.connection);
  return {
    databaseUrl: "embedded",
    database,
    drop: async () => {
      await embedded.close();
      await stopEmbedded({ dataDir });
    },
  };
}

async function dataDirIn(folder: string): Promise<string> {
  await mkdir(join(folder, ".rowmill"), { recursive: true, mode: 0o700 });
  return join(folder, ".rowmill/database");
}

function configText(pipelines: string): string {
  return `import { defineConfig, pipeline, z } from "rowmill";

const answer = z.object({ categories: z.array(z.string()), summary: z.string() });
const request = { model: "gpt-4o-mini", maxOutputTokens: 200, user: "{{ description }}" };
const source = { table: "films", key: "id", columns: ["title", "description"] };
const polling = { min: "200ms", max: "1s" };

export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { ${pipelines} } });
`;
}

/** A pipeline of such a config; `more` are further keys. */
export function filmsPipeline(more = ""): string {
  return `films: pipeline({ source, polling, request, answer, target: { table: "film_labels" }, ${more} })`;
}
