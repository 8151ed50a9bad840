/**
 * How fast the stages are: the same rows through intake, planner, renderer, submitter and collector, one stage after
 * another, by way of the local gateway. What the gateway itself takes to answer is not counted.
 */
import { randomUUID } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { pino } from "pino";
import { openProject } from "../src/app/open/open-project.js";
import { connectionOptions } from "../src/config/database/connection.js";
import { readEnvironment } from "../src/config/load/environment.js";
import { validateConfig } from "../src/config/read/validate.js";
import { startGateway } from "../src/gateway/gateway.js";
import { defineConfig, pipeline, z } from "../src/index.js";
import * as batches from "../src/store/batches/batches.js";
import { openDatabase, raw, sql, type Database } from "../src/postgres/database.js";
import { approve } from "../src/worker/rounds/approval.js";
import { collect } from "../src/worker/turn/collect/collector.js";
import type { WorkerContext } from "../src/worker/context.js";
import { runIntake } from "../src/worker/rounds/intake.js";
import { runPlanner } from "../src/worker/rounds/planner.js";
import { poll } from "../src/worker/turn/poller.js";
import { render } from "../src/worker/turn/renderer.js";
import { DONE, type Next, type Turn } from "../src/worker/turn/turn.js";
import { create, upload } from "../src/worker/turn/submitter.js";
import { sweepChunk } from "../src/worker/rounds/sweeper.js";
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer } from "./bench-server.js";
import { timed } from "./timing.js";

const ROWS_DEFAULT = 50_000;
const ROWS_OF_SMOKE = 2_000;
const POLL_PAUSE_MS = 100;
/** Rows of all tables here hold about this many bytes of text each. */
const DESCRIPTION = "The story of a weary detective who hunts a killer in rainy Lisbon, falls in love and loses. ";
/** A batch that is not done by then is an error of the bench. */
const TURNS_MAX = 5_000;

interface StageFigures {
  readonly rows: number;
  readonly bulkInsertMs: number;
  /** Stage → milliseconds for all rows. */
  readonly stages: Readonly<Record<string, number>>;
}

const films = pipeline({
  source: { table: "films", key: "id", columns: ["title", "description"] },
  when: { rows: 1_000_000, maxWait: "7d" },
  request: {
    model: "gpt-4o-mini",
    temperature: 0.1,
    maxOutputTokens: 200,
    system: "Extract the categories of the film and a one-sentence summary.",
    user: (row) => row.description,
  },
  answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
  target: { table: "film_labels" },
});

export async function runStages({ rows, smoke }: BenchOptions): Promise<void> {
  const server = await startBenchServer();
  try {
    report(await measureStages(server.url, rows ?? (smoke ? ROWS_OF_SMOKE : ROWS_DEFAULT)));
  } finally {
    await server.stop();
  }
}

function report({ rows, bulkInsertMs, stages }: StageFigures): void {
  console.log("Rowmill's stages, against one bulk insert of the same rows into a plain table");
  for (const [name, ms] of Object.entries(stages)) {
    const rate = Math.round(rows / (ms / 1_000)).toLocaleString("en");
    console.log(`  ${name.padEnd(28)} ${(ms / bulkInsertMs).toFixed(1).padStart(6)} ×   ${rate.padStart(9)} rows/s`);
  }
  console.log();
}

async function measureStages(databaseUrl: string, rows: number): Promise<StageFigures> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-"));
  const gateway = await startGateway({ dataDir: join(folder, "gateway"), demoModel: true, batchDelayMs: 0 });
  const environment = readEnvironment({
    OPENAI_API_KEY: "bench",
    OPENAI_BASE_URL: gateway.url,
    PGSSLMODE: "disable",
  });
  const database = openDatabase(connectionOptions({ kind: "server", url: databaseUrl }, environment));
  try {
    const tables = ["films", "plain_films"];
    for (const table of tables) {
      await database.run(raw(`create table public.${table} (id bigint primary key, title text, description text)`));
    }
    const config = validateConfig(defineConfig({ database: databaseUrl, pipelines: { films } }), {
      file: join(folder, "rowmill.config.ts"),
      language: "script",
      databaseUrl: null,
    });
    const log = pino({ level: "silent" });
    const context = await openProject({ config, environment, database, log });
    try {
      return await measure(context, rows);
    } finally {
      context.leases.stop();
    }
  } finally {
    await database.close();
    await gateway.close();
    await rm(folder, { recursive: true, force: true });
  }
}

