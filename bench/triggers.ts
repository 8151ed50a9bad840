/**
 * What the triggers cost a user's own write: the same statements on equal tables, one of them without a trigger, turn
 * by turn. What is counted is the processor time of the server's own processes where Linux tells it, else time as it
 * passed.
 */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { prepareSchemas } from "../src/app/open/open-project.js";
import { inspectTable, type SourceTable } from "../src/sources/table/inspection.js";
import { installTriggers } from "../src/sources/table/triggers.js";
import { triggerFunctionText } from "../src/sources/table/trigger-function.js";
import { openDatabase, raw, type Database } from "../src/postgres/database.js";
import type { BenchOptions } from "./bench-options.js";
import { startBenchServer } from "./bench-server.js";
import { printMachine } from "./report.js";

/** Below, at and above the keys of one arrival, and the bound of versions before. */
const sizes = {
  full: {
    statements: [1_000, 5_000, 5_001, 50_000, 50_001, 200_000],
    rows: 25_000,
    singles: 400,
    connections: 8,
    rounds: 5,
  },
  smoke: { statements: [1_000, 5_001], rows: 5_001, singles: 80, connections: 8, rounds: 1 },
} as const;

/** The text of a trigger function, of this version or of another one. */
type TriggerText = typeof triggerFunctionText;

interface TriggerSize {
  /** Rows of one statement, each also as ratio to the others: no size may be a cliff. */
  readonly statements: readonly number[];
  /** Rows that each kind of statement writes in a round, in as many statements as that takes. */
  readonly rows: number;
  readonly singles: number;
  readonly connections: number;
  readonly rounds: number;
}

interface TriggerFigure {
  readonly statement: string;
  /** Rows a statement. */
  readonly rows: number;
  /** µs a row without a trigger; the median of the rounds. */
  readonly plain: number;
  /** By version, µs a row with the trigger. */
  readonly watched: Readonly<Record<string, number>>;
}

const FILL_TEXT = "repeat('The story of a weary detective who hunts a killer in rainy Lisbon, take ' || i || '. ', 3)";

/** Each in turn, on rows `from` to `to`; afterwards they are gone again. */
const statements: Readonly<Record<string, (table: string, from: number, to: number) => string>> = {
  INSERT: (table, from, to) =>
    `insert into public.${table} select i, 'Film number ' || i, ${FILL_TEXT}, 0 from generate_series(${from}, ${to}) i`,
  "UPDATE, declared": (table, from, to) =>
    `update public.${table} set title = 'Film changed ' || id where id between ${from} and ${to}`,
  "UPDATE, undeclared": (table, from, to) =>
    `update public.${table} set mark = mark + 1 where id between ${from} and ${to}`,
  DELETE: (table, from, to) => `delete from public.${table} where id between ${from} and ${to}`,
  COPY: (table, from, to) =>
    `copy public.${table} from program 'seq ${from} ${to} | sed "s/.*/&,Film number &,The story of a weary detective who hunts a killer in rainy Lisbon: take & of the same again and again and again until it is long enough to be like the others,0/"' csv`,
};

/** `options.against`: a checkout whose triggers are measured in the same run. */
export async function runTriggers(options: BenchOptions): Promise<void> {
  const size = options.smoke ? sizes.smoke : { ...sizes.full, rounds: options.repeats ?? sizes.full.rounds };
  const before = options.against === null ? {} : { before: await textOf(options.against) };
  const server = await startBenchServer();
  try {
    const figures = await measureTriggers(server.url, size, { ...before, now: triggerFunctionText });
    printMachine();
    printTriggers(figures);
  } finally {
    await server.stop();
  }
}

async function textOf(checkout: string): Promise<TriggerText> {
  const file = join(checkout, "src/sources/table/trigger-function.ts");
  const loaded: { triggerFunctionText: TriggerText } = await import(pathToFileURL(file).href);
  return loaded.triggerFunctionText;
}

/** `versions`: the texts to compare, by name. Needs a superuser, for COPY from a program. */
async function measureTriggers(
  url: string,
  size: TriggerSize,
  versions: Readonly<Record<string, TriggerText>>,
): Promise<TriggerFigure[]> {
  const open = (poolMax: number) => openDatabase({ connectionString: url, ssl: false }, { poolMax });
  const database = open(1);
  const many = Array.from({ length: size.connections }, () => open(1));
  try {
    const tables = await prepareTables(database, versions);
    const figures: TriggerFigure[] = [];
    for (const rows of size.statements) {
      const count = Math.max(1, Math.ceil(size.rows / rows));
      figures.push(...(await compare([database], tables, { ...size, rows, count })));
    }
    for (const connections of [[database], many])
      figures.push(...(await compare(connections, tables, { ...size, rows: 1, count: size.singles })));
    return figures;
  } finally {
    await Promise.all([database, ...many].map((each) => each.close()));
  }
}

