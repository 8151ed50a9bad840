/**
 * `npm run bench -- sqlite`: rows read from a SQLite file, and answers written to one, by the connector; set against a
 * bare loop of the driver that moves the same rows. Also how long the connector keeps this process from anything else.
 */
import { monitorEventLoopDelay } from "node:perf_hooks";
import { sqlite } from "../src/connectors/sqlite/sqlite.js";
import type { AnswerColumn } from "../src/model/answer/answer-columns.js";
import { openSqliteFile, type SqliteFile } from "../test/support/sqlite-file.js";
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
  /** The longest time in which nothing else could run here. */
  readonly blockedMs: number;
}

type Measured = Readonly<Record<"read" | "write", readonly Turn[]>>;

export async function runSqlite(options: BenchOptions): Promise<void> {
  const rows = options.smoke ? SMOKE_ROWS : (options.rows ?? ROWS_DEFAULT);
  const repeats = options.smoke ? 1 : (options.repeats ?? REPEATS_DEFAULT);
  const file = await openSqliteFile(`
    pragma journal_mode = wal;
    create table films (id integer primary key, title text);
    with recursive n (i) as (select 1 union all select i + 1 from n where i < ${rows})
    insert into films select i, hex(randomblob(150)) from n;
    create table bare (key text primary key, summary text, fence integer)`);
  const [read, write]: [Turn[], Turn[]] = [[], []];
  try {
    for (let turn = 1; turn <= repeats; turn++) {
      read.push(
        await measure(
          rows,
          () => readBare(file),
          () => readOurs(file),
        ),
      );
      write.push(
        await measure(
          rows,
          () => writeBare(file, { rows, turn }),
          () => writeOurs(file, { rows, turn }),
        ),
      );
    }
  } finally {
    await file.close();
  }
  if (options.json) console.log(JSON.stringify({ machine: machine(), rows, measured: { read, write } }));
  else print(rows, { read, write });
}

async function measure(rows: number, bare: () => Promise<number>, ours: () => Promise<number>): Promise<Turn> {
  const theirs = await timed(bare);
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  const our = await timed(ours);
  delay.disable();
  if (theirs.result !== rows || our.result !== rows) throw new Error(`Moved ${theirs.result} and ${our.result} rows.`);
  return { bareMs: theirs.ms, ourMs: our.ms, blockedMs: delay.max / 1e6 };
}

async function readBare({ client }: SqliteFile): Promise<number> {
  let [read, after] = [0, 0];
  for (;;) {
    const { rows } = await client.execute({
      sql: "select id, title from films where id > ? order by id limit ?",
      args: [after, PAGE_ROWS],
    });
    read += rows.length;
    if (rows.length < PAGE_ROWS) return read;
    after = Number(rows.at(-1)?.["id"]);
  }
}

async function readOurs({ url }: SqliteFile): Promise<number> {
  let read = 0;
  const source = sqlite({ url, table: "films", key: "id", columns: ["title"] }).elsewhere;
  for await (const page of source.rows({ since: null, place: null, signal })) read += page.rows.length;
  return read;
}

interface Writing {
  readonly rows: number;
  readonly turn: number;
}

function chunksOf({ rows }: Writing): readonly string[][] {
  return Array.from({ length: Math.ceil(rows / CHUNK_ROWS) }, (_, chunk) =>
    Array.from({ length: Math.min(CHUNK_ROWS, rows - chunk * CHUNK_ROWS) }, (__, row) => `${chunk * CHUNK_ROWS + row}`),
  );
}

function textOf({ turn }: Writing): string {
  return `The answer of turn ${turn}. `.repeat(10);
}

async function writeBare({ client }: SqliteFile, writing: Writing): Promise<number> {
  const sql = `
    insert into bare as t values (?, ?, ?)
    on conflict (key) do update set summary = excluded.summary, fence = excluded.fence
    where coalesce(t.fence, 0) < excluded.fence`;
  let written = 0;
  for (const keys of chunksOf(writing)) {
    const args = keys.map((key) => [key, textOf(writing), writing.turn]);
    const results = await client.batch(
      args.map((one) => ({ sql, args: one })),
      "write",
    );
    written += results.length;
  }
  return written;
}

async function writeOurs({ url }: SqliteFile, writing: Writing): Promise<number> {
  const target = sqlite({ url, table: "labels" });
  await target.prepare({ pipeline: "films", fields: FIELDS, signal });
  let count = 0;
  for (const keys of chunksOf(writing)) {
    const cells = { summary: textOf(writing) };
    const changes = keys.map((key) => ({ key, fence: String(writing.turn), model: "m", cells }));
    const { written } = await target.write(changes, { pipeline: "films", id: `${writing.turn}`, signal });
    count += written.length;
  }
  return count;
}

function print(rows: number, measured: Measured): void {
  printMachine();
  console.log();
  const cells = Object.entries(measured).map(([name, turns]) => [
    name,
    amount(quotient(rows, median(turns.map(({ ourMs }) => ourMs / 1_000))), 1, 0),
    amount(quotient(rows, median(turns.map(({ bareMs }) => bareMs / 1_000))), 1, 0),
    spread(turns.map(({ ourMs, bareMs }) => ourMs / bareMs)),
    amount(Math.max(...turns.map(({ blockedMs }) => blockedMs)), 1, 0),
  ]);
  printTable(["SQLite", "rows/s", "bare rows/s", "time ÷ bare", "blocked ms"], cells);
}
