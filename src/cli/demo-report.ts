/** What the demo shows at its end: some answers beside their rows, where every request went, and what a real model would cost. */
import { costNanoUsd, formatUsd } from "../model/pricing.js";
import { sql, type Database } from "../store/database.js";
import { BATCHES_SHOWN_MAX, batchOverviews, moneyOverviews } from "../store/overview.js";
import type { WorkerContext } from "../worker/context.js";
import { wrap } from "./table.js";
import type { Terminal } from "./terminal.js";
import { counted, formatCount, shortId } from "./text.js";

const ANSWERS_SHOWN = 4;
/** Also where the output is no terminal. */
const WIDTH_MAX = 100;

interface Labelled {
  readonly title: string;
  readonly description: string;
  readonly categories: readonly string[];
  readonly summary: string;
}

export async function demoReport(
  database: Database,
  context: WorkerContext,
  style: Pick<Terminal, "columns" | "bold">,
): Promise<string[]> {
  const width = Math.min(style.columns(), WIDTH_MAX);
  const [answers, total] = await readAnswers(database);
  return [
    "",
    style.bold(`${counted(total, "answer")} in the table film_labels. Some of them, beside their rows:`),
    ...answers.flatMap((row) => answerLines(row, width)),
    "",
    style.bold("Where every request went"),
    ...(await accountingLines(database)),
    "",
    style.bold("What it would cost"),
    ...(await costLines(database, context)).flatMap((line) => wrap(line, width, "  ")),
    "",
    ...wrap(
      "Now with your own table: write rowmill.config.ts (see examples/movies), then rowmill up.",
      width,
      "",
    ),
  ];
}

async function readAnswers(database: Database): Promise<[Labelled[], number]> {
  const rows = await database.rows<Labelled>(sql`
    select f.title, f.description, l.categories, l.summary from films f join film_labels l using (film_id)
    order by film_id limit ${ANSWERS_SHOWN}`);
  const count = await database.first<{ rows: number }>(sql`select count(*)::int as rows from film_labels`);
  return [rows, count?.rows ?? 0];
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
  return (await batchOverviews(database, BATCHES_SHOWN_MAX)).map(
    (batch) =>
      `  batch ${shortId(batch.id)}: ${formatCount(batch.requests)} sent = ${formatCount(batch.succeeded)} succeeded + ` +
      `${formatCount(batch.failed)} failed + ${formatCount(batch.returned)} returned`,
  );
}

async function costLines(database: Database, context: WorkerContext): Promise<string[]> {
  const [sum] = await moneyOverviews(database);
  const [pipeline] = context.pipelines.values();
  if (sum === undefined || pipeline === undefined) return [];
  const live = costNanoUsd(sum, pipeline.price, "live");
  const price =
    live === null ? "" : ` ${formatUsd(sum.spentNanoUsd)} as a batch, ${formatUsd(live)} as live requests.`;
  return [
    `${formatCount(sum.inputTokens)} input and ${formatCount(sum.outputTokens)} output tokens.`,
    `With ${pipeline.config.request.model} these would cost about:${price}`,
    "Nothing was spent: no language model answered.",
  ];
}
