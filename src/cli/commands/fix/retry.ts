/**
 * `rowmill retry`: writes kept answers that the target now takes, at no cost, and lets other failed rows wait to be
 * sent again, after showing the cost. Needs no key: a worker sends what waits.
 */
import { askAgain, prepareAgain, type Again } from "../../../app/story/ask-again.js";
import { configuredHash, openWithoutKey } from "../../../app/open/open-project.js";
import { spelledKeys } from "../../../app/story/row-key.js";
import { failedRowsWhere } from "../../../app/story/rows-where.js";
import { writeKept, type KeptTally } from "../../../app/story/write-kept.js";
import { RowmillError } from "../../../model/errors.js";
import { DROPPED, FAILED_REASONS } from "../../../model/words/failure-fixes.js";
import { nearMatch } from "../../../model/words/near-match.js";
import type { PipelineConfig } from "../../../model/pipeline.js";
import type { Database } from "../../../postgres/database.js";
import * as failures from "../../../store/requests/failures.js";
import type { FailedRows } from "../../../store/requests/failures.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import type { PipelineRow } from "../../../store/pipelines/pipelines.js";
import type { Pipeline, WorkerContext } from "../../../worker/context.js";
import { askYesNo, noTerminal } from "../../screen/ask.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { openLog } from "../../screen/command-log.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import {
  configOf,
  loadProject,
  noteMissingWorker,
  notInConfig,
  registeredPipelines,
  requireKnownPlace,
  withExistingLedger,
  type Project,
} from "../../project.js";
import { retriedJson, retriedLines, type Left, type Retried } from "../../reports/retry-text.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted, describeEstimate, formatCount, formatWait, percentOf } from "../../screen/text.js";

export interface RetryOptions extends ProjectOptions {
  readonly reason?: readonly string[];
  readonly key?: readonly string[];
  readonly where?: string;
  readonly yes?: true;
  readonly json?: true;
}

const KEYS_MAX = 1_000;

export async function runRetry(cli: Cli, name: string | undefined, options: RetryOptions): Promise<number> {
  checkOptions(name, options);
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  return interruptible(terminal, "Stopping after the current rows.", (signal) =>
    withExistingLedger(project, async ({ database }) => {
      const rows = await registeredPipelines(database, name === undefined ? [] : [name]);
      const reasons = options.reason ?? null;
      const wanted = await withFailures(database, project, { rows, isNamed: name !== undefined, reasons });
      const retried = await retryAll(cli, options, { project, database, wanted, signal });
      if (options.json) terminal.data(JSON.stringify({ pipelines: retried.map(retriedJson) }));
      else for (const line of retriedLines(retried)) terminal.print(line);
      signal.throwIfAborted();
      if (retried.some(({ askedAgain }) => askedAgain > 0)) await noteMissingWorker(project, database);
      return statusOf(cli, { name, options, retried });
    }),
  );
}

const RETRIED_REASONS: readonly string[] = [...FAILED_REASONS, DROPPED];

function checkOptions(name: string | undefined, { reason = [], key = [], where }: RetryOptions): void {
  if (reason.includes("refusedKey"))
    throw new RowmillError("usage", "--reason: rows without a usable key cannot be sent, again or at all.", {
      hints: ["Give them a key that can name them. See which they are: rowmill failures --reason refusedKey"],
    });
  const unknown = reason.find((each) => !RETRIED_REASONS.includes(each));
  if (unknown !== undefined) {
    const near = nearMatch(unknown, RETRIED_REASONS);
    throw new RowmillError(
      "usage",
      `--reason: there is no reason "${unknown}"${near === null ? "." : `; did you mean "${near}"?`}`,
      { hints: [`There are: ${RETRIED_REASONS.join(", ")}.`, "See those of your rows: rowmill failures"] },
    );
  }
  if (key.length > 0 && name === undefined)
    throw new RowmillError("usage", "--key: name the pipeline of the row.", {
      hints: ["For example: rowmill retry PIPELINE --key KEY"],
    });
  if (where !== undefined && name === undefined)
    throw new RowmillError("usage", "--where: name the pipeline whose table it is about.", {
      hints: ["For example: rowmill retry PIPELINE --where 'year > 2000'"],
    });
  if (key.length > KEYS_MAX)
    throw new RowmillError("usage", `--key: expected at most ${KEYS_MAX} keys per command, found ${key.length}.`);
}

interface Wanted {
  readonly row: PipelineRow;
  readonly config: PipelineConfig;
}

/** Those with failed rows. @throws RowmillError where the config no longer matches the pipeline. */
async function withFailures(
  database: Database,
  project: Project,
  { rows, isNamed, reasons }: { rows: readonly PipelineRow[]; isNamed: boolean; reasons: readonly string[] | null },
): Promise<Wanted[]> {
  const wanted: Wanted[] = [];
  for (const row of rows) {
    const config = configOf(project, row.name);
    const { kept, lost } = await failures.countFailed(database, { pipelineId: row.id, reasons, keys: null }, 0);
    if (kept + lost === 0 && !isNamed) continue;
    if (config === undefined) throw notInConfig(project, row.name);
    refuseUnfit(row, config);
    wanted.push({ row, config });
  }
  return wanted;
}

function refuseUnfit(row: PipelineRow, config: PipelineConfig): void {
  const { name } = row;
  if (row.uninstalledAt !== null)
    throw new RowmillError("refused", `${name} is uninstalled.`, { hints: ["Set it up again: rowmill up"] });
  if (configuredHash(config) === row.definitionHash) return;
  throw new RowmillError(
    "refused",
    `The config of ${name} has changed since the last rowmill up, so nothing was retried.`,
    { hints: ["Start a worker: it shows the cost of the change, and sends the rows again: rowmill up"] },
  );
}

