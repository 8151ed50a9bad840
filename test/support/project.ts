/**
 * A whole Rowmill for one test: a fresh database of the given kind, the local Batch API server, a config, and the
 * stages. The stages are driven round by round (`drain`), so no test waits for a clock.
 */
import { fork, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { pino, type Logger } from "pino";
import { execArgvFor } from "../../src/embedded/attachment.js";
import { connectionOptions } from "../../src/config/database/connection.js";
import { readEnvironment } from "../../src/config/load/environment.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { openProject } from "../../src/app/open/open-project.js";
import { idleState } from "../../src/app/open/idle.js";
import { runRound } from "../../src/app/open/round.js";
import { startGateway, type Gateway, type GatewayOptions } from "../../src/gateway/gateway.js";
import { createOpenAIProvider, type OpenAIOptions } from "../../src/providers/openai/adapter.js";
import { defineConfig } from "../../src/index.js";
import { openDatabase, sql, type Database, type Sql } from "../../src/postgres/database.js";
import { approvalOf, approve } from "../../src/worker/rounds/approval.js";
import * as changes from "../../src/store/pipelines/changes.js";
import type { Pipeline, WorkerContext } from "../../src/worker/context.js";
import { createDatabase, type DatabaseKind, type TestDatabase } from "./databases.js";
import { findViolations } from "./invariants.js";
import { createPreparedDatabase } from "./prepared-databases.js";
import { openUsersDatabase } from "./users-database.js";

/** A drain that does not end by then is a failure of the test. */
const DRAIN_MS_MAX = 60_000;
/** Between rounds. A batch that is due later is waited for, but no longer: other things become due as well. */
const ROUND_PAUSE_MS = 20;
const ROUND_PAUSE_MS_MAX = 100;

type Pipelines = Parameters<typeof defineConfig>[0]["pipelines"];

export interface WorkerOptions {
  readonly approve?: boolean;
  readonly url?: string;
  /** Of calls to the provider; default: those of users. */
  readonly timeouts?: OpenAIOptions["timeouts"];
  readonly log?: Logger;
}

export interface TestProject {
  /** The user's own connection. */
  readonly database: Database;
  readonly gateway: Gateway;
  readonly url: string;
  readonly kind: DatabaseKind;
  readonly folder: string;
  /** Reads and writes as the user of the source database. */
  rows<Row extends object>(statement: Sql): Promise<Row[]>;
  run(statement: Sql): Promise<number>;
  /** Another worker, or the same after a change of config. Approved without asking. */
  worker(pipelines: Pipelines, options?: WorkerOptions): Promise<WorkerContext>;
  /** Rounds of every stage until nothing moves by itself. */
  drain(...workers: WorkerContext[]): Promise<void>;
  /** One round of every stage of this worker; everything that waits is flushed unless told otherwise. */
  round(worker: WorkerContext, options?: { flush?: boolean }): Promise<void>;
  /** The invariant script; throws when one is violated. */
  check(): Promise<void>;
  close(): Promise<void>;
}

export async function startProject(
  kind: DatabaseKind,
  options: { gateway?: Partial<GatewayOptions>; empty?: boolean } = {},
): Promise<TestProject> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-test-"));
  const testDatabase = await (options.empty ? createDatabase(kind) : createPreparedDatabase(kind));
  const gateway = await startGateway({
    dataDir: join(folder, "gateway"),
    demoModel: true,
    batchDelayMs: 0,
    ...options.gateway,
  });
  const environment = readEnvironment({
    OPENAI_API_KEY: "test",
    OPENAI_BASE_URL: gateway.url,
    PGSSLMODE: "disable",
  });
  const open = (url = testDatabase.url) => openDatabase(connectionOptions({ kind: "server", url }, environment));
  const database = openUsersDatabase(connectionOptions({ kind: "server", url: testDatabase.url }, environment));
  const workers: { context: WorkerContext; database: Database }[] = [];
  const signal = new AbortController().signal;
  const project: TestProject = {
    database,
    gateway,
    kind,
    folder,
    url: testDatabase.url,
    rows: (statement) => database.rows(statement),
    run: (statement) => database.run(statement),
    worker: async (pipelines, workerOptions = {}) => {
      const own = open(workerOptions.url);
      const config = validateConfig(defineConfig({ database: testDatabase.url, pipelines }), {
        file: join(folder, "rowmill.config.ts"),
        language: "script",
        databaseUrl: null,
      });
      const { timeouts, log = pino({ level: process.env["TEST_LOG"] ?? "silent" }) } = workerOptions;
      const provider = createOpenAIProvider({ apiKey: "test", baseURL: gateway.url, timeouts });
      const context = await openProject({
        config,
        environment,
        database: own,
        log,
        providers: () => provider,
      });
      workers.push({ context, database: own });
      if (workerOptions.approve ?? true) {
        for (const pipeline of context.pipelines.values()) {
          await reask(own, pipeline);
          await approve(context, pipeline, "the test");
        }
      }
      return context;
    },
    round: (worker, roundOptions = {}) => runRound(worker, { flush: roundOptions.flush ?? true, signal }),
    drain: (...contexts) => drain(contexts, signal),
    check: async () => {
      const violations = await findViolations(database);
      if (violations.length > 0) throw new Error(`Invariants violated:\n${violations.join("\n")}`);
    },
    close: () => closeAll({ workers, database, gateway, testDatabase, folder }),
  };
  return project;
}

