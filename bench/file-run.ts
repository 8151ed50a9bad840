/** `npm run bench -- run-file`: time and memory of `rowmill run` over a CSV, from the empty folder to the output. */
import { mkdtemp, stat } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { BenchOptions } from "./bench-options.js";
import { removeWithBench } from "./clean-up.js";
import { watchServer } from "./embedded.js";
import { writeRows } from "./files.js";
import { model } from "./films.js";
import { runMeasured, type Measured } from "./measured-process.js";
import { millOptions } from "./mill-report.js";
import { withStandIn } from "./mill.js";
import { amount, machine, printMachine } from "./report.js";

const SIZES_DEFAULT = [100_000];
const QUESTION = [
  "--prompt",
  "Sum up: {{ description }}",
  "--model",
  model,
  "--answer",
  "categories:string[],summary:string",
];

interface Figures extends Measured {
  readonly rows: number;
  readonly what: string;
  readonly bytes: number;
  readonly serverPeakBytes: number | null;
}

/** Prints the table of docs/internals/performance.md, to be pasted. */
export async function runFileRun(options: BenchOptions): Promise<void> {
  const sizes = options.sizes.length === 0 ? SIZES_DEFAULT : options.sizes;
  const measured: Figures[] = [];
  for (const rows of sizes) measured.push(...(await measureRuns(options, rows)));
  if (options.json) return console.log(JSON.stringify({ machine: machine(), measured }));
  printMachine();
  const titles = ["lines", "output", "run", "time", "CPU", "peak of `run`", "peak of the embedded server"];
  const cells = measured.map(({ rows, what, bytes, ...figures }) => [
    rows.toLocaleString("en"),
    `${amount(bytes, 1e6, 0)} MB`,
    what,
    `${amount(figures.wallMs, 1e3, 0)} s`,
    `${amount(figures.cpuMs, 1e3, 0)} s`,
    `${amount(figures.peakBytes, 1e6, 0)} MB`,
    `${amount(figures.serverPeakBytes, 1e6, 0)} MB`,
  ]);
  for (const line of [titles, titles.map(() => "---"), ...cells]) console.log(`| ${line.join(" | ")} |`);
}

async function measureRuns(options: BenchOptions, rows: number): Promise<Figures[]> {
  const wanted = millOptions(options);
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-run-"));
  const remove = removeWithBench(folder);
  const measured: Figures[] = [];
  try {
    await writeRows(join(folder, "rows.csv"), rows);
    await withStandIn(wanted, async (providerUrl) => {
      const env = { OPENAI_API_KEY: "sk-bench", OPENAI_BASE_URL: providerUrl };
      const args = [wanted.cli, "run", "rows.csv", ...QUESTION, "--out", "labelled.csv", "--yes"];
      for (const what of ["first", "the same again"]) {
        const watched = watchServer(join(folder, ".rowmill/database"));
        const figures = await runMeasured([{ args, cwd: folder, env }]).finally(() => watched.stop());
        const { size } = await stat(join(folder, "labelled.csv"));
        measured.push({ rows, what, bytes: size, ...figures, serverPeakBytes: watched.last().serverPeakBytes });
      }
    });
  } finally {
    remove();
  }
  return measured;
}
