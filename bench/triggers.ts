/** What the triggers cost a user's own write: the same statements on two equal tables, one of them watched, turn by turn. */
import { prepareSchemas } from "../src/app/open-project.js";
import { inspectTable } from "../src/sources/table-inspection.js";
import { installTriggers } from "../src/sources/table-triggers.js";
import { openDatabase, raw, sql, type Database } from "../src/store/database.js";
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer } from "./bench-server.js";
import { timed } from "./timing.js";

const PIPELINE_ID = 1;
const sizes = {
  full: { rows: 50_000, rounds: 15, singles: 500 },
  smoke: { rows: 2_000, rounds: 3, singles: 200 },
} as const;

/** Watched ÷ plain, of the rounds' ratios: the one in the middle, and the middle half. */
interface Compared {
  readonly ratio: number;
  readonly middleHalf: readonly [from: number, to: number];
}

type TriggerFigures = Readonly<Record<string, Compared>>;

export async function runTriggers(options: BenchOptions): Promise<void> {
  const size = options.smoke ? sizes.smoke : sizes.full;
  const server = await startBenchServer();
  const database = openDatabase({ connectionString: server.url, ssl: false }, { poolMax: 2 });
  try {
    report(await measureTriggers(database, size), size.rounds);
  } finally {
    await database.close();
    await server.stop();
  }
}

function report(figures: TriggerFigures, rounds: number): void {
  console.log(
    `A user's write with Rowmill's trigger, against the same write without it (the middle one of ${rounds} rounds)`,
  );
  for (const [name, { ratio, middleHalf }] of Object.entries(figures)) {
    const [from, to] = middleHalf.map((bound) => bound.toFixed(2));
    console.log(`  ${name.padEnd(28)} ${ratio.toFixed(2)} ×   (half of the rounds: ${from} to ${to})`);
  }
  console.log();
}

async function measureTriggers(
  database: Database,
  size: { readonly rows: number; readonly rounds: number; readonly singles: number },
): Promise<TriggerFigures> {
  await prepareSchemas(database);
  for (const table of ["plain", "watched"]) {
    await database.run(
      raw(
        `create table public.${table} (id bigint primary key, title text not null, description text not null)`,
      ),
    );
  }
  const watched = await inspectTable(database, {
    table: "watched",
    key: ["id"],
    columns: ["title", "description"],
  });
  await installTriggers(database, watched, { pipelineId: PIPELINE_ID, wholeRow: false });
  const compare = (round: Round) => compareRounds(database, size.rounds, round);
  const fill = (table: Table) => bulkInsert(database, table, size.rows);
  return {
    "bulk insert": await compare((order) => statementByStatement(order, 1, fill)),
    "single inserts": await compare((order) =>
      statementByStatement(order, size.singles, (table, id) => singleInsert(database, table, id)),
    ),
    "single updates": await compare(async (order) => {
      for (const table of order) await fill(table);
      return statementByStatement(order, size.singles, (table, id) => singleUpdate(database, table, id));
    }),
    "bulk update, declared column": await compare(async (order) => {
      for (const table of order) await fill(table);
      return statementByStatement(order, 1, (table) =>
        database.run(raw(`update public.${table} set title = title || '!'`)),
      );
    }),
  };
}

type Table = "plain" | "watched";
/** Both tables in the order given, empty before; what a statement took on each. */
type Round = (order: readonly Table[]) => Promise<Readonly<Record<Table, number>>>;

/** The order changes from round to round; the first one warms up. */
async function compareRounds(database: Database, rounds: number, measure: Round): Promise<Compared> {
  const ratios: number[] = [];
  for (let round = 0; round <= rounds; round++) {
    await database.run(raw("truncate public.plain, public.watched, rowmill.arrivals"));
    const ms = await measure(round % 2 === 0 ? ["plain", "watched"] : ["watched", "plain"]);
    if (round > 0) ratios.push(ms.watched / ms.plain);
  }
  return { ratio: quantile(ratios, 0.5), middleHalf: [quantile(ratios, 0.25), quantile(ratios, 0.75)] };
}

/** Turn by turn on both tables, so that whatever else the machine does meets both; the middle one of each table's times. */
async function statementByStatement(
  order: readonly Table[],
  count: number,
  run: (table: Table, id: number) => Promise<unknown>,
): Promise<Record<Table, number>> {
  const times: Record<Table, number[]> = { plain: [], watched: [] };
  for (let id = 1; id <= count; id++) {
    for (const table of order) times[table].push((await timed(() => run(table, id))).ms);
  }
  return { plain: quantile(times.plain, 0.5), watched: quantile(times.watched, 0.5) };
}

function quantile(values: readonly number[], share: number): number {
  return [...values].sort((a, b) => a - b)[Math.floor((values.length - 1) * share)] ?? 0;
}

function bulkInsert(database: Database, table: Table, rows: number): Promise<number> {
  return database.run(sql`insert into ${raw(`public.${table}`)}
    select n, 'Film number ' || n, repeat('The story of a weary detective who hunts a killer in rainy Lisbon, take ' || n || '. ', 3)
    from generate_series(1, ${rows}::int) n`);
}

function singleInsert(database: Database, table: Table, id: number): Promise<number> {
  return database.run(
    sql`insert into ${raw(`public.${table}`)} values (${id}, ${`Film number ${id}`}, ${`The story of film ${id}.`})`,
  );
}

function singleUpdate(database: Database, table: Table, id: number): Promise<number> {
  return database.run(
    sql`update ${raw(`public.${table}`)} set title = ${`Film number ${id}, changed`} where id = ${id}`,
  );
}