/** A changed definition sends answered rows again, as with `--yes`. */
export async function reask(database: Database, { id, definitionHash, provider }: Pipeline): Promise<void> {
  const { account } = provider;
  await database.transaction(async (tx) => {
    if ((await changes.changeOf(tx, id))?.decision === "undecided")
      await changes.decide(tx, id, { definitionHash, decision: "reask", by: "the test", account });
  });
}

/** Rounds of every stage until nothing moves by itself. */
export async function drain(workers: readonly WorkerContext[], signal: AbortSignal): Promise<void> {
  const until = Date.now() + DRAIN_MS_MAX;
  while (Date.now() < until) {
    await Promise.all(workers.map((worker) => runRound(worker, { flush: true, signal })));
    const states = await Promise.all(workers.map((worker) => idleState(worker)));
    if (states.every((state) => state.idle)) return;
    await pause(Math.min(...(await Promise.all(workers.map(nextMs)))));
  }
  const [first] = workers;
  const left = await first?.database.rows(
    sql`select id, state, provider_status, failures, next_at from rowmill.batches where settled_at is null`,
  );
  throw new Error(`Still busy after ${DRAIN_MS_MAX} ms: ${JSON.stringify(left)}`);
}

async function nextMs({ database }: WorkerContext): Promise<number> {
  const due = await database.first<{ ms: number | null }>(
    sql`
      select 1000 * extract(epoch from min(next_at) - now())::float8 as ms
      from rowmill.batches
      where settled_at is null`,
  );
  return Math.max(ROUND_PAUSE_MS, Math.min(ROUND_PAUSE_MS_MAX, due?.ms ?? ROUND_PAUSE_MS_MAX));
}

async function closeAll(parts: {
  workers: readonly { context: WorkerContext; database: Database }[];
  database: Database;
  gateway: Gateway;
  testDatabase: TestDatabase;
  folder: string;
}): Promise<void> {
  for (const { context, database } of parts.workers) {
    context.leases.stop();
    await database.close();
  }
  await parts.database.close();
  await parts.gateway.close();
  await parts.testDatabase.drop();
  await rm(parts.folder, { recursive: true, force: true });
}

export { approvalOf, sql };

/** One worker in a process of its own (`worker-process.ts`), which works when it is returned. */
export async function startWorkerProcess(project: TestProject): Promise<ChildProcess> {
  const script = new URL("./worker-process.ts", import.meta.url);
  const child = fork(script, [], {
    execArgv: execArgvFor(script),
    env: {
      ...process.env,
      DATABASE_URL: project.url,
      OPENAI_API_KEY: "test",
      OPENAI_BASE_URL: project.gateway.url,
      PGSSLMODE: "disable",
      TEST_FOLDER: project.folder,
    },
    stdio: ["ignore", "ignore", "inherit", "ipc"],
  });
  await once(child, "message");
  return child;
}
