/**
 * `npm run bench -- mysql`: rows read from MariaDB, and answers written to it, by the connector; set against a bare
 * loop of the driver that moves the same rows.
 */
import type { RowDataPacket } from "mysql2";
import type { Connection } from "mysql2/promise";
import { mysql } from "../src/connectors/mysql/mysql.js";
import type { AnswerColumn } from "../src/model/answer/answer-columns.js";
import { startMariaDb, type MariaDatabase } from "../test/support/mariadb.js";
import type { BenchOptions } from "./bench-options.js";
import { amount, machine, median, printMachine, printTable, quotient, spread } from "./report.js";
import { timed } from "./timing.js";

const ROWS_DEFAULT = 100_000;
const SMOKE_ROWS = 5_000;
const REPEATS_DEFAULT = 3;
const PAGE_ROWS = 2_000;
const CHUNK_ROWS = 500;
const FIELDS: readonly AnswerColumn[] = [{ field: "summary", type: "text", nullable: true, check: null }];
const { signal } = new AbortController();

interface Turn {
  readonly bareMs: number;
  readonly ourMs: number;
}

export async function runMysql(options: BenchOptions): Promise<void> {
  const rows = options.smoke ? SMOKE_ROWS : (options.rows ?? ROWS_DEFAULT);
  const repeats = options.smoke ? 1 : (options.repeats ?? REPEATS_DEFAULT);
  const server = await startMariaDb();
  try {
    const database = await server.createDatabase();
    await fill(database, rows);
    const client = await database.connect();
    const measured = { read: await repeat(repeats, () => readTurn(database, client, rows)), write: [] as Turn[] };
    for (let turn = 1; turn <= repeats; turn++) measured.write.push(await writeTurn(database, client, { rows, turn }));
    await client.end();
    if (options.json) console.log(JSON.stringify({ machine: machine(), rows, measured }));
    else print(rows, measured);
  } finally {
    await server.stop();
  }
}

async function repeat<T>(times: number, work: () => Promise<T>): Promise<T[]> {
  const results: T[] = [];
  for (let time = 0; time < times; time++) results.push(await work());
  return results;
}

async function fill(database: MariaDatabase, rows: number): Promise<void> {
  await database.run("create table films (id bigint primary key, title text)");
  await database.run(`insert into films select seq, repeat(md5(seq), 9) from seq_1_to_${rows}`);
  await database.run("create table bare (`key` varchar(700) primary key, summary longtext, fence bigint)");
}

async function readTurn(database: MariaDatabase, client: Connection, rows: number): Promise<Turn> {
  const bare = await timed(() => readBare(client));
  const ours = await timed(async () => {
    let read = 0;
    const source = mysql({ url: database.url, table: "films", key: "id", columns: ["title"] }).elsewhere;
    for await (const page of source.rows({ since: null, place: null, signal })) read += page.rows.length;
    return read;
  });
  if (bare.result !== rows || ours.result !== rows) throw new Error(`Read ${bare.result} and ${ours.result} rows.`);
  return { bareMs: bare.ms, ourMs: ours.ms };
}

async function readBare(client: Connection): Promise<number> {
  let [read, after] = [0, 0];
  for (;;) {
    const [rows] = await client.query<RowDataPacket[]>("select id, title from films where id > ? order by id limit ?", [
      after,
      PAGE_ROWS,
    ]);
    read += rows.length;
    if (rows.length < PAGE_ROWS) return read;
    after = Number(rows.at(-1)?.["id"]);
  }
}

async function writeTurn(
  database: MariaDatabase,
  client: Connection,
  { rows, turn }: { readonly rows: number; readonly turn: number },
): Promise<Turn> {
  const chunks = Array.from({ length: Math.ceil(rows / CHUNK_ROWS) }, (_, chunk) =>
    Array.from({ length: Math.min(CHUNK_ROWS, rows - chunk * CHUNK_ROWS) }, (__, row) => chunk * CHUNK_ROWS + row),
  );
  const text = `The answer of turn ${turn}. `.repeat(10);
  const bare = await timed(async () => {
    for (const ids of chunks)
      await client.query(
        `insert into bare values ? on duplicate key update
          summary = if(coalesce(fence, 0) < values(fence), values(summary), summary),
          fence = greatest(coalesce(fence, 0), values(fence))`,
        [ids.map((id) => [String(id), text, turn])],
      );
  });
  const target = mysql({ url: database.url, table: "labels" });
  await target.prepare({ pipeline: "films", fields: FIELDS, signal });
  const ours = await timed(async () => {
    for (const ids of chunks) {
      const changes = ids.map((id) => ({ key: String(id), fence: String(turn), model: "m", cells: { summary: text } }));
      const { written } = await target.write(changes, { pipeline: "films", id: `${turn}`, signal });
      if (written.length !== ids.length) throw new Error(`Wrote ${written.length} of ${ids.length} answers.`);
    }
  });
  return { bareMs: bare.ms, ourMs: ours.ms };
}

function print(rows: number, measured: Readonly<Record<string, readonly Turn[]>>): void {
  printMachine();
  console.log();
  const cells = Object.entries(measured).map(([name, turns]) => [
    name,
    amount(quotient(rows, median(turns.map(({ ourMs }) => ourMs / 1_000))), 1, 0),
    amount(quotient(rows, median(turns.map(({ bareMs }) => bareMs / 1_000))), 1, 0),
    spread(turns.map(({ ourMs, bareMs }) => ourMs / bareMs)),
  ]);
  printTable(["MariaDB", "rows/s", "bare rows/s", "time ÷ bare"], cells);
}
