/** What the triggers cost a user's own write: the same statements on two equal tables, one of them watched, turn by turn. */
import { prepareSchemas } from "../src/app/open-project.js";
import { inspectTable } from "../src/sources/table-inspection.js";
import { installTriggers } from "../src/sources/table-triggers.js";
import { raw, sql, type Database } from "../src/store/database.js";
import { timed } from "./timing.js";

const PIPELINE_ID = 1;

export interface Compared {
  readonly plainMs: number;
  readonly watchedMs: number;
}

export type TriggerFigures = Readonly<Record<string, Compared>>;

export async function measureTriggers(
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
  const insertAll = (table: string) => bulkInsert(database, table, size.rows);
  return {
    "bulk insert": await compare(database, size.rounds, { run: insertAll }),
    "single inserts": await compare(database, size.rounds, {
      run: (table) => singleInserts(database, table, size.singles),
    }),
    "bulk update, declared column": await compare(database, size.rounds, {
      prepare: insertAll,
      run: (table) => database.run(raw(`update public.${table} set title = title || '!'`)),
    }),
  };
}

interface Work {
  /** Not measured. */
  readonly prepare?: (table: string) => Promise<unknown>;
  readonly run: (table: string) => Promise<unknown>;
}

/** Both tables in each round, in changing order; the first round warms up. The best of each: whatever else the machine does only adds. */
async function compare(database: Database, rounds: number, { prepare, run }: Work): Promise<Compared> {
  const times = { plain: [] as number[], watched: [] as number[] };
  for (let round = 0; round <= rounds; round++) {
    const order = round % 2 === 0 ? (["plain", "watched"] as const) : (["watched", "plain"] as const);
    for (const table of order) {
      await database.run(raw(`truncate public.${table}, rowmill.arrivals`));
      await prepare?.(table);
      const { ms } = await timed(() => run(table));
      if (round > 0) times[table].push(ms);
    }
  }
  return { plainMs: Math.min(...times.plain), watchedMs: Math.min(...times.watched) };
}

function bulkInsert(database: Database, table: string, rows: number): Promise<number> {
  return database.run(sql`insert into ${raw(`public.${table}`)}
    select n, 'Film number ' || n, repeat('The story of a weary detective who hunts a killer in rainy Lisbon, take ' || n || '. ', 3)
    from generate_series(1, ${rows}::int) n`);
}

async function singleInserts(database: Database, table: string, count: number): Promise<void> {
  for (let id = 1; id <= count; id++) {
    await database.run(
      sql`insert into ${raw(`public.${table}`)} values (${id}, ${`Film number ${id}`}, ${`The story of film ${id}.`})`,
    );
  }
}
