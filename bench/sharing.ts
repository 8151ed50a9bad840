/**
 * `npm run bench -- sharing`: what it saves that equal questions of a batch are asked once, where 30 of 100 rows repeat
 * the question of another one: `rowmill up` with `dedupe` against without, turn by turn.
 */
import type { BenchOptions } from "./bench-options.js";
import { oneNumber, startBenchServer } from "./bench-server.js";
import { cpuOf, millOptions } from "./mill-report.js";
import { measureMill, type Figures } from "./mill.js";
import { amount, machine, median, printMachine, printTable, quotient, spread } from "./report.js";

const ROWS_DEFAULT = 50_000;
const REPEATS_DEFAULT = 3;
/** Of the rows, how many ask what another one asks. */
const REPEATED_PART = 0.3;

interface Shared extends Figures {
  readonly costNanoUsd: number;
  /** What the ledger says that sharing saved. */
  readonly savedNanoUsd: number;
}

interface Turn {
  readonly shared: Shared;
  readonly each: Shared;
}

export async function runSharing(options: BenchOptions): Promise<void> {
  const wanted = { ...millOptions(options), rows: options.rows ?? ROWS_DEFAULT };
  const distinct = Math.max(1, Math.round(wanted.rows * (1 - REPEATED_PART)));
  const server = await startBenchServer();
  const measured = async (dedupe: boolean): Promise<Shared> => {
    let money = { costNanoUsd: 0, savedNanoUsd: 0 };
    const figures = await measureMill(server, {
      ...wanted,
      distinct,
      dedupe,
      after: async (client) => {
        const sum = (column: string) =>
          oneNumber(client, `select coalesce(sum(${column}), 0)::float8 * 1e9 as n from rowmill.costs`);
        money = { costNanoUsd: await sum("spent_usd"), savedNanoUsd: await sum("sharing_saved_usd") };
      },
    });
    return { ...figures, ...money };
  };
  const turns: Turn[] = [];
  try {
    for (let repeat = 0; repeat < (options.repeats ?? REPEATS_DEFAULT); repeat++)
      turns.push({ each: await measured(false), shared: await measured(true) });
  } finally {
    await server.stop();
  }
  for (const { each, shared } of turns) requireSameSum(each, shared);
  if (options.json) console.log(JSON.stringify({ machine: machine(), rows: wanted.rows, distinct, turns }));
  else report(wanted.rows, distinct, turns);
}

/** All lines cost the same here, so what was spent and what was saved are what all rows cost without sharing. */
function requireSameSum(each: Shared, shared: Shared): void {
  if (Math.round(shared.costNanoUsd + shared.savedNanoUsd) === Math.round(each.costNanoUsd)) return;
  throw new Error(
    `${shared.costNanoUsd} spent and ${shared.savedNanoUsd} saved are not the ${each.costNanoUsd} of all rows.`,
  );
}

function report(rows: number, distinct: number, turns: readonly Turn[]): void {
  const count = (value: number) => value.toLocaleString("en");
  printMachine();
  console.log(`${count(rows)} rows with ${count(distinct)} questions; median of ${turns.length}\n`);
  const line = (name: string, of: (turn: Turn) => Shared) => {
    const middle = (figure: (one: Shared) => number | null) => median(turns.map((turn) => figure(of(turn))));
    const against = (figure: (one: Shared) => number | null) =>
      spread(turns.map((turn) => quotient(figure(of(turn)), figure(turn.each))));
    return [
      name,
      amount(
        middle(({ counts }) => counts.requests),
        1,
        0,
      ),
      amount(
        middle(({ costNanoUsd }) => costNanoUsd),
        1e9,
        4,
      ),
      amount(
        middle(({ settledMs }) => settledMs),
        1_000,
        2,
      ),
      against(({ counts }) => counts.requests),
      against(({ costNanoUsd }) => costNanoUsd),
      against(({ settledMs }) => settledMs),
      against(cpuOf),
    ];
  };
  printTable(
    ["", "lines", "cost $", "settled s", "lines ÷", "cost ÷", "wall ÷", "CPU ÷"],
    [line("dedupe: false", ({ each }) => each), line("dedupe: true", ({ shared }) => shared)],
  );
}
