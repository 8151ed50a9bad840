/**
 * `npm run bench -- growth`: what new rows cost, and a look at the ledger, when much has settled; and what rows cost
 * that are sent again and again.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type pg from "pg";
import type { BenchOptions } from "./bench-options.js";
import { ledgerBytes, oneNumber, startBenchServer } from "./bench-server.js";
import { run, runBeside, type Command, type Running } from "./measured-process.js";
import { cpuOf, millOptions } from "./mill-report.js";
import { BATCH_REQUESTS_DEFAULT, requireAnswers, type Figures } from "./mill.js";
import { amount, machine, median, printMachine, printTable, spread } from "./report.js";
import { withSettled, type Settled } from "./settled-rows.js";
import { treeMs } from "./usage.js";

const SIZES_DEFAULT = [10_000, 300_000, 1_000_000];
const ADDED_DEFAULT = 20_000;
const UPDATED_DEFAULT = 20_000;
const ROUNDS_DEFAULT = 10;
const REPEATS_DEFAULT = 1;
/** Of `status` and of `show`; the middle one counts. */
const LOOKS = 3;
const LOOK_MS = 100;
const WAIT_MS_MAX = 3_600_000;

interface Grown {
  readonly settled: number;
  readonly statusMs: number | null;
  readonly showMs: number | null;
  /** Until the worker has looked at every settled row. */
  readonly start: Spent;
  /** From the commit of the new rows to the end of their batch. */
  readonly work: Spent;
  readonly ledgerBytes: number;
}

/** Processor time; NaN where there is no /proc. */
interface Spent {
  readonly workerMs: number;
  readonly postgresMs: number;
}

interface Rounds {
  /** `up` with nothing to do. */
  readonly start: Figures;
  readonly rounds: readonly Round[];
}

interface Round extends Figures {
  readonly attemptsBytes: number;
}

export async function runGrowth(options: BenchOptions): Promise<void> {
  const sizes = options.sizes.length === 0 ? SIZES_DEFAULT : options.sizes;
  const added = options.added ?? ADDED_DEFAULT;
  const updated = options.updated ?? UPDATED_DEFAULT;
  // The new ones are one batch, which begins when all of them are there.
  const mill = { ...millOptions(options), batchRequests: BATCH_REQUESTS_DEFAULT, whenRows: added };
  const bySize: Grown[][] = sizes.map(() => []);
  const server = await startBenchServer({ statements: true });
  try {
    for (let repeat = 0; repeat < (options.repeats ?? REPEATS_DEFAULT); repeat++)
      for (const [index, rows] of sizes.entries())
        bySize[index]?.push(await withSettled(server, { ...mill, rows }, (place) => measureAdded(place, rows, added)));
    const rounds = await withSettled(server, { ...mill, rows: updated }, (place) =>
      measureRounds(place, options.rounds ?? ROUNDS_DEFAULT),
    );
    if (options.json) return console.log(JSON.stringify({ machine: machine(), added, bySize, updated, ...rounds }));
    printMachine();
    reportSizes(bySize, added);
    reportRounds(rounds, updated);
  } finally {
    await server.stop();
  }
}

/** A worker that has looked at all that has settled is there already: its start is not in what the new rows cost. */
async function measureAdded(place: Settled, settled: number, added: number): Promise<Grown> {
  const { server, client, command } = place;
  const statusMs = await statementMs(client, command("status"));
  const showMs = await statementMs(client, command("show", "films", String(Math.ceil(settled / 2))));
  await client.query("checkpoint");
  const now = await oneNumber(client, "select extract(epoch from clock_timestamp())::float8 as n");
  const atFirst = server.cpuMs() ?? NaN;
  const worker = runBeside(command("up", "--yes"));
  const spent = (before: Spent): Spent => ({
    workerMs: (treeMs(worker.pid) ?? NaN) - before.workerMs,
    postgresMs: (server.cpuMs() ?? NaN) - before.postgresMs,
  });
  try {
    const swept = `phase = 'idle' and wanted_at is null and started_at > to_timestamp(${now})`;
    await until(place, worker, `select count(*)::float8 as n from rowmill.sweeps where ${swept}`, 1);
    const start = spent({ workerMs: 0, postgresMs: atFirst });
    await client.query("begin");
    await client.query(`insert into public.films select n, 'Film number ' || n, description
      from public.films, generate_series(${settled + 1}, ${settled + added}) n where id = 1`);
    const before = spent({ workerMs: 0, postgresMs: 0 });
    await client.query("commit");
    await until(place, worker, "select sum(succeeded)::float8 as n from rowmill.batches", settled + added);
    const work = spent(before);
    await requireAnswers(client, settled + added);
    return { settled, statusMs, showMs, start, work, ledgerBytes: await ledgerBytes(client) };
  } finally {
    await worker.stop();
  }
}