function printTriggers(figures: readonly TriggerFigure[]): void {
  console.log("A user's write with Rowmill's trigger against the same without it: ratio, and µs a row more");
  for (const { statement, rows, plain, watched } of figures) {
    const versions = Object.entries(watched).map(
      ([name, us]) => `${name} ${(us / plain).toFixed(2)} × ${(us - plain).toFixed(2).padStart(6)} µs`,
    );
    console.log(
      `  ${statement.padEnd(32)} ${String(rows).padStart(7)} rows  plain ${plain.toFixed(2).padStart(6)} µs   ${versions.join("   ")}`,
    );
  }
}

/** By version, the name of its table; `plain` has no trigger. */
async function prepareTables(
  database: Database,
  versions: Readonly<Record<string, TriggerText>>,
): Promise<ReadonlyMap<string, string>> {
  await prepareSchemas(database);
  const tables = new Map([["plain", "plain"]]);
  for (const [index, [name, text]] of Object.entries(versions).entries())
    tables.set(name, await watch(database, { table: `watched_${index}`, pipelineId: index + 1, text }));
  await createTable(database, "plain");
  return tables;
}

async function createTable(database: Database, table: string): Promise<SourceTable> {
  await database.run(
    raw(
      `create table public.${table} (id bigint primary key, title text not null, description text not null, mark int)`,
    ),
  );
  return inspectTable(database, { table, key: ["id"], columns: ["title", "description"] });
}

async function watch(
  database: Database,
  { table, pipelineId, text }: { table: string; pipelineId: number; text: TriggerText },
): Promise<string> {
  const source = await createTable(database, table);
  const options = { pipelineId, wholeRow: false };
  await installTriggers(database, source, options);
  // Its owner stays who installTriggers made it.
  await database.run(raw(text(source, options)));
  return table;
}

interface Work {
  readonly rows: number;
  readonly count: number;
  readonly rounds: number;
}

/** The order changes from round to round; the first round warms up. */
async function compare(
  connections: readonly Database[],
  tables: ReadonlyMap<string, string>,
  { rows, count, rounds }: Work,
): Promise<TriggerFigure[]> {
  const [first] = connections;
  const kinds = Object.entries(statements).filter(([kind]) => rows > 1 || kind !== "COPY");
  const spent = new Map<string, number[]>();
  for (let round = 0; round <= rounds; round++) {
    const order = round % 2 === 0 ? [...tables] : [...tables].reverse();
    await first?.run(raw(`truncate public.${[...tables.values()].join(", public.")}, rowmill.arrivals`));
    for (const [kind, statement] of kinds) {
      for (const [version, us] of await turns(connections, order, { rows, count }, statement)) {
        if (round > 0) spent.set(`${kind} ${version}`, [...(spent.get(`${kind} ${version}`) ?? []), us]);
      }
    }
  }
  const median = (kind: string, version: string): number =>
    (spent.get(`${kind} ${version}`) ?? []).sort((a, b) => a - b)[Math.floor((rounds - 1) / 2)] ?? 0;
  return kinds.map(([kind]) => ({
    statement: connections.length === 1 ? kind : `${kind}, ${connections.length} connections`,
    rows,
    plain: median(kind, "plain"),
    watched: Object.fromEntries(
      [...tables.keys()].filter((name) => name !== "plain").map((name) => [name, median(kind, name)]),
    ),
  }));
}

/** Statement by statement on each table, so that whatever else the machine does meets all; µs a row of each. */
async function turns(
  connections: readonly Database[],
  order: readonly (readonly [version: string, table: string])[],
  { rows, count }: { rows: number; count: number },
  statement: (table: string, from: number, to: number) => string,
): Promise<Map<string, number>> {
  const total = new Map<string, number>();
  const each = connections.length;
  for (let index = 0; index < count; index += each) {
    for (const [version, table] of order) {
      const before = await spentBy(connections);
      await Promise.all(
        connections.map((connection, lane) => {
          const from = (index + lane) * rows + 1;
          return connection.run(raw(statement(table, from, from + rows - 1)));
        }),
      );
      const us = (await spentBy(connections)) - before;
      total.set(version, (total.get(version) ?? 0) + us / (Math.ceil(count / each) * each * rows));
    }
  }
  return total;
}

const pids = new WeakMap<Database, number>();

/** µs: processor time of these connections' server processes, or the clock. */
async function spentBy(connections: readonly Database[]): Promise<number> {
  const parts = await Promise.all(
    connections.map(async (connection) => {
      let pid = pids.get(connection);
      if (pid === undefined) {
        const row = await connection.first<{ pid: number }>(raw("select pg_backend_pid() as pid"));
        pids.set(connection, (pid = row?.pid ?? 0));
      }
      const text = await readFile(`/proc/${pid}/schedstat`, "utf8").catch(() => null);
      return text === null ? performance.now() * 1_000 : Number(text.split(" ")[0]) / 1_000;
    }),
  );
  return parts.reduce((sum, part) => sum + part, 0);
}
