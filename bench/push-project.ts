/** A folder with a config whose rows are pushed, and the `rowmill up --http` that takes them, started and killed. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import { openDatabase, type Database } from "../src/postgres/database.js";
import * as pipelines from "../src/store/pipelines/pipelines.js";
import * as tokens from "../src/store/tokens/tokens.js";
import { withDatabase, type BenchServer } from "./bench-server.js";
import { endWithBench, removeWithBench } from "./clean-up.js";
import { peakMemory, treeMs } from "./usage.js";

const START_MS_MAX = 60_000;
const STOP_MS_MAX = 30_000;
const SAID_CHARACTERS_MAX = 4_000;

const CONFIG = `import { defineConfig, pipeline, push } from "rowmill";
const films = pipeline({
  source: push({ key: "id", columns: ["title", "description"] }),
  request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ title }}: {{ description }}" },
  target: { table: "film_labels" },
});
export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { films } });
`;

export interface PushProject {
  readonly client: pg.Client;
  readonly origin: string;
  readonly token: string;
  /** Resolves when it serves. */
  start(): Promise<PushServer>;
}

export interface PushServer {
  cpuMs(): number | null;
  peakBytes(): number | null;
  /** kill -9; resolves when it is gone. */
  kill(): Promise<void>;
  stop(): Promise<void>;
}

export async function withPushProject<T>(
  server: BenchServer,
  cli: string,
  work: (project: PushProject) => Promise<T>,
): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-"));
  const remove = removeWithBench(folder);
  const running = new Set<PushServer>();
  try {
    await writeFile(join(folder, "rowmill.config.mjs"), CONFIG);
    return await withDatabase(server, async ({ url, client }) => {
      const port = await freePort();
      const start = async (): Promise<PushServer> => {
        const started = await startUp({ cli, folder, port, databaseUrl: url });
        running.add(started);
        return started;
      };
      await (await start()).stop();
      const database = openDatabase({ connectionString: url, ssl: false }, { poolMax: 1 });
      const token = await prepare(database).finally(() => database.close());
      try {
        return await work({ client, origin: `http://127.0.0.1:${port}`, token, start });
      } finally {
        for (const one of running) await one.stop();
      }
    });
  } finally {
    remove();
  }
}

/** Pauses the pipeline, so that taking rows is all that is done. Returns a token. */
async function prepare(database: Database): Promise<string> {
  for (const { id } of await pipelines.all(database))
    await pipelines.pause(database, id, { kind: "person", reason: "for the bench" });
  const { text } = await tokens.create(database, { scope: "push", pipeline: "films", note: null });
  return text;
}

async function startUp(at: {
  readonly cli: string;
  readonly folder: string;
  readonly port: number;
  readonly databaseUrl: string;
}): Promise<PushServer> {
  const child = spawn(process.execPath, [at.cli, "up", "--yes", "--http", `127.0.0.1:${at.port}`], {
    cwd: at.folder,
    env: {
      PATH: process.env["PATH"],
      HOME: at.folder,
      DATABASE_URL: at.databaseUrl,
      OPENAI_API_KEY: "sk-bench",
      OPENAI_BASE_URL: "http://127.0.0.1:9/v1",
      PGSSLMODE: "disable",
    },
    stdio: ["ignore", "ignore", "pipe"],
  });
  endWithBench(child);
  const ended = once(child, "exit");
  const pid = child.pid ?? 0;
  await says(child, "Serving on");
  const end = async (signal: NodeJS.Signals): Promise<void> => {
    child.kill(signal);
    const late = setTimeout(() => child.kill("SIGKILL"), STOP_MS_MAX);
    await ended.finally(() => clearTimeout(late));
  };
  return {
    cpuMs: () => treeMs(pid),
    peakBytes: () => peakMemory(pid),
    kill: () => end("SIGKILL"),
    stop: () => end("SIGTERM"),
  };
}

function says(child: ChildProcess, word: string): Promise<void> {
  let said = "";
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error(`It did not say "${word}", but:\n${said}`)), START_MS_MAX);
    child.once("exit", () => reject(new Error(`It ended, saying:\n${said}`)));
    child.stderr?.on("data", (chunk: Buffer) => {
      said = (said + chunk.toString()).slice(-SAID_CHARACTERS_MAX);
      if (!said.includes(word)) return;
      clearTimeout(late);
      resolve();
    });
  });
}

async function freePort(): Promise<number> {
  const server = createServer();
  await once(server.listen(0, "127.0.0.1"), "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("not a TCP server");
  return address.port;
}