async function until({ client }: Settled, worker: Running, query: string, wanted: number): Promise<void> {
  const lateAt = performance.now() + WAIT_MS_MAX;
  while ((await oneNumber(client, query)) !== wanted) {
    worker.requireAlive();
    if (performance.now() > lateAt) throw new Error(`Not ${wanted} after ${WAIT_MS_MAX} ms: ${query}`);
    await sleep(LOOK_MS);
  }
}

/** What the server needs for all statements of a command. */
async function statementMs(client: pg.Client, command: Command): Promise<number | null> {
  const looks: number[] = [];
  for (let look = 0; look < LOOKS; look++) {
    await client.query("select pg_stat_statements_reset()");
    await run(command);
    looks.push(
      await oneNumber(
        client,
        `select sum(total_plan_time + total_exec_time)::float8 as n from pg_stat_statements
          where dbid = (select oid from pg_database where datname = current_database())
            and query not like '%pg_stat_statements%'`,
      ),
    );
  }
  return median(looks);
}

async function measureRounds({ client, measureUp }: Settled, count: number): Promise<Rounds> {
  const start = await measureUp();
  const rounds: Round[] = [];
  for (let round = 1; round <= count; round++) {
    await client.query(`update public.films set title = 'Film number ' || id || ', take ${round}'`);
    await client.query("checkpoint");
    const figures = await measureUp();
    const attemptsBytes = await oneNumber(client, "select pg_total_relation_size('rowmill.attempts')::float8 as n");
    rounds.push({ ...figures, attemptsBytes });
  }
  return { start, rounds };
}

function reportSizes(bySize: readonly (readonly Grown[])[], added: number): void {
  console.log(`${added.toLocaleString("en")} new rows beside those that have settled\n`);
  const both = ({ workerMs, postgresMs }: Spent) => workerMs + postgresMs;
  const cells = bySize.map((repeats) => {
    const middle = (unit: number, digits: number, of: (one: Grown) => number | null) =>
      amount(median(repeats.map(of)), unit, digits);
    const ratios = repeats.map(({ work }, repeat) => both(work) / both(bySize[0]?.[repeat]?.work ?? work));
    return [
      middle(1, 0, ({ settled }) => settled),
      middle(1_000, 2, ({ start }) => both(start)),
      middle(added / 1_000, 1, ({ work }) => work.workerMs),
      middle(added / 1_000, 1, ({ work }) => work.postgresMs),
      spread(ratios),
      middle(1, 1, ({ statusMs }) => statusMs),
      middle(1, 1, ({ showMs }) => showMs),
      middle(1e6, 0, (one) => one.ledgerBytes),
    ];
  });
  const titles = ["settled", "start CPU s", "worker µs/row", "PostgreSQL µs/row", "CPU ÷ the first"];
  printTable([...titles, "status ms", "show ms", "ledger MB"], cells);
}

function reportRounds({ start, rounds }: Rounds, updated: number): void {
  console.log(`${updated.toLocaleString("en")} rows, all of them updated in each round\n`);
  const net = (one: Round) => (cpuOf(one) ?? NaN) - (cpuOf(start) ?? NaN);
  const rest = (one: Round) => one.ledgerBytes - one.attemptsBytes;
  const cells = rounds.map((one, index) => {
    const [first = one] = rounds;
    return [
      String(index + 1),
      amount(net(one), updated / 1_000, 1),
      amount(net(one) / net(first), 1, 2),
      amount(one.attemptsBytes, 1e6, 1),
      amount(rest(one), 1e6, 1),
      amount(rest(one) / rest(first), 1, 2),
    ];
  });
  printTable(["round", "CPU µs/row", "÷ the first", "attempts MB", "rest MB", "÷ the first"], cells);
}