interface Parts {
  readonly project: Project;
  readonly database: Database;
  readonly wanted: readonly Wanted[];
  readonly signal: AbortSignal;
}

async function retryAll(cli: Cli, options: RetryOptions, parts: Parts): Promise<Retried[]> {
  const { project, database, wanted, signal } = parts;
  if (wanted.length === 0) return [];
  const context = await openWithoutKey({
    config: { ...project.config, pipelines: wanted.map(({ config }) => config) },
    environment: project.environment,
    database,
    log: openLog(cli.terminal, options.logLevel),
  });
  try {
    // Opening it may have found that the ledger was restored or copied.
    await requireKnownPlace(database);
    const retried: Retried[] = [];
    for (const { row } of wanted) {
      const pipeline = context.pipelines.get(row.id);
      if (pipeline === undefined || signal.aborted) continue;
      retried.push(await retryOne(cli, options, { context, pipeline, signal }));
    }
    return retried;
  } finally {
    context.leases.stop();
  }
}

interface One {
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly signal: AbortSignal;
}

async function retryOne(cli: Cli, options: RetryOptions, one: One): Promise<Retried> {
  const { context, pipeline, signal } = one;
  const { database } = context;
  const keys =
    options.key === undefined
      ? null
      : await database.transaction((tx) => spelledKeys(tx, pipeline.table, options.key ?? []));
  const named: FailedRows = { pipelineId: pipeline.id, reasons: options.reason ?? null, keys };
  const others = keys === null ? [] : await notFailed(database, pipeline, named);
  const { meant, more } = await narrowed(database, pipeline, { named, where: options.where });
  const kept = await writeKept({
    database,
    pipeline,
    meant,
    account: pipeline.provider.account,
    signal,
    onChunk: await keptProgress(cli.terminal, database, { pipeline, meant }),
  });
  cli.terminal.endLive();
  // Before the question: Ctrl-C may answer it.
  await record(database, pipeline, { count: kept.written, what: "kept answers written at no cost" });
  const { overtaken } = kept;
  const again = await prepareAgain(context, pipeline, { meant, overtaken });
  const isConfirmed =
    again.rows > 0 && !signal.aborted && (await confirm(cli, options, { ...one, again, written: kept.written }));
  const askedAgain = isConfirmed ? await askAgain(context, { meant, overtaken, signal }) : 0;
  await record(database, pipeline, { count: askedAgain, what: "rows sent again" });
  const unconfirmed = isConfirmed ? 0 : again.rows;
  return {
    pipeline: pipeline.config.name,
    written: kept.written,
    askedAgain,
    estimate: again.estimate,
    left: [
      ...leftOf(kept),
      ...(more ? [{ why: "nextTime" as const, rows: 1 }] : []),
      ...(unconfirmed === 0 ? [] : [{ why: "notConfirmed" as const, rows: unconfirmed }]),
      ...others,
    ],
  };
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

/** By `--where`. `more`: some rows were not compared. */
async function narrowed(
  database: Database,
  pipeline: Pipeline,
  { named, where }: { readonly named: FailedRows; readonly where: string | undefined },
): Promise<{ readonly meant: FailedRows; readonly more: boolean }> {
  if (where === undefined) return { meant: named, more: false };
  const { table, config } = pipeline;
  const of = { table, sourceWhere: config.source.where, meant: named };
  const { keys, more } = await failedRowsWhere(database, of, where);
  return { meant: { ...named, keys }, more };
}

/** @throws RowmillError `not_found` for a key that no request has. */
async function notFailed(database: Database, pipeline: Pipeline, named: FailedRows): Promise<Left[]> {
  const { keys, reasons } = named;
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
  { terminal }: Cli,
  options: RetryOptions,
  { pipeline, again, written, signal }: One & { again: Again; written: number },
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

/** @throws RowmillError `refused` where a question could not be asked. */
function statusOf(
  { terminal }: Cli,
  { name, options, retried }: { name: string | undefined; options: RetryOptions; retried: readonly Retried[] },
): number {
  const has = (...whys: readonly Left["why"][]) =>
    retried.some(({ left }) => left.some(({ why }) => whys.includes(why)));
  if (has("notConfirmed")) {
    if (!terminal.interactive) throw unasked(name, options);
    return EXIT_STATUS.blocked;
  }
  return has("unwritable", "held", "nextTime") ? EXIT_STATUS.rowsFailed : EXIT_STATUS.ok;
}

function unasked(name: string | undefined, { reason = [], key = [], where }: RetryOptions): RowmillError {
  const same = [...(name === undefined ? [] : [name]), ...reason.map((each) => `--reason ${each}`)];
  const rows = [...(key.length === 0 ? [] : ["--key …"]), ...(where === undefined ? [] : ["--where …"])];
  const command = ["rowmill retry", ...same, ...rows, "--yes"].join(" ");
  return noTerminal("no row is sent again", `To send these rows again without a question: ${command}`);
}

/** Shows how many of the kept answers are written. They are counted only where this is drawn: that reads them all. */
async function keptProgress(
  terminal: Terminal,
  database: Database,
  { pipeline: { config }, meant }: { pipeline: Pipeline; meant: FailedRows },
): Promise<(tally: KeptTally) => void> {
  if (!terminal.drawsOver || terminal.quiet) return () => undefined;
  const { kept } = await failures.countFailed(database, meant, 0);
  const startedAtMs = performance.now();
  return ({ written }) => {
    const share = `${percentOf(written, kept)} in ${formatWait(performance.now() - startedAtMs)}`;
    terminal.live([`${config.name}: ${formatCount(written)} of ${counted(kept, "kept answer")} written, ${share}`]);
  };
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
