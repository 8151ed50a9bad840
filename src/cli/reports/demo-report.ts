/** What the demo shows at its end: some answers, an account of all requests, the cost, the tables, and what is next. */
import { formatUsd } from "../../model/provider/pricing.js";
import { identifier, sql, type Database } from "../../postgres/database.js";
import * as overview from "../../store/ledger/overview.js";
import type { WorkerContext } from "../../worker/context.js";
import { wrap } from "../screen/lay-out.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, formatCount, shortId } from "../screen/text.js";

const ANSWERS_SHOWN = 4;
const WIDTH_MAX = 100;

export interface DemoEnd {
  readonly width: number;
  /** Where the project is; null: it is deleted with the temporary folder. */
  readonly kept: string | null;
  /** A language model answered, for money. */
  readonly live: boolean;
}

export async function demoReport(
  style: Pick<Terminal, "bold">,
  context: WorkerContext,
  end: DemoEnd,
): Promise<string[]> {
  const { database } = context;
  const width = Math.min(end.width, WIDTH_MAX);
  const wrapped = (lines: readonly string[]) => lines.flatMap((line) => wrap(line, width, "  "));
  const [answers, total] = await readAnswers(database);
  return [
    "",
    ...wrap(`${counted(total, "answer")} in the table movie_labels. Some of them, with their rows:`, width, "").map(
      (line) => style.bold(line),
    ),
    ...answers.flatMap((row) => answerLines(row, width)),
    "",
    style.bold("Where every request went"),
    ...wrapped(await accountingLines(database)),
    "",
    style.bold(end.live ? "What it cost" : "What it would cost"),
    ...wrapped(await costLines(context, end.live)),
    "",
    style.bold("The tables"),
    ...(await tableLines(database)).map((line) => `  ${line}`),
    ...wrapped(lookingLines(end)),
    "",
    style.bold("Now with your own table"),
    ...wrapped(nextLines()),
  ];
}

interface Labelled {
  readonly title: string;
  readonly description: string;
  readonly categories: readonly string[];
  readonly summary: string;
}

async function readAnswers(database: Database): Promise<[Labelled[], number]> {
  const rows = await database.rows<Labelled>(sql`
    select m.title || ' (' || m.year || ')' as title, m.description, l.categories, l.summary
    from public.movies m
    join public.movie_labels l using (id)
    order by md5(id::text)
    limit ${ANSWERS_SHOWN}`);
  return [rows, await countRows(database, "public", "movie_labels")];
}

function answerLines(row: Labelled, width: number): string[] {
  return [
    "",
    `  ${row.title}`,
    ...wrap(row.description, width, "    "),
    ...wrap(`→ categories: ${row.categories.join(", ")}`, width, "    "),
    ...wrap(`→ summary: ${row.summary}`, width, "    "),
  ];
}

async function accountingLines(database: Database): Promise<string[]> {
  return (await overview.batchOverviews(database, overview.BATCHES_SHOWN_MAX)).map(
    (batch) =>
      `batch ${shortId(batch.id)}: ${formatCount(batch.requests)} sent = ${formatCount(batch.succeeded)} succeeded + ` +
      `${formatCount(batch.failed)} failed + ${formatCount(batch.returned)} returned`,
  );
}

async function costLines({ database, pipelines }: WorkerContext, live: boolean): Promise<string[]> {
  const [sum] = await overview.moneyOverviews(database);
  const [pipeline] = pipelines.values();
  if (sum === undefined || pipeline === undefined) return [];
  const liveText = sum.unpriced > 0 ? "" : ` ${formatUsd(sum.liveNanoUsd)} as live requests.`;
  const tokens = `${formatCount(sum.inputTokens)} input and ${formatCount(sum.outputTokens)} output tokens.`;
  if (live) return [tokens, `${formatUsd(sum.spentNanoUsd)} as a batch; live requests would have cost${liveText}`];
  return [
    tokens,
    `With ${pipeline.config.request.model} about ${formatUsd(sum.spentNanoUsd)} as a batch,${liveText}`,
    "Nothing was spent: no language model answered.",
  ];
}

const TABLES = [
  { schema: "public", name: "movies", what: "your rows, unchanged" },
  { schema: "public", name: "movie_labels", what: "the answers in typed columns" },
  { schema: "rowmill", name: "requests", what: "the ledger: one request per row, and its state" },
  { schema: "rowmill", name: "attempts", what: "each time a row was sent, and the outcome" },
  { schema: "rowmill", name: "batches", what: "rows sent together, and their state" },
  { schema: "rowmill", name: "batch_events", what: "each change of a batch, with its reason" },
] as const;

async function tableLines(database: Database): Promise<string[]> {
  const lines: string[] = [];
  for (const { schema, name, what } of TABLES) {
    const rows = await countRows(database, schema, name);
    lines.push(`${`${schema}.${name}`.padEnd(21)}${formatCount(rows).padStart(6)}  ${what}`);
  }
  return lines;
}

async function countRows(database: Database, schema: string, table: string): Promise<number> {
  const row = await database.first<{ rows: number }>(
    sql`select count(*)::int as rows from ${identifier(schema)}.${identifier(table)}`,
  );
  return row?.rows ?? 0;
}

function lookingLines({ kept }: DemoEnd): string[] {
  if (kept === null) return ["They were in a temporary folder, which is deleted. To keep them: rowmill demo --keep"];
  return [
    `The project is in ./${kept}.`,
    `To look around: cd ${kept}`,
    "All batches: rowmill status",
    "Everything about one film: rowmill show movies 1",
    "In SQL, while rowmill status --watch runs there:",
    `psql "host=$PWD/.rowmill/database user=postgres"`,
  ];
}

function nextLines(): string[] {
  return [
    "1. Write a config for it: rowmill init",
    "2. Check your setup: rowmill doctor",
    "3. Start (shows the cost and asks first): rowmill up",
  ];
}
