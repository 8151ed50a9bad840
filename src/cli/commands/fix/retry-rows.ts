/** `rowmill retry` of one pipeline: writes kept answers, then shows what sending other rows again costs, and asks. */
import { askAgain, prepareAgain, type Again } from "../../../app/story/ask-again.js";
import type { ChosenRows } from "../../../app/story/failed-pages.js";
import { spelledKeys } from "../../../app/story/row-key.js";
import { writeKept, type KeptTally } from "../../../app/story/write-kept.js";
import { RowmillError } from "../../../model/errors.js";
import { DROPPED } from "../../../model/words/failure-fixes.js";
import type { PipelineConfig } from "../../../model/pipeline.js";
import type { Database } from "../../../postgres/database.js";
import * as failures from "../../../store/requests/failures.js";
import type { FailedRows } from "../../../store/requests/failures.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import type { Pipeline, WorkerContext } from "../../../worker/context.js";
import type { Cli } from "../../cli.js";
import type { Left, Retried } from "../../reports/retry-text.js";
import { askYesNo } from "../../screen/ask.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted, describeEstimate, formatCount, formatDuration, percentOf } from "../../screen/text.js";
import type { WhichRowsOptions } from "../../which-rows.js";

export interface RetryOptions extends WhichRowsOptions {
  readonly yes?: true;
  readonly json?: true;
}

export interface RetryRows {
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly signal: AbortSignal;
}

type Chosen = ChosenRows & { readonly signal: AbortSignal };

export async function retryRows({ terminal }: Cli, options: RetryOptions, one: RetryRows): Promise<Retried> {
  const { context, pipeline, signal } = one;
  const { database } = context;
  const meant = await named(database, pipeline, options);
  const others = meant.keys === null ? [] : await notFailed(database, pipeline, meant);
  const chosen: Chosen = { meant, where: options.where, signal };
  const kept = await writeKept({
    ...chosen,
    database,
    pipeline,
    account: pipeline.provider.account,
    onChunk: await keptProgress(terminal, database, { pipeline, chosen }),
  });
  terminal.endLive();
  // Before the question: Ctrl-C may answer it.
  await record(database, pipeline, { count: kept.written, what: "kept answers written at no cost" });
  const { overtaken } = kept;
  const again = await counting(terminal, { pipeline, chosen }, (onCompared) =>
    prepareAgain(context, pipeline, { ...chosen, overtaken, onCompared }),
  );
  const isConfirmed =
    again.rows > 0 && !signal.aborted && (await confirm(terminal, options, { ...one, again, written: kept.written }));
  const asking = { ...chosen, overtaken, rowsMax: again.rows };
  const askedAgain = isConfirmed ? await askAgain(context, pipeline, asking) : 0;
  await record(database, pipeline, { count: askedAgain, what: "rows sent again" });
  const unconfirmed = isConfirmed ? 0 : again.rows;
  return {
    pipeline: pipeline.config.name,
    written: kept.written,
    askedAgain,
    estimate: again.estimate,
    left: [
      ...leftOf(kept),
      ...(unconfirmed === 0 ? [] : [{ why: "notConfirmed" as const, rows: unconfirmed }]),
      ...others,
    ],
  };
}

async function named(database: Database, { id, table }: Pipeline, { reason, key }: RetryOptions): Promise<FailedRows> {
  const keys = key === undefined ? null : await database.transaction((tx) => spelledKeys(tx, table, key));
  return { pipelineId: id, reasons: reason ?? null, keys };
}

function leftOf({ refused, example, held, gone, overtakenMore }: KeptTally): Left[] {
  const left: readonly Left[] = [
    { why: "unwritable", rows: refused, ...example },
    { why: "held", rows: held },
    { why: "gone", rows: gone },
    { why: "nextTime", rows: overtakenMore },
  ];
  return left.filter(({ rows }) => rows > 0);
}

