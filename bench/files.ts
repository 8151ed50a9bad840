/** `npm run bench -- files`: a file of each format read, and written with answers; set against a bare pass over it. */
import { createWriteStream } from "node:fs";
import { mkdtemp, rm, stat } from "node:fs/promises";
import { once } from "node:events";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import type { BenchOptions } from "./bench-options.js";
import { repository, runMeasured, type Measured } from "./measured-process.js";
import { amount, machine, printMachine, printTable, quotient } from "./report.js";

const ROWS_DEFAULT = 1_000_000;
/** Of a million rows: 1 GB. */
const WORDS_IN_ROW = 160;
const ROWS_AT_ONCE = 1_000;
const WORDS = "the quick brown fox jumps over a lazy dog naïve love story café winding road".split(" ");

interface Figures {
  readonly format: string;
  readonly bytes: number;
  readonly bare: Measured;
  readonly read: Measured;
  readonly label: Measured;
}

export async function runFiles(options: BenchOptions): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "rowmill-bench-files-"));
  const measured: Figures[] = [];
  try {
    const csv = join(folder, "rows.csv");
    await writeRows(csv, options.rows ?? ROWS_DEFAULT);
    const bare = await pass("bare", csv);
    for (const format of ["csv", "jsonl", "parquet"]) {
      const path = join(folder, `rows.${format}`);
      if (format !== "csv") await pass("convert", csv, path);
      const [read, label] = [await pass("read", path), await pass("label", path, join(folder, `out.${format}`))];
      measured.push({ format, bytes: (await stat(path)).size, bare, read, label });
      await rm(join(folder, `out.${format}`));
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
  if (options.json) return console.log(JSON.stringify({ machine: machine(), measured }));
  printMachine();
  console.log();
  const cells = measured.map(({ format, bytes, bare, read, label }) => [
    format,
    amount(bytes, 1e6, 0),
    amount(read.wallMs, 1e3, 1),
    amount(label.wallMs, 1e3, 1),
    amount(quotient(label.wallMs, bare.wallMs), 1, 2),
    amount(read.peakBytes, 1e6, 0),
    amount(label.peakBytes, 1e6, 0),
  ]);
  const titles = ["", "MB", "read s", "with answers s", "÷ bare lines", "peak MB", "peak MB with answers"];
  printTable(titles, cells);
}

function pass(...args: readonly string[]): Promise<Measured> {
  return runMeasured([{ args: [resolve(import.meta.dirname, "files-pass.mjs"), ...args], cwd: repository }]);
}

export async function writeRows(path: string, rows: number): Promise<void> {
  const file = createWriteStream(path);
  file.write("id,title,description\n");
  for (let row = 0; row < rows; row += ROWS_AT_ONCE) {
    const lines = Array.from({ length: Math.min(ROWS_AT_ONCE, rows - row) }, (_, index) => line(row + index));
    if (!file.write(lines.join(""))) await once(file, "drain");
  }
  file.end();
  await once(file, "finish");
}

/** Each one is different, and has a quote, a comma and a line break. */
function line(row: number): string {
  const words = Array.from({ length: WORDS_IN_ROW }, (_, index) => WORDS[(row * 7 + index * index) % WORDS.length]);
  return `${row},"Title ""${row}"", the film","${words.join(" ")}\n${row}${"x".repeat(row % 200)}"\n`;
}
