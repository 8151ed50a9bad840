/**
 * How long a batch stands still when the worker that holds it is killed: from the kill -9, with its lease and its
 * place in the queue taken, to the next move of the batch by another worker. Leases and heartbeats run as they do in
 * earnest.
 */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { openProject } from "../src/app/open/open-project.js";
import { connectionOptions } from "../src/config/database/connection.js";
import { readEnvironment } from "../src/config/load/environment.js";
import { loadConfig } from "../src/config/load/load.js";
import { startGateway } from "../src/gateway/gateway.js";
import { openDatabase, raw, sql, type Database } from "../src/postgres/database.js";
import { startWorker } from "../src/worker/process/worker.js";
import { startBenchServer } from "./bench-server.js";

const RESCUES = { rescues: 50, lanes: 10 };
const script = resolve(import.meta.dirname, "../test/crash/crash-worker.mjs");
const LOOK_MS = 100;
/** A batch that is not taken over by then is an error of the bench. */
const RESCUE_MS_MAX = 300_000;
/** It dies with the lease in its hand, asking how its batch stands. */
const fault = { step: "poll.ask", when: "before", action: "kill" };

const configText = `import { defineConfig, pipeline } from "rowmill";
const notes = pipeline({
  source: { table: "notes", key: "id", columns: ["body"] },
  polling: { min: "200ms", max: "1s" },
  request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
  target: { table: "note_answers" },
});
export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { notes } });
`;

export async function runRescues(): Promise<void> {
  const server = await startBenchServer();
  try {
    const ms = await measureRescues(server.url, RESCUES);
    const seconds = (index: number): string => ((ms[index] ?? 0) / 1_000).toFixed(1);
    console.log(
      `${ms.length} rescues after kill -9: median ${seconds(Math.floor(ms.length / 2))} s, fastest ${seconds(0)} s, slowest ${seconds(ms.length - 1)} s`,
    );
  } finally {
    await server.stop();
  }
}

/** Milliseconds of each rescue, in ascending order. `lanes` run beside each other, each in a database of its own. */
async function measureRescues(
  serverUrl: string,
  { rescues, lanes }: { rescues: number; lanes: number },
): Promise<number[]> {
  const found: number[] = [];
  let begun = 0;
  const lane = async (): Promise<void> => {
    while (begun < rescues) found.push(await rescueOnce(serverUrl, begun++));
  };
  await Promise.all(Array.from({ length: lanes }, lane));
  return found.toSorted((a, b) => a - b);
}

async function rescueOnce(serverUrl: string, number: number): Promise<number> {
  const server = openDatabase({ connectionString: serverUrl, ssl: false }, { poolMax: 1 });
  const name = `rescue_${number}`;
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-"));
  const gateway = await startGateway({ dataDir: join(folder, "gateway"), demoModel: true });
  await server.pool.query(`create database ${name}`);
  const url = new URL(serverUrl);
  url.pathname = `/${name}`;
  const database = openDatabase({ connectionString: url.href, ssl: false }, { poolMax: 1 });
  try {
    await database.run(raw("create table public.notes (id int primary key, body text)"));
    await database.run(raw("insert into public.notes select i, 'Note ' || i from generate_series(1, 20) i"));
    await writeFile(join(folder, "rowmill.config.mjs"), configText);
    const environment = {
      DATABASE_URL: url.href,
      OPENAI_API_KEY: "bench",
      OPENAI_BASE_URL: gateway.url,
      PGSSLMODE: "disable",
    };
    const child = spawn(process.execPath, [script], {
      cwd: folder,
      env: { PATH: process.env["PATH"], ...environment, CRASH_FAULT: JSON.stringify(fault) },
      stdio: ["ignore", "ignore", "inherit", "ipc"],
    });
    const [, signal]: unknown[] = await once(child, "exit");
    if (signal !== "SIGKILL") throw new Error("The worker was not killed at its step.");
    return await timeToRescue(database, { folder, environment });
  } finally {
    await database.close();
    await gateway.close();
    await server.pool.query(`drop database ${name} with (force)`);
    await server.close();
    await rm(folder, { recursive: true, force: true });
  }
}

/** By a worker that starts at the instant of the death. */
async function timeToRescue(
  database: Database,
  at: { folder: string; environment: Readonly<Record<string, string>> },
): Promise<number> {
  const beganMs = performance.now();
  const config = await loadConfig({ cwd: at.folder, env: at.environment });
  const environment = readEnvironment(at.environment);
  const own = openDatabase(
    connectionOptions({ kind: "server", url: at.environment["DATABASE_URL"] ?? "" }, environment),
  );
  const log = pino({ level: "silent" });
  const worker = await startWorker(await openProject({ config, environment, database: own, log }), {
    flush: true,
  });
  try {
    while (performance.now() - beganMs < RESCUE_MS_MAX) {
      const row = await database.first(sql`select 1 as one from rowmill.batches where state <> 'running'`);
      if (row !== null) return performance.now() - beganMs;
      await sleep(LOOK_MS);
    }
    throw new Error(`No worker took the batch over in ${RESCUE_MS_MAX} ms.`);
  } finally {
    await worker.stop();
    await own.close();
  }
}
