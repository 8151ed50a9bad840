/**
 * `npm run bench -- embedded`: the mill with `database: "embedded"`, against the floor on a server, and the memory of
 * the embedded server: at the first start of a folder, which makes the database, and in the run, which starts it
 * again.
 */
import { mkdir, readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { openEmbedded } from "../test/support/built.js";
import { stopEmbedded } from "../src/embedded/embedded.js";
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer, type BenchServer } from "./bench-server.js";
import { createFilms, filmValues, insertFilms, ROW_BYTES } from "./films.js";
import { run, runMeasured } from "./measured-process.js";
import { withMillProject } from "./mill-project.js";
import { cpuOf, millOptions } from "./mill-report.js";
import { measureFloor, requireAnswers, withStandIn, type Figures, type MillOptions } from "./mill.js";
import { amount, machine, printMachine, printTable, quotient, spread } from "./report.js";
import { hasProc, peakMemory, treeMs } from "./usage.js";

const ROWS_DEFAULT = 10_000;
const REPEATS_DEFAULT = 1;
const SAMPLE_MS = 50;
const STOP_MS_MAX = 30_000;

interface EmbeddedFigures {
  readonly wallMs: number;
  readonly nodeMs: number | null;
  /** Of the embedded server until the worker had ended. */
  readonly serverMs: number | null;
  readonly workerPeakBytes: number | null;
  readonly firstStartPeakBytes: number | null;
  readonly serverPeakBytes: number | null;
}

interface Pair {
  readonly floor: Figures;
  readonly embedded: EmbeddedFigures;
}

export async function runEmbedded(options: BenchOptions): Promise<void> {
  const wanted = { ...millOptions(options), rows: options.rows ?? ROWS_DEFAULT };
  const pairs: Pair[] = [];
  const server: BenchServer = await startBenchServer();
  try {
    for (let repeat = 0; repeat < (options.repeats ?? REPEATS_DEFAULT); repeat++) {
      const floor = await measureFloor(server, wanted);
      pairs.push({ floor, embedded: await measureEmbedded(wanted) });
    }
  } finally {
    await server.stop();
  }
  if (options.json) console.log(JSON.stringify({ machine: machine(), options: wanted, pairs }));
  else report(wanted, pairs);
}

function measureEmbedded(options: MillOptions): Promise<EmbeddedFigures> {
  return withStandIn(options, (providerUrl) =>
    withMillProject({ databaseUrl: "embedded", providerUrl }, options, async ({ folder, command }) => {
      const dataDir = join(folder, ".rowmill/database");
      await mkdir(join(folder, ".rowmill"), { mode: 0o700 });
      const up = command("up", "--until-idle", "--yes");
      try {
        const firstStartPeakBytes = await attached(dataDir, async (client) => {
          const peak = await peakOfServer(dataDir);
          await client.query(createFilms);
          if (options.arrivals === "trigger") await run(up);
          await client.query(insertFilms, [...filmValues(options.rows, options.rowBytes ?? ROW_BYTES)]);
          await client.query("analyze public.films");
          return peak;
        });
        // So that its memory is that of the run.
        await stopServer(dataDir);
        const watched = watchServer(dataDir);
        const { wallMs, cpuMs, peakBytes } = await runMeasured([up]).finally(() => watched.stop());
        await attached(dataDir, (client) => requireAnswers(client, options.rows));
        const { serverMs, serverPeakBytes } = watched.last();
        return {
          wallMs,
          nodeMs: cpuMs,
          serverMs,
          workerPeakBytes: peakBytes,
          firstStartPeakBytes,
          serverPeakBytes,
        };
      } finally {
        await stopEmbedded({ dataDir });
      }
    }),
  );
}

/** Starts the server when there is none. */
async function attached<T>(dataDir: string, work: (client: pg.Client) => Promise<T>): Promise<T> {
  const embedded = await openEmbedded({ dataDir });
  const client = new pg.Client(embedded.connection);
  try {
    await client.connect();
    return await work(client);
  } finally {
    await client.end();
    await embedded.close();
  }
}

/** A child of this process: it must be gone before the processor time of others is counted. */
async function stopServer(dataDir: string): Promise<void> {
  const pid = await serverPid(dataDir);
  await stopEmbedded({ dataDir });
  if (pid === null) return;
  for (let looks = 0; treeMs(pid) !== null; looks++) {
    if (looks * SAMPLE_MS > STOP_MS_MAX) throw new Error(`The embedded server ${pid} did not end.`);
    await sleep(SAMPLE_MS);
  }
}

/** The newest holder's, as docs/embedded.md says; null: none serves the folder. */
async function serverPid(dataDir: string): Promise<number | null> {
  const number = (name: string) => Number(name.split(".")[1]);
  const [newest] = (await readdir(dataDir))
    .filter((name) => /^server\.\d+$/.test(name))
    .toSorted((a, b) => number(b) - number(a));
  if (newest === undefined) return null;
  const text = await readFile(join(dataDir, newest, "holder.json"), "utf8").catch(() => "{}");
  const { pid }: { pid?: number } = JSON.parse(text);
  return pid ?? null;
}

async function peakOfServer(dataDir: string): Promise<number | null> {
  return peakMemory((await serverPid(dataDir)) ?? 0);
}

/** Samples the one server that serves the folder until it is stopped. */
export function watchServer(dataDir: string): {
  stop(): void;
  last(): Pick<EmbeddedFigures, "serverMs" | "serverPeakBytes">;
} {
  let serverMs: number | null = null;
  let serverPeakBytes: number | null = null;
  const look = async (): Promise<void> => {
    const pid = hasProc ? await serverPid(dataDir) : null;
    if (pid === null) return;
    serverMs = treeMs(pid) ?? serverMs;
    serverPeakBytes = peakMemory(pid) ?? serverPeakBytes;
  };
  const sampler = setInterval(() => void look().catch(() => undefined), SAMPLE_MS);
  return { stop: () => clearInterval(sampler), last: () => ({ serverMs, serverPeakBytes }) };
}

function report({ rows, batchRequests }: MillOptions, pairs: readonly Pair[]): void {
  printMachine();
  console.log(
    `${rows.toLocaleString("en")} rows in batches of ${batchRequests.toLocaleString("en")}; to the end of the process\n`,
  );
  const perRow = (ms: number | null) => amount(ms, rows / 1_000, 1);
  printTable(
    ["", "ended s", "Node µs/row", "server µs/row", "worker MB", "first start MB", "server MB"],
    pairs.flatMap(({ floor, embedded: mine }) => [
      [
        "floor, on a server",
        amount(floor.wallMs, 1_000, 1),
        perRow(floor.nodeMs),
        perRow(floor.postgresMs),
        amount(floor.peakBytes, 1e6, 0),
        "",
        "",
      ],
      [
        "rowmill up, embedded",
        amount(mine.wallMs, 1_000, 1),
        perRow(mine.nodeMs),
        perRow(mine.serverMs),
        amount(mine.workerPeakBytes, 1e6, 0),
        amount(mine.firstStartPeakBytes, 1e6, 0),
        amount(mine.serverPeakBytes, 1e6, 0),
      ],
    ]),
  );
  const wall = pairs.map(({ floor, embedded: { wallMs } }) => wallMs / floor.wallMs);
  const cpu = pairs.map(({ floor, embedded: { nodeMs, serverMs } }) =>
    quotient(nodeMs === null || serverMs === null ? null : nodeMs + serverMs, cpuOf(floor)),
  );
  console.log(`  embedded ÷ floor: wall ${spread(wall)}\n                    CPU  ${spread(cpu)}`);
}
