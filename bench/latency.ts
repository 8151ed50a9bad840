/**
 * How soon a row is on its way, and an answer in the table: from a user's commit to the create at the provider, after
 * seconds in which nothing happened and while other pipelines work; and from the instant at which the provider is
 * done to the target's row.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { Call } from "../src/gateway/engine/faults.js";
import { raw } from "../src/postgres/database.js";
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer } from "./bench-server.js";
import { openLiveProject, type LiveProject } from "./live-project.js";

/** Anything that takes longer is an error of the bench. */
const WAIT_MS_MAX = 60_000;
const LOOK_MS = 5;
/** A batch is made for each row at once. */
const PIPELINE_KEYS = `when: { rows: 1 }, polling: { min: "200ms", max: "200ms" },`;
/**
 * Nothing happened for this long, and up to this much longer, so that no two meet the worker at the same point of its
 * rounds.
 */
const IDLE_MS = 3_000;
const SPREAD_MS = 1_000;
/** Rows of other pipelines, one a commit. */
const LOAD_EVERY_MS = 50;
const LOAD_PIPELINES = 4;

const SAMPLES_DEFAULT = 50;
const SAMPLES_SMOKE = 5;

/** `--rows`: how many of each. */
export async function runLatency({ cli, rows, smoke }: BenchOptions): Promise<void> {
  const server = await startBenchServer();
  try {
    const samples = rows ?? (smoke ? SAMPLES_SMOKE : SAMPLES_DEFAULT);
    console.log(latencyText(await measureLatency({ serverUrl: server.url, cli, samples })));
  } finally {
    await server.stop();
  }
}

interface LatencyOptions {
  readonly serverUrl: string;
  readonly cli: string;
  readonly samples: number;
}

/** Milliseconds, in ascending order. */
interface LatencyFigures {
  readonly idleToCreate: readonly number[];
  readonly loadedToCreate: readonly number[];
  readonly doneToVisible: readonly number[];
}

const isCreate = (call: Call): boolean => call.method === "POST" && call.route === "/v1/batches";

async function measureLatency({ serverUrl, cli, samples }: LatencyOptions): Promise<LatencyFigures> {
  let created = (): void => undefined;
  let holding = true;
  const project = await openLiveProject({
    serverUrl,
    cli,
    pipelines: 1,
    pipelineKeys: PIPELINE_KEYS,
    gateway: {
      faults: {
        beforeEffect: (call) => {
          if (isCreate(call)) created();
          return undefined;
        },
        hold: () => holding,
      },
    },
  });
  const idleToCreate: number[] = [];
  const doneToVisible: number[] = [];
  try {
    await project.startWorker();
    for (let sample = 0; sample < samples; sample++) {
      await sleep(IDLE_MS + (sample / samples) * SPREAD_MS);
      holding = true;
      const seen = within(new Promise<void>((resolve) => (created = resolve)));
      await insertRow(project, 1);
      const committedMs = performance.now();
      await seen;
      idleToCreate.push(performance.now() - committedMs);
      // It is polled a few times, and is not done.
      await sleep(IDLE_MS / 3 + (sample / samples) * SPREAD_MS);
      holding = false;
      const doneMs = performance.now();
      project.gateway.release();
      await visible(project, sample + 1);
      doneToVisible.push(performance.now() - doneMs);
    }
  } finally {
    await project.close();
  }
  const loadedToCreate = await measureLoaded({ serverUrl, cli, samples });
  return {
    idleToCreate: ascending(idleToCreate),
    loadedToCreate,
    doneToVisible: ascending(doneToVisible),
  };
}

/** The measured pipeline is the last one. */
async function measureLoaded({ serverUrl, cli, samples }: LatencyOptions): Promise<number[]> {
  let created = (): void => undefined;
  const own = `p${LOAD_PIPELINES + 1}`;
  const project = await openLiveProject({
    serverUrl,
    cli,
    pipelines: LOAD_PIPELINES + 1,
    pipelineKeys: PIPELINE_KEYS,
    gateway: {
      faults: {
        // First asked when a batch was just created.
        hold: (batch) => {
          if (batch.status === "validating" && batch.metadata?.["rowmill_pipeline"] === own) created();
          return false;
        },
      },
    },
  });
  const found: number[] = [];
  const loaded = new AbortController();
  try {
    await project.startWorker();
    const load = (async () => {
      for (let row = 0; !loaded.signal.aborted; row++) {
        await insertRow(project, 1 + (row % LOAD_PIPELINES));
        await sleep(LOAD_EVERY_MS);
      }
    })();
    await sleep(IDLE_MS);
    for (let sample = 0; sample < samples; sample++) {
      const seen = within(new Promise<void>((resolve) => (created = resolve)));
      await insertRow(project, LOAD_PIPELINES + 1);
      const committedMs = performance.now();
      await seen;
      found.push(performance.now() - committedMs);
      await sleep(LOAD_EVERY_MS + (sample / samples) * SPREAD_MS);
    }
    loaded.abort();
    await load;
  } finally {
    loaded.abort();
    await project.close();
  }
  return ascending(found);
}

function ascending(ms: readonly number[]): number[] {
  return ms.toSorted((a, b) => a - b);
}

async function within(seen: Promise<void>): Promise<void> {
  const limit = new AbortController();
  await Promise.race([
    seen,
    sleep(WAIT_MS_MAX, undefined, { signal: limit.signal }).then(() => {
      throw new Error(`Nothing came in ${WAIT_MS_MAX} ms.`);
    }),
  ]).finally(() => limit.abort());
}

async function insertRow({ database }: LiveProject, table: number): Promise<void> {
  await database.pool.query(`insert into public.rows_${table} (body) values ('A row')`);
}

async function visible({ database }: LiveProject, rows: number): Promise<void> {
  const until = performance.now() + WAIT_MS_MAX;
  while (performance.now() < until) {
    const row = await database.first<{ count: number }>(raw("select count(*)::int as count from public.answers_1"));
    if ((row?.count ?? 0) >= rows) return;
    await sleep(LOOK_MS);
  }
  throw new Error(`The answer was not visible in ${WAIT_MS_MAX} ms.`);
}

function latencyText({ idleToCreate, loadedToCreate, doneToVisible }: LatencyFigures): string {
  const line = (name: string, ms: readonly number[]): string => {
    const at = (share: number): string =>
      ((ms[Math.min(ms.length - 1, Math.floor(ms.length * share))] ?? 0) / 1_000).toFixed(2).padStart(7);
    return `${name.padEnd(36)} ${at(0.5)} ${at(0.9)} ${at(0.99)}   (${ms.length})`;
  };
  return [
    "Seconds                                 p50     p90     p99",
    line("commit to create, after idle seconds", idleToCreate),
    line("commit to create, others at work", loadedToCreate),
    line("provider done to row visible", doneToVisible),
  ].join("\n");
}
