/**
 * What an `up` costs that has nothing to do: processor time of the worker and of the whole PostgreSQL server, and the
 * transactions that the server counts for the database, over some time without writes.
 */
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { raw } from "../src/postgres/database.js";
import type { BenchOptions } from "./bench-options.js";
import { oneNumber, startBenchServer, type BenchServer } from "./bench-server.js";
import { openLiveProject } from "./live-project.js";

/**
 * What belongs to the start is over by then: the first looks (20 s with 100 pipelines), V8 giving back the memory of
 * the start (until 50 s), and the server's clean-up, which looks for work once a minute.
 */
const SETTLE_MS = 60_000;
/** As the kernel counts in /proc/PID/stat. */
const TICKS_PER_SECOND = 100;
/** The server's counters are not flushed at every commit. */
const FLUSH_MS = 2_000;

const PIPELINES = [1, 100];
const SETTLED_DEFAULT = 10_000;

/** `--rows`: how many have settled, one or more numbers. */
export async function runIdle({ cli, sizes, smoke }: BenchOptions): Promise<void> {
  const server = await startBenchServer();
  try {
    const cases = (sizes.length === 0 ? [SETTLED_DEFAULT] : sizes).flatMap((settled) =>
      PIPELINES.map((pipelines) => ({ pipelines, settled })),
    );
    console.log(idleText(await measureIdle({ server, cli, seconds: smoke ? 15 : 60, cases })));
  } finally {
    await server.stop();
  }
}

interface IdleOptions {
  readonly server: BenchServer;
  readonly cli: string;
  /** Of each measurement. */
  readonly seconds: number;
  /** One measurement each. */
  readonly cases: readonly { readonly pipelines: number; readonly settled: number }[];
}

interface IdleFigures {
  readonly pipelines: number;
  readonly settled: number;
  /** Of one core, in percent. */
  readonly workerPercent: number;
  readonly serverPercent: number;
  /** The same server, when no worker runs. */
  readonly serverAlonePercent: number;
  readonly transactionsPerSecond: number;
}

async function measureIdle(options: IdleOptions): Promise<IdleFigures[]> {
  const figures: IdleFigures[] = [];
  for (const one of options.cases) figures.push(await measureOne(options, one));
  return figures;
}

async function measureOne(
  { server, cli, seconds }: IdleOptions,
  { pipelines, settled }: IdleOptions["cases"][number],
): Promise<IdleFigures> {
  const project = await openLiveProject({ serverUrl: server.url, cli, pipelines });
  try {
    await project.database.run(
      raw(`insert into public.rows_1 (body) select 'Row ' || i from generate_series(1, ${settled}) i`),
    );
    await project.settleAll();
    // What autovacuum would do in the middle of the measurement.
    await project.database.pool.query("vacuum (analyze)");
    await sleep(SETTLE_MS);
    const of = { server, databaseName: project.databaseName };
    const alone = await counted(of, null, seconds / 3);
    const worker = await project.startWorker();
    await sleep(SETTLE_MS);
    const idle = await counted(of, worker.pid ?? null, seconds);
    return { pipelines, settled, ...idle, serverAlonePercent: alone.serverPercent };
  } finally {
    await project.close();
  }
}

async function counted(
  { server, databaseName }: { server: BenchServer; databaseName: string },
  worker: number | null,
  seconds: number,
): Promise<Pick<IdleFigures, "workerPercent" | "serverPercent" | "transactionsPerSecond">> {
  const look = async () => ({
    atMs: performance.now(),
    workerMs: worker === null ? 0 : await processMs(worker),
    serverMs: server.cpuMs() ?? NaN,
    // By another database, so that these looks are none of those that are counted.
    transactions: await oneNumber(
      server.client,
      `select (xact_commit + xact_rollback)::float8 as n from pg_stat_database where datname = '${databaseName}'`,
    ),
  });
  const before = await look();
  await sleep(seconds * 1_000 + FLUSH_MS);
  const after = await look();
  const lastedMs = after.atMs - before.atMs;
  return {
    workerPercent: ((after.workerMs - before.workerMs) / lastedMs) * 100,
    serverPercent: ((after.serverMs - before.serverMs) / lastedMs) * 100,
    transactionsPerSecond: ((after.transactions - before.transactions) / lastedMs) * 1_000,
  };
}

/** User and system time. */
async function processMs(pid: number): Promise<number> {
  const text = await readFile(`/proc/${pid}/stat`, "utf8");
  // Behind the command's name, which may hold blanks.
  const [user = 0, system = 0] = text
    .slice(text.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 13)
    .map(Number);
  return ((user + system) / TICKS_PER_SECOND) * 1_000;
}

function idleText(figures: readonly IdleFigures[]): string {
  const lines = figures.map((one) =>
    [
      String(one.pipelines).padStart(9),
      one.settled.toLocaleString("en").padStart(12),
      one.workerPercent.toFixed(2).padStart(9),
      one.serverPercent.toFixed(2).padStart(12),
      (one.workerPercent + one.serverPercent).toFixed(2).padStart(6),
      one.serverAlonePercent.toFixed(2).padStart(14),
      one.transactionsPerSecond.toFixed(2).padStart(16),
    ].join(" "),
  );
  return [
    "An idle `rowmill up`, in percent of one core",
    "pipelines settled rows  worker % PostgreSQL % both % without worker transactions/s",
    ...lines,
  ].join("\n");
}
