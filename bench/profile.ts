/**
 * `npm run bench -- profile`: where the time of one mill goes: the functions of the worker by their own time (V8's
 * sampling profiler), and the statements by the server's (pg_stat_statements). Both cost something themselves:
 * compare shares, not sums.
 */
import { mkdtemp, readdir, readFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type pg from "pg";
import type { BenchOptions } from "./bench-options.js";
import { removeWithBench } from "./clean-up.js";
import { startBenchServer } from "./bench-server.js";
import { repository } from "./measured-process.js";
import { figureCells, FIGURE_TITLES, millOptions } from "./mill-report.js";
import { measureMill } from "./mill.js";
import { amount, machine, printMachine, printTable } from "./report.js";

const FUNCTIONS_SHOWN = 40;
const STATEMENTS_SHOWN = 25;
const STATEMENT_CHARACTERS = 100;

interface Hot {
  readonly name: string;
  readonly ms: number;
}

interface HotStatement extends Hot {
  readonly calls: number;
}

export async function runProfile(options: BenchOptions): Promise<void> {
  const wanted = millOptions(options);
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-"));
  const remove = removeWithBench(folder);
  const server = await startBenchServer({ statements: true });
  try {
    let statements: HotStatement[] = [];
    const profiled = { profileFolder: folder, before: resetStatements };
    const figures = await measureMill(server, {
      ...wanted,
      ...profiled,
      after: async (client) => void (statements = await hotStatements(client)),
    });
    const functions = await hotFunctions(folder);
    if (options.json) return console.log(JSON.stringify({ machine: machine(), figures, functions, statements }));
    printMachine();
    console.log();
    printTable(FIGURE_TITLES, [figureCells("rowmill up", [figures], wanted.rows)]);
    const perRow = (ms: number) => amount(ms, wanted.rows / 1_000, 2);
    printTable(
      ["function", "µs/row"],
      functions.slice(0, FUNCTIONS_SHOWN).map(({ name, ms }) => [name, perRow(ms)]),
    );
    printTable(
      ["statement", "µs/row", "calls"],
      statements.map(({ name, ms, calls }) => [name, perRow(ms), String(calls)]),
    );
  } finally {
    await server.stop();
    remove();
  }
}

async function resetStatements(client: pg.Client): Promise<void> {
  await client.query("create extension if not exists pg_stat_statements");
  await client.query("select pg_stat_statements_reset()");
}

async function hotStatements(client: pg.Client): Promise<HotStatement[]> {
  const { rows } = await client.query<{ query: string; ms: number; calls: string }>(
    `select query, total_exec_time + total_plan_time as ms, calls from pg_stat_statements
      order by 2 desc limit $1`,
    [STATEMENTS_SHOWN],
  );
  return rows.map(({ query, ms, calls }) => ({
    name: query.replaceAll(/\s+/g, " ").slice(0, STATEMENT_CHARACTERS),
    ms,
    calls: Number(calls),
  }));
}

interface CpuProfile {
  readonly nodes: readonly {
    readonly id: number;
    readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number };
  }[];
  readonly samples: readonly number[];
  /** Microseconds. */
  readonly timeDeltas: readonly number[];
}

/** Of all threads, the hottest first; a line is one of the built file. */
async function hotFunctions(folder: string): Promise<Hot[]> {
  const ms = new Map<string, number>();
  for (const name of await readdir(folder)) {
    const profile: CpuProfile = JSON.parse(await readFile(join(folder, name), "utf8"));
    const names = new Map(profile.nodes.map(({ id, callFrame }) => [id, frameName(callFrame)]));
    for (const [index, id] of profile.samples.entries()) {
      const frame = names.get(id) ?? "?";
      ms.set(frame, (ms.get(frame) ?? 0) + (profile.timeDeltas[index] ?? 0) / 1_000);
    }
  }
  ms.delete("(idle)");
  return [...ms].map(([name, time]) => ({ name, ms: time })).toSorted((a, b) => b.ms - a.ms);
}

function frameName({ functionName, url, lineNumber }: CpuProfile["nodes"][number]["callFrame"]): string {
  const place = url.replace(`file://${repository}/`, "").replace(/^.*node_modules\//, "");
  return place === "" ? functionName : `${functionName || "(anonymous)"} ${place}:${lineNumber + 1}`;
}
