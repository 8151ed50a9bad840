/** `npm run bench -- mill`: Rowmill ÷ floor, turn by turn, the middle one of some repeats. */
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer, type BenchServer } from "./bench-server.js";
import type { Measured } from "./measured-process.js";
import {
  BATCH_REQUESTS_DEFAULT,
  measureFloor,
  measureMill,
  measureStart,
  type Figures,
  type MillOptions,
} from "./mill.js";
import { amount, machine, median, printMachine, printTable, quotient, spread } from "./report.js";

const ROWS_DEFAULT = 100_000;
const REPEATS_DEFAULT = 3;
/**
 * Bodies and answers of both may differ by their ids; by more, the floor does not move any more what Rowmill moves.
 * Its batches may be fewer: Rowmill plans while rows still arrive.
 */
const BYTES_APART_MAX = 0.05;

/** One turn. */
interface Turn {
  readonly floor: Figures;
  readonly mill: Figures;
  /** Of the other build; null: there is none. */
  readonly beside: Figures | null;
}

export function millOptions(options: BenchOptions): MillOptions {
  const { order, arrivals, cli, batchRequests } = options;
  const rows = options.rows ?? ROWS_DEFAULT;
  return { rows, order, arrivals, cli, batchRequests: batchRequests ?? BATCH_REQUESTS_DEFAULT };
}

export async function runMill(options: BenchOptions): Promise<void> {
  const server = await startBenchServer();
  try {
    const wanted = millOptions(options);
    const start = await measureStart(server, wanted);
    const turns = await measureTurns(server, wanted, options);
    if (options.json) console.log(JSON.stringify({ machine: machine(), options: wanted, start, turns }));
    else report(wanted, start, turns);
  } finally {
    await server.stop();
  }
}

export async function measureTurns(
  server: BenchServer,
  wanted: MillOptions,
  { repeats, beside }: Pick<BenchOptions, "repeats" | "beside">,
): Promise<Turn[]> {
  const turns: Turn[] = [];
  for (let repeat = 0; repeat < (repeats ?? REPEATS_DEFAULT); repeat++) {
    const floor = await measureFloor(server, wanted);
    const mill = await measureMill(server, wanted);
    requireSameBytes(floor, mill);
    const other = beside === null ? null : await measureMill(server, { ...wanted, cli: beside });
    turns.push({ floor, mill, beside: other });
  }
  return turns;
}

function requireSameBytes({ counts: floor }: Figures, { counts: mill }: Figures): void {
  const apart = Math.max(Math.abs(mill.bytesIn / floor.bytesIn - 1), Math.abs(mill.bytesOut / floor.bytesOut - 1));
  if (apart <= BYTES_APART_MAX && mill.requests === floor.requests) return;
  throw new Error(
    `The floor moved ${JSON.stringify(floor)}, Rowmill ${JSON.stringify(mill)}: make bench/floor.mjs ask what Rowmill asks.`,
  );
}

export function cpuOf({ nodeMs, postgresMs }: Figures): number | null {
  return nodeMs === null || postgresMs === null ? null : nodeMs + postgresMs;
}

/** Processor time ÷ the floor's of the same turn. */
export function cpuRatio(floor: Figures, mill: Figures): number | null {
  return quotient(cpuOf(mill), cpuOf(floor));
}

function report(options: MillOptions, start: Measured, turns: readonly Turn[]): void {
  const { rows, batchRequests, order, arrivals } = options;
  const count = (value: number) => value.toLocaleString("en");
  printMachine();
  console.log(
    `${count(rows)} rows of 250 bytes, arrivals by ${arrivals}, batches of ${count(batchRequests)}, answers in ${order} order; median of ${turns.length}\n`,
  );
  const mills = [
    { name: "rowmill up", of: (turn: Turn) => turn.mill },
    { name: "the build beside", of: (turn: Turn) => turn.beside },
  ];
  const cells = mills.flatMap(({ name, of }) => {
    const measured = turns.flatMap((turn) => {
      const mill = of(turn);
      return mill === null ? [] : [{ floor: turn.floor, mill }];
    });
    if (measured.length === 0) return [];
    const wall = spread(measured.map(({ floor, mill }) => mill.settledMs / floor.settledMs));
    const cpu = spread(measured.map(({ floor, mill }) => cpuRatio(floor, mill)));
    return [
      [
        ...figureCells(
          name,
          measured.map(({ mill }) => mill),
          rows,
        ),
        wall,
        cpu,
      ],
    ];
  });
  const floor = figureCells(
    "floor",
    turns.map((turn) => turn.floor),
    rows,
  );
  printTable([...FIGURE_TITLES, "wall ÷ floor", "CPU ÷ floor"], [[...floor, "", ""], ...cells]);
  console.log(
    `  Of rowmill up its start and end, with nothing to do: wall ${amount(start.wallMs, 1_000, 1)} s, CPU of Node ${amount(start.cpuMs, 1_000, 2)} s`,
  );
}

export const FIGURE_TITLES = [
  "",
  "settled s",
  "rows/s",
  "ended s",
  "Node µs/row",
  "Postgres µs/row",
  "peak MB",
  "WAL B/row",
  "ledger MB",
  "batches",
];

/** Medians of each, so that they need not be of one run. */
export function figureCells(name: string, figures: readonly Figures[], rows: number): string[] {
  const middle = (of: (one: Figures) => number | null) => median(figures.map(of));
  const settledMs = middle((one) => one.settledMs);
  return [
    name,
    amount(settledMs, 1_000, 1),
    amount(quotient(rows * 1_000, settledMs), 1, 0),
    amount(
      middle((one) => one.wallMs),
      1_000,
      1,
    ),
    amount(
      middle((one) => one.nodeMs),
      rows / 1_000,
      1,
    ),
    amount(
      middle((one) => one.postgresMs),
      rows / 1_000,
      1,
    ),
    amount(
      middle((one) => one.peakBytes),
      1e6,
      0,
    ),
    amount(
      middle((one) => one.walBytes),
      rows,
      0,
    ),
    amount(
      middle((one) => one.ledgerBytes),
      1e6,
      0,
    ),
    amount(
      middle((one) => one.counts.batches),
      1,
      0,
    ),
  ];
}
