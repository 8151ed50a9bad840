/**
 * `npm run bench -- --smoke`: whether each part runs at all, and whether Rowmill takes no more processor time for a
 * row, as a multiple of the floor's in the same run, than 1.5 × what `recorded.json` says. Never seconds: they are
 * the machine's. `--record` writes the file.
 */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer } from "./bench-server.js";
import { runDynamodb } from "./dynamodb.js";
import { cpuRatio, measureTurns, millOptions } from "./mill-report.js";
import { median, printMachine, spread } from "./report.js";
import { mariadbMissingBecause } from "../test/support/mariadb.js";
import { runMysql } from "./mysql.js";
import { runPush } from "./push.js";
import { runSqlite } from "./sqlite.js";
import { runStages } from "./stages.js";
import { runTriggers } from "./triggers.js";
import { withoutProc } from "./usage.js";

/** What a ratio may be of the recorded one: machines differ, and CI's is shared. */
const WORSE_MAX = 1.5;
const recordedFile = join(import.meta.dirname, "recorded.json");

interface Recorded {
  readonly command: string;
  readonly mill: { readonly rows: number; readonly cpu: number };
}

export async function runSmoke(options: BenchOptions): Promise<void> {
  if (!options.record) {
    await runTriggers({ ...options, smoke: true });
    await runStages({ ...options, smoke: true });
    await runPush({ ...options, smoke: true });
    await runDynamodb({ ...options, smoke: true });
    if (mariadbMissingBecause === null) await runMysql({ ...options, smoke: true });
    else console.log(`mysql was not measured: ${mariadbMissingBecause}`);
    await runSqlite({ ...options, smoke: true });
  }
  const text = await readFile(recordedFile, "utf8");
  const recorded: Recorded = JSON.parse(text);
  const { rows } = recorded.mill;
  const ratios = await measureRatios({ ...options, rows });
  const cpu = median(ratios);
  printMachine();
  console.log(`Rowmill ÷ floor, CPU, ${rows.toLocaleString("en")} rows: ${spread(ratios)}`);
  if (cpu === null) return console.log(`Not compared: ${withoutProc}`);
  if (options.record) await record({ ...recorded, mill: { rows, cpu: Number(cpu.toFixed(2)) } });
  else compare(cpu, recorded);
}

async function measureRatios(options: BenchOptions): Promise<(number | null)[]> {
  const server = await startBenchServer();
  try {
    const turns = await measureTurns(server, millOptions(options), { ...options, beside: null });
    return turns.map(({ floor, mill }) => cpuRatio(floor, mill));
  } finally {
    await server.stop();
  }
}

async function record(recorded: Recorded): Promise<void> {
  await writeFile(recordedFile, `${JSON.stringify(recorded, undefined, 2)}\n`);
  console.log(`Recorded in ${recordedFile}.`);
}

function compare(cpu: number, { command, mill }: Recorded): void {
  const max = mill.cpu * WORSE_MAX;
  console.log(`Recorded: ${mill.cpu}; at most ${max.toFixed(2)} is let pass.`);
  if (cpu <= max) return;
  process.exitCode = 1;
  console.log(
    `Worse than that. Find what made it so; or, where it is meant and said in docs/internals/performance.md: ${command}`,
  );
}
