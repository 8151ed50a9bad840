/** `npm run bench -- memory`: the peak of a worker's memory, by what goes in and what comes out in one batch. */
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer } from "./bench-server.js";
import { millOptions } from "./mill-report.js";
import { BATCH_REQUESTS_DEFAULT, measureMill, type Figures, type MillOptions } from "./mill.js";
import { amount, machine, median, printMachine, printTable, quotient } from "./report.js";

const REPEATS_DEFAULT = 1;
const LARGE_ROW_BYTES = 4_400;
const LONG_SUMMARY_BYTES = 40_000;

type Load = Pick<MillOptions, "rows" | "rowBytes" | "summaryBytes" | "maxOutputTokens">;

/** An input file has at most 200 MB, and 50,000 requests. */
const loads: readonly Load[] = [
  { rows: 200, rowBytes: LARGE_ROW_BYTES },
  { rows: 4_000, rowBytes: LARGE_ROW_BYTES },
  { rows: 39_000, rowBytes: LARGE_ROW_BYTES },
  { rows: BATCH_REQUESTS_DEFAULT, summaryBytes: LONG_SUMMARY_BYTES, maxOutputTokens: 16_000 },
];

export async function runMemory(options: BenchOptions): Promise<void> {
  const measured: { readonly load: Load; readonly runs: readonly Figures[] }[] = [];
  const server = await startBenchServer();
  try {
    for (const load of loads) {
      const runs: Figures[] = [];
      for (let repeat = 0; repeat < (options.repeats ?? REPEATS_DEFAULT); repeat++)
        runs.push(await measureMill(server, { ...millOptions(options), ...load }));
      measured.push({ load, runs });
    }
  } finally {
    await server.stop();
  }
  if (options.json) return console.log(JSON.stringify({ machine: machine(), measured }));
  printMachine();
  console.log();
  const peaks = measured.map(({ runs }) => median(runs.map(({ peakBytes }) => peakBytes)));
  const cells = measured.map(({ load, runs }, index) => [
    `${load.rows.toLocaleString("en")} rows`,
    amount(runs[0]?.counts.bytesIn ?? null, 1e6, 1),
    amount(runs[0]?.counts.bytesOut ?? null, 1e6, 1),
    String(runs[0]?.counts.batches ?? ""),
    amount(peaks[index] ?? null, 1e6, 0),
    amount(quotient(peaks[index] ?? null, peaks[0] ?? null), 1, 2),
  ]);
  printTable(["", "MB in", "MB out", "batches", "peak MB", "÷ the first"], cells);
}