/** @throws RowmillError `not_found` for a key that no request has. */
async function notFailed(database: Database, pipeline: Pipeline, meant: FailedRows): Promise<Left[]> {
  const { keys, reasons } = meant;
  const known = await failures.statesOf(database, pipeline.id, keys ?? []);
  const states = new Map(known.map(({ key, state }) => [key, state]));
  return (keys ?? []).flatMap((key): Left[] => {
    const state = states.get(key);
    if (state === undefined)
      throw new RowmillError("not_found", `There is no request for the key ${key} in ${pipeline.config.name}.`, {
        hints: [`See what Rowmill knows of a row: rowmill show ${pipeline.config.name} KEY`],
      });
    if (state === "cancelled" && reasons?.includes(DROPPED) === true) return [];
    return state === "failed" ? [] : [{ why: "notFailed", rows: 1, key, message: state }];
  });
}

/** False: the answer was no, or no one could be asked. */
async function confirm(
  terminal: Terminal,
  options: RetryOptions,
  { pipeline, again, written, signal }: RetryRows & { again: Again; written: number },
): Promise<boolean> {
  if (written > 0) noteWritten(terminal, pipeline.config.name, written);
  noteCost(terminal, pipeline.config, again);
  if (options.yes) return true;
  if (!terminal.interactive) return false;
  return askYesNo(`Send ${again.rows === 1 ? "this row" : "these rows"} of ${pipeline.config.name} again?`, signal);
}

async function record(
  database: Database,
  { id }: Pipeline,
  { count, what }: { count: number; what: string },
): Promise<void> {
  if (count > 0)
    await pipelines.addEvent(database, id, { event: "retried", reason: `rowmill retry: ${count} ${what}` });
}

interface Shown {
  readonly pipeline: Pipeline;
  readonly chosen: Chosen;
}

/** Shows how many of the kept answers are written. They are counted only where this is drawn: that reads them all. */
async function keptProgress(
  terminal: Terminal,
  database: Database,
  { pipeline: { config }, chosen: { meant, where } }: Shown,
): Promise<(tally: KeptTally) => void> {
  if (!terminal.drawsOver || terminal.quiet) return () => undefined;
  // With a condition only its own pages show how many match.
  const all = where === undefined ? (await failures.countFailed(database, meant, 0)).kept : null;
  const startedAtMs = performance.now();
  return ({ written }) => {
    const shown =
      all === null
        ? `${counted(written, "kept answer")} written`
        : `${formatCount(written)} of ${counted(all, "kept answer")} written, ${percentOf(written, all)}`;
    terminal.live([`${config.name}: ${shown} in ${formatDuration(performance.now() - startedAtMs)}`]);
  };
}

/** Shows how far the rows are compared with a condition. */
async function counting<T>(
  terminal: Terminal,
  { pipeline: { config }, chosen }: Shown,
  work: (onCompared: (rows: number) => void) => Promise<T>,
): Promise<T> {
  if (chosen.where === undefined || !terminal.drawsOver || terminal.quiet) return work(() => undefined);
  try {
    return await work((rows) =>
      terminal.live([`${config.name}: ${counted(rows, "failed row")} compared with --where`]),
    );
  } finally {
    terminal.endLive();
  }
}

function noteWritten(terminal: Terminal, pipeline: string, written: number): void {
  terminal.note(`✓ ${pipeline}: ${counted(written, "kept answer")} written at no cost`);
}

function noteCost(terminal: Terminal, config: PipelineConfig, { estimate, sameRoom }: Again): void {
  if (estimate === null) return;
  terminal.note(`${config.name}: to send again: ${describeEstimate(estimate, config)}`);
  if (sameRoom > 0)
    terminal.note(
      `! ${counted(sameRoom, "answer")} of these ${sameRoom === 1 ? "was" : "were"} cut off at the current limit, ` +
        `and would be again. First raise pipelines.${config.name}.request.maxOutputTokens`,
    );
}
