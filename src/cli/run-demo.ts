/**
 * `rowmill demo`: the whole path on made-up films, without a key: an embedded database and the local Batch API server in a
 * temporary folder, which goes at the end. No language model answers, nothing leaves this machine, nothing is spent.
 */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { openProjectDatabase, stateFolder } from "../app/open-database.js";
import { openProject } from "../app/open-project.js";
import { sweepAll } from "../app/round.js";
import { readEnvironment } from "../config/environment.js";
import { defineConfig, pipeline } from "../config/spec.js";
import { validateConfig } from "../config/validate.js";
import { stopEmbedded } from "../embedded/embedded.js";
import { startGateway } from "../gateway/gateway.js";
import type { ProjectConfig } from "../model/pipeline.js";
import { sql, type Database } from "../store/database.js";
import type { WorkerContext } from "../worker/context.js";
import { startWorker } from "../worker/worker.js";
import { z } from "zod";
import { Approvals } from "./approvals.js";
import type { Cli, LogOptions } from "./cli.js";
import { openLog } from "./command-log.js";
import { DEMO_FILMS, demoFilms } from "./demo-films.js";
import { demoReport } from "./demo-report.js";
import { exitStatus } from "./exit-status.js";
import { follow } from "./follow.js";
import { listenForInterruption } from "./interruption.js";
import { counted } from "./text.js";
import { WorkProgress } from "./work-progress.js";

const films = pipeline({
  source: { table: "films", key: "film_id", columns: ["title", "description"] },
  polling: { min: "200ms", max: "1s" },
  request: {
    model: "gpt-4o-mini",
    temperature: 0.1,
    maxOutputTokens: 200,
    system: "Extract the categories of the film and a one-sentence summary.",
    user: (row) => row.description,
  },
  answer: z.object({
    categories: z.array(z.string()).describe("lower-case genres, at most four"),
    summary: z.string(),
  }),
  target: { table: "film_labels" },
});

export async function runDemo(cli: Cli, options: LogOptions): Promise<number> {
  const { terminal } = cli;
  terminal.note(
    "NO LANGUAGE MODEL ANSWERS IN THIS DEMO: answers are made by rules and word lists on this machine.",
  );
  const interruption = listenForInterruption(() => terminal.note("Stopping."));
  const folder = await mkdtemp(join(tmpdir(), "rowmill-demo-"));
  try {
    const gateway = await startGateway({ dataDir: join(folder, "gateway"), demoModel: true });
    try {
      await runOn(cli, { folder, url: gateway.url, logLevel: options.logLevel, signal: interruption.signal });
    } finally {
      await gateway.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
    interruption.dispose();
  }
  return exitStatus.ok;
}

interface DemoOptions extends LogOptions {
  readonly folder: string;
  /** Of the gateway. */
  readonly url: string;
  readonly signal: AbortSignal;
}

async function runOn({ terminal }: Cli, options: DemoOptions): Promise<void> {
  const config = demoConfig(options.folder);
  const environment = readEnvironment({ OPENAI_API_KEY: "demo", OPENAI_BASE_URL: options.url });
  terminal.note("Starting an embedded PostgreSQL in a temporary folder …");
  const opened = await openProjectDatabase(config, environment);
  try {
    const { database } = opened;
    await loadFilms(database);
    terminal.note(`Loaded ${counted(DEMO_FILMS, "row")} into the table films.`);
    const log = openLog(terminal, options.logLevel);
    const context = await openProject({ config, environment, database, log });
    try {
      await sweepAll(context, options.signal);
      await work({ terminal }, context, { ...options, log });
    } finally {
      context.leases.stop();
    }
    for (const line of await demoReport(database, context, terminal)) terminal.print(line);
  } finally {
    await opened.close();
    await stopEmbedded({ dataDir: join(stateFolder(config), "database") });
  }
}

async function work(
  { terminal }: Pick<Cli, "terminal">,
  context: WorkerContext,
  options: DemoOptions & { log: ReturnType<typeof openLog> },
): Promise<void> {
  const approvals = new Approvals(terminal, context, true);
  await approvals.settleAtStart(options.signal);
  const worker = await startWorker(context, { flush: true });
  try {
    const progress = new WorkProgress(terminal, context, { flush: true });
    await follow(context, { approvals, progress, log: options.log, signal: options.signal, untilIdle: true });
  } finally {
    terminal.endLive();
    await worker.stop();
  }
}

function demoConfig(folder: string): ProjectConfig {
  const definition = defineConfig({ database: "embedded", pipelines: { films } });
  return validateConfig(definition, {
    file: join(folder, "rowmill.config.ts"),
    language: "script",
    databaseUrl: null,
  });
}

async function loadFilms(database: Database): Promise<void> {
  await database.run(
    sql`create table films (film_id bigint primary key, title text not null, description text not null)`,
  );
  await database.run(sql`insert into films select * from json_to_recordset(${JSON.stringify(demoFilms())}::json)
    as x (film_id bigint, title text, description text)`);
}
