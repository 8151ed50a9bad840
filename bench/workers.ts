/**
 * `npm run bench -- workers`: several `rowmill up` at the same time on one database, against one of them. Batches are
 * small enough that there are some for each.
 */
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer } from "./bench-server.js";
import { cpuOf, figureCells, FIGURE_TITLES, millOptions } from "./mill-report.js";
import { measureMill, type Figures } from "./mill.js";
import { machine, printMachine, printTable, quotient, spread } from "./report.js";

const REPEATS_DEFAULT = 3;
const BATCHES_DEFAULT = 20;

export async function runWorkers(options: BenchOptions): Promise<void> {
  const wanted = millOptions(options);
  const batchRequests = options.batchRequests ?? Math.ceil(wanted.rows / BATCHES_DEFAULT);
  const counts = [1, ...options.workers.filter((count) => count !== 1)];
  const figures = new Map<number, Figures[]>(counts.map((count) => [count, []]));
  const server = await startBenchServer();
  try {
    for (let repeat = 0; repeat < (options.repeats ?? REPEATS_DEFAULT); repeat++)
      for (const workers of counts)
        figures.get(workers)?.push(await measureMill(server, { ...wanted, batchRequests, workers }));
  } finally {
    await server.stop();
  }
  if (options.json) console.log(JSON.stringify({ machine: machine(), figures: Object.fromEntries(figures) }));
  else report(wanted.rows, batchRequests, figures);
}

function report(rows: number, batchRequests: number, figures: ReadonlyMap<number, readonly Figures[]>): void {
  printMachine();
  console.log(`${rows.toLocaleString("en")} rows in batches of ${batchRequests.toLocaleString("en")}\n`);
  const one = figures.get(1) ?? [];
  const cells = [...figures].map(([workers, runs]) => {
    const of = (ratio: (mine: Figures, single: Figures) => number | null) =>
      spread(runs.flatMap((mine, index) => (one[index] === undefined ? [] : [ratio(mine, one[index])])));
    return [
      ...figureCells(`${workers} up`, runs, rows),
      of((mine, single) => mine.settledMs / single.settledMs),
      of((mine, single) => quotient(cpuOf(mine), cpuOf(single))),
    ];
  });
  printTable([...FIGURE_TITLES, "wall ÷ one", "CPU ÷ one"], cells);
}
