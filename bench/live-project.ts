/**
 * A project whose `rowmill up` runs in a process of its own, on a database and a local gateway of its own, as a user
 * would run it: without a terminal, by the built command line. Its tables are `rows_1`, `rows_2`, …, one pipeline
 * each.
 */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { startGateway, type Gateway, type GatewayOptions } from "../src/gateway/gateway.js";
import { openDatabase, raw, type Database } from "../src/postgres/database.js";
import { endWithBench } from "./clean-up.js";

/** A worker that does not work by then is an error of the bench. */
const START_MS_MAX = 120_000;
const STOP_MS_MAX = 30_000;

export interface LiveProject {
  /** The user's own connection. */
  readonly database: Database;
  readonly databaseName: string;
  readonly gateway: Gateway;
  /** Resolves when it works. */
  startWorker(): Promise<ChildProcess>;
  /** Sends all that waits, to its end. */
  settleAll(): Promise<void>;
  close(): Promise<void>;
}

export interface LiveOptions {
  readonly serverUrl: string;
  /** The built command line: `dist/cli/main.js`, of this version or of another. */
  readonly cli: string;
  readonly pipelines: number;
  /** Further keys of each pipeline. */
  readonly pipelineKeys?: string;
  readonly gateway?: Partial<GatewayOptions>;
}

function configText(pipelines: number, keys: string): string {
  const each = Array.from(
    { length: pipelines },
    (_, index) => `  p${index + 1}: pipeline({
    source: { table: "rows_${index + 1}", key: "id", columns: ["body"] },
    ${keys}
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
    target: { table: "answers_${index + 1}" },
  }),`,
  );
  return `import { defineConfig, pipeline } from "rowmill";
export default defineConfig({ database: process.env.DATABASE_URL, pipelines: {
${each.join("\n")}
} });
`;
}

export async function openLiveProject(options: LiveOptions): Promise<LiveProject> {
  const { serverUrl, cli, pipelines, pipelineKeys = "" } = options;
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-"));
  const gateway = await startGateway({
    dataDir: join(folder, "gateway"),
    demoModel: true,
    batchDelayMs: 0,
    ...options.gateway,
  });
  const server = openDatabase({ connectionString: serverUrl, ssl: false }, { poolMax: 1 });
  const databaseName = `live_${process.hrtime.bigint()}`;
  await server.pool.query(`create database ${databaseName}`);
  const url = new URL(serverUrl);
  url.pathname = `/${databaseName}`;
  const database = openDatabase({ connectionString: url.href, ssl: false }, { poolMax: 2 });
  for (let index = 1; index <= pipelines; index++)
    await database.run(
      raw(`create table public.rows_${index} (id int generated always as identity primary key, body text)`),
    );
  await writeFile(join(folder, "rowmill.config.mjs"), configText(pipelines, pipelineKeys));
  const env = {
    PATH: process.env["PATH"],
    HOME: folder,
    DATABASE_URL: url.href,
    OPENAI_API_KEY: "bench",
    OPENAI_BASE_URL: gateway.url,
    PGSSLMODE: "disable",
  };
  const running = new Set<ChildProcess>();
  const start = (...args: readonly string[]): ChildProcess => {
    const child = spawn(process.execPath, [cli, "up", "--yes", ...args], {
      cwd: folder,
      env,
      stdio: ["ignore", "ignore", "pipe"],
    });
    endWithBench(child);
    running.add(child);
    child.once("exit", () => running.delete(child));
    return child;
  };
  return {
    database,
    databaseName,
    gateway,
    startWorker: async () => {
      const child = start();
      await says(child, "Working.");
      return child;
    },
    settleAll: async () => {
      const child = start("--until-idle");
      child.stderr?.resume();
      const [status]: unknown[] = await once(child, "exit");
      if (status !== 0) throw new Error(`up --until-idle ended with ${String(status)}.`);
    },
    close: async () => {
      await Promise.all([...running].map(stop));
      await database.close();
      await gateway.close();
      await server.pool.query(`drop database ${databaseName} with (force)`);
      await server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

function says(child: ChildProcess, word: string): Promise<void> {
  let said = "";
  return new Promise<void>((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`It did not say "${word}", but:\n${said}`)), START_MS_MAX);
    child.once("exit", () => reject(new Error(`It ended, saying:\n${said}`)));
    child.stderr?.on("data", (chunk: Buffer) => {
      said += chunk.toString();
      if (!said.includes(word)) return;
      clearTimeout(late);
      resolve();
    });
  });
}

async function stop(child: ChildProcess): Promise<void> {
  const ended = once(child, "exit");
  child.kill("SIGTERM");
  const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
  await ended.finally(() => clearTimeout(late));
}
