/**
 * `npm run bench`: what Rowmill adds to a user's writes, and how fast its own stages are, on PostgreSQL 18. Every figure is set
 * against another one of the same run, since a machine's own speed says nothing about Rowmill. `--smoke` is the same, small.
 * `--rescue` measures instead, in seconds, how soon others go on with what a killed worker held.
 */
import { cpus, loadavg } from "node:os";
import { parseArgs } from "node:util";
import { openDatabase } from "../src/store/database.js";
import { startPostgresServer } from "../test/support/postgres-servers.js";
import { measureRescues } from "./rescue.js";
import { measureStages, type StageFigures } from "./stages.js";
import { measureTriggers, type TriggerFigures } from "./triggers.js";

const sizes = {
  full: { rows: 50_000, rounds: 15, singles: 500 },
  smoke: { rows: 2_000, rounds: 3, singles: 200 },
} as const;

const { values } = parseArgs({
  options: { smoke: { type: "boolean", default: false }, rescue: { type: "boolean", default: false } },
});
const size = values.smoke ? sizes.smoke : sizes.full;

const rescues = { rescues: 50, lanes: 10 };

/** As a user's server: a commit is on the disk before it is acknowledged. Tests do without. */
const durable = { fsync: "on", synchronous_commit: "on", full_page_writes: "on" };

const server = await startPostgresServer("18", { settings: durable });
try {
  console.log(`PostgreSQL 18, durable; Node ${process.version}; ${cpus().length} cores; ${size.rows} rows\n`);
  if (values.rescue) reportRescues(await measureRescues(server.url, rescues));
  else {
    reportTriggers(await withDatabase((database) => measureTriggers(database, size)));
    reportStages(await withDatabase(() => measureStages(server.url, size.rows)));
  }
} finally {
  await server.stop();
}
console.log(
  `\nLoad average of the last minutes: ${loadavg()
    .map((load) => load.toFixed(1))
    .join(", ")}`,
);

async function withDatabase<T>(work: (database: ReturnType<typeof openDatabase>) => Promise<T>): Promise<T> {
  const database = openDatabase({ connectionString: server.url, ssl: false }, { poolMax: 2 });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

function reportRescues(ms: readonly number[]): void {
  const seconds = (index: number): string => ((ms[index] ?? 0) / 1_000).toFixed(1);
  console.log(
    `${ms.length} rescues after kill -9: median ${seconds(Math.floor(ms.length / 2))} s, fastest ${seconds(0)} s, slowest ${seconds(ms.length - 1)} s`,
  );
}

function reportTriggers(figures: TriggerFigures): void {
  console.log(
    `A user's write with Rowmill's trigger, against the same write without it (the middle one of ${size.rounds} rounds)`,
  );
  for (const [name, { ratio, middleHalf }] of Object.entries(figures)) {
    const [from, to] = middleHalf.map((bound) => bound.toFixed(2));
    console.log(`  ${name.padEnd(28)} ${ratio.toFixed(2)} ×   (half of the rounds: ${from} to ${to})`);
  }
  console.log();
}

function reportStages({ rows, bulkInsertMs, stages }: StageFigures): void {
  console.log("Rowmill's stages, against one bulk insert of the same rows into a plain table");
  for (const [name, ms] of Object.entries(stages)) {
    const rate = Math.round(rows / (ms / 1_000)).toLocaleString("en");
    console.log(
      `  ${name.padEnd(28)} ${(ms / bulkInsertMs).toFixed(1).padStart(6)} ×   ${rate.padStart(9)} rows/s`,
    );
  }
}
