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
import { amount, machine, printMachine, printTable } from "./report.js";

const ROWS_DEFAULT = 100_000;
const QUESTION = [
  "--prompt",
  "Sum up: {{ description }}",
  "--model",
  model,
  "--answer",
  "categories:string[],summary:string",
];

interface Figures extends Measured {
  readonly what: string;
  readonly bytes: number;
  readonly serverPeakBytes: number | null;
}

export async function runFileRun(options: BenchOptions): Promise<void> {
  const rows = options.rows ?? ROWS_DEFAULT;
  const wanted = millOptions(options);
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-run-"));
  const remove = removeWithBench(folder);
  const measured: Figures[] = [];
  try {
    await writeRows(join(folder, "rows.csv"), rows);
    await withStandIn(wanted, async (providerUrl) => {
      const env = { OPENAI_API_KEY: "sk-bench", OPENAI_BASE_URL: providerUrl };
      const args = [wanted.cli, "run", "rows.csv", ...QUESTION, "--out", "labelled.csv", "--yes"];
      for (const what of ["first run", "the same again"]) {
        const watched = watchServer(join(folder, ".rowmill/database"));
        const figures = await runMeasured([{ args, cwd: folder, env }]).finally(() => watched.stop());
        const { size } = await stat(join(folder, "labelled.csv"));
        measured.push({ what, bytes: size, ...figures, serverPeakBytes: watched.last().serverPeakBytes });
      }
    });
  } finally {
    remove();
  }
  if (options.json) return console.log(JSON.stringify({ machine: machine(), rows, measured }));
  printMachine();
  console.log(`${rows.toLocaleString("en")} rows\n`);
  const titles = ["", "seconds", "CPU s", "run MB", "embedded server MB", "output MB"];
  const cells = measured.map(({ what, wallMs, cpuMs, peakBytes, serverPeakBytes, bytes }) => [
    what,
    amount(wallMs, 1e3, 0),
    amount(cpuMs, 1e3, 0),
    amount(peakBytes, 1e6, 0),
    amount(serverPeakBytes, 1e6, 0),
    amount(bytes, 1e6, 0),
  ]);
  printTable(titles, cells);
}
