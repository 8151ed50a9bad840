/**
 * `npm run bench -- COMMAND`: what Rowmill costs, each figure set against another one of the same run, since a
 * machine's own speed says nothing about Rowmill. The commands and what they measure: docs/internals/performance.md.
 */
import { readOptions, type BenchOptions } from "./bench-options.js";
import { runDynamodb } from "./dynamodb.js";
import { runFileRun } from "./file-run.js";
import { runFiles } from "./files.js";
import { runGrowth } from "./growth.js";
import { runIdle } from "./idle.js";
import { runLatency } from "./latency.js";
import { runMill } from "./mill-report.js";
import { runMysql } from "./mysql.js";
import { runPlan } from "./plan.js";
import { runProfile } from "./profile.js";
import { runPush } from "./push.js";
import { runRescues } from "./rescue.js";
import { runSharing } from "./sharing.js";
import { runSmoke } from "./smoke.js";
import { runSqlite } from "./sqlite.js";
import { runStages } from "./stages.js";
import { runTriggers } from "./triggers.js";
import { runWorkers } from "./workers.js";
import { runMemory } from "./memory.js";
import { runEmbedded } from "./embedded.js";

interface BenchCommand {
  readonly what: string;
  /** `--rows` may be several numbers. */
  readonly sizes?: true;
  run(options: BenchOptions): Promise<void>;
}

const commands: Readonly<Record<string, BenchCommand>> = {
  mill: { what: "Rowmill ÷ a bare script that moves the same rows", run: runMill },
  workers: { what: "two and four workers ÷ one", run: runWorkers },
  embedded: { what: "the embedded database ÷ the bare script on a server", run: runEmbedded },
  memory: { what: "peak memory of a worker, with 1 MB to 200 MB in and 2 GB out", run: runMemory },
  files: { what: "CSV, JSONL and Parquet of 1 GB read, and written with answers ÷ a bare pass", run: runFiles },
  dynamodb: { what: "items of DynamoDB read, and answers written ÷ a bare loop of the SDK", run: runDynamodb },
  "run-file": {
    what: "time and memory of rowmill run over one CSV, the first time and again",
    run: runFileRun,
    sizes: true,
  },
  mysql: { what: "rows read from MariaDB and answers written there ÷ a bare loop of the driver", run: runMysql },
  sqlite: {
    what: "rows read from a SQLite file and answers written there ÷ a bare loop of the driver",
    run: runSqlite,
  },
  growth: {
    what: "new rows and looks when 10k to 10M have settled, and rounds of updates",
    run: runGrowth,
    sizes: true,
  },
  profile: { what: "where the time of one mill goes, by function and by statement", run: runProfile },
  plan: { what: "seconds of rowmill plan, before the first up and with an edited prompt", run: runPlan },
  triggers: { what: "your writes with the triggers ÷ without", run: runTriggers },
  stages: { what: "each stage by itself ÷ a bulk insert", run: runStages },
  idle: {
    what: "what an idle worker costs, with 1 and 100 pipelines",
    run: runIdle,
    sizes: true,
  },
  latency: { what: "how soon a row is sent, and an answer is in its table", run: runLatency },
  sharing: {
    what: "cost, lines and time with equal questions asked once ÷ without, at 30 % duplicates",
    run: runSharing,
  },
  push: { what: "rows pushed over HTTP, through a kill -9, and 1 GB of lines; ÷ bare inserts", run: runPush },
  rescue: { what: "seconds until others take over from a killed worker", run: runRescues },
  smoke: { what: "all of it, small; fails when a ratio is worse than 1.5 × its recorded one", run: runSmoke },
};

const { command, options } = readOptions(process.argv.slice(2));
const chosen = command === null ? undefined : commands[command];
if (chosen?.sizes === undefined && options.sizes.length > 1) throw new Error(`${command} takes one number of rows`);
if (chosen !== undefined) await chosen.run(options);
else {
  const list = Object.entries(commands).map(([name, { what }]) => `  ${name.padEnd(10)} ${what}`);
  console.log(`npm run bench -- COMMAND\n\n${list.join("\n")}`);
  if (command !== null) process.exitCode = 1;
}