async function measure(context: WorkerContext, rows: number): Promise<StageFigures> {
  const { database } = context;
  for (const one of context.pipelines.values()) {
    await approve(context, one, "the bench");
    // The first sweep, of an empty table: what follows comes by the trigger.
    while ((await sweepChunk(context, one)) !== null);
  }
  const { ms: bulkInsertMs } = await timed(() => insertFilms(database, "plain_films", rows));
  await insertFilms(database, "films", rows);
  const intake = await timed(async () => {
    while ((await runIntake(context)).arrivals > 0);
  });
  const plan = await timed(() => runPlanner(context, true));
  const stages = { intake: intake.ms, plan: plan.ms, ...(await advanceAll(context)) };
  const [done] = await database.rows<{ rows: number }>(
    sql`select count(*)::int as rows from public.film_labels where summary is not null`,
  );
  if (done?.rows !== rows) throw new Error(`${rows} rows went in, ${done?.rows} results came out.`);
  return { rows, bulkInsertMs, stages };
}

function insertFilms(database: Database, table: string, rows: number): Promise<number> {
  return database.run(sql`insert into ${raw(`public.${table}`)}
    select n, 'Film number ' || n, repeat(${DESCRIPTION}, 2) || 'Take ' || n || '.'
    from generate_series(1, ${rows}::int) n`);
}

interface StageTimes {
  render: number;
  "upload and create": number;
  collect: number;
}

async function advanceAll(context: WorkerContext): Promise<StageTimes> {
  const times: StageTimes = { render: 0, "upload and create": 0, collect: 0 };
  const open = await context.database.rows<{ id: string }>(
    sql`select id from rowmill.batches where settled_at is null order by planned_at`,
  );
  for (const { id } of open) await advance(context, id, times);
  return times;
}

/** As a worker's turn, with a clock beside each step. */
async function advance(context: WorkerContext, batchId: string, times: StageTimes): Promise<void> {
  const lease = { batchId, token: randomUUID() };
  const claimed = await batches.claim(context.database, batchId, {
    token: lease.token,
    worker: context.workerId,
  });
  if (claimed === null) throw new Error(`Batch ${batchId} is somebody else's.`);
  context.leases.hold(lease);
  for (let turns = 0; turns < TURNS_MAX; turns++) {
    const batch = await batches.get(context.database, batchId);
    const one = batch && context.pipelines.get(batch.pipelineId);
    if (!batch || !one) throw new Error(`Batch ${batchId} is lost.`);
    const { stage, run } = stepOf({ context, pipeline: one, lease, batch, signal: signalOfNobody });
    const { ms, result } = await timed(run);
    if (stage !== null) times[stage] += ms;
    if (result.next === "lost") throw new Error(`Batch ${batchId}, ${batch.state}: its lease ran out.`);
    if (result.next === "wait") await sleep(Math.min(result.delayMs, POLL_PAUSE_MS));
    if (result.next !== "done") continue;
    context.leases.drop(lease);
    return;
  }
  throw new Error(`Batch ${batchId} did not end within ${TURNS_MAX} turns.`);
}

const signalOfNobody = new AbortController().signal;

/** A stage of null is the provider's time. */
function stepOf(turn: Turn): { stage: keyof StageTimes | null; run: () => Promise<Next> } {
  const { batch } = turn;
  switch (batch.state) {
    case "planned":
      return { stage: "render", run: () => render({ ...turn, batch }) };
    case "uploading":
      return { stage: "upload and create", run: () => upload({ ...turn, batch }) };
    case "submitting":
      return { stage: "upload and create", run: () => create({ ...turn, batch }) };
    case "running":
      return { stage: null, run: () => poll({ ...turn, batch }) };
    case "collecting":
      return { stage: "collect", run: () => collect({ ...turn, batch }) };
    default:
      return { stage: null, run: async () => DONE };
  }
}
