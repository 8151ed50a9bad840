/**
 * `rowmill retry`: writes kept answers that the target now takes, at no cost, and lets other failed rows wait to be
 * sent again, after showing the cost. Needs no key: a worker sends what waits.
 */
import { askAgain, prepareAgain, type Again } from "../../app/story/ask-again.js";
import { configuredHash, openWithoutKey } from "../../app/open/open-project.js";
import { keyParts, spellKeys } from "../../app/story/row-key.js";
import { writeKept, type KeptTally } from "../../app/story/write-kept.js";
import { RowmillError } from "../../model/errors.js";
import { FAILED_REASONS } from "../../model/words/failure-fixes.js";
import { formatUsd } from "../../model/provider/pricing.js";
import { nearMatch } from "../../model/words/near-match.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { Database } from "../../postgres/database.js";
import * as failures from "../../store/requests/failures.js";
import type { FailedRows } from "../../store/requests/failures.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { PipelineRow } from "../../store/pipelines/pipelines.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import type { Estimate } from "../../worker/rounds/estimate.js";
import { askYesNo, noTerminal } from "../screen/ask.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { openLog } from "../screen/command-log.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { interruptible } from "../screen/interruption.js";
import {
  configOf,
  loadProject,
  noteMissingWorker,
  notInConfig,
  registeredPipelines,
  requireKnownPlace,
  withExistingLedger,
  type Project,
} from "../project.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, describeEstimate, fit, fitKey, formatCount, formatWait, percentOf } from "../screen/text.js";

export interface RetryOptions extends ProjectOptions {
  readonly reason?: readonly string[];
  readonly key?: readonly string[];
  readonly yes?: true;
  readonly json?: true;
}

const MESSAGE_CHARACTERS = 300;
const KEYS_MAX = 1_000;

export async function runRetry(cli: Cli, name: string | undefined, options: RetryOptions): Promise<number> {
  checkOptions(name, options);
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  return interruptible(terminal, "Stopping after the current rows.", (signal) =>
    withExistingLedger(project, async ({ database }) => {
      const rows = await registeredPipelines(database, name === undefined ? [] : [name]);
      const wanted = await withFailures(database, project, { rows, isNamed: name !== undefined });
      const retried = await retryAll(cli, options, { project, database, wanted, signal });
      if (options.json) terminal.data(JSON.stringify({ pipelines: retried.map(retriedJson) }));
      else for (const line of retriedLines(retried)) terminal.print(line);
      signal.throwIfAborted();
      if (retried.some(({ askedAgain }) => askedAgain > 0)) await noteMissingWorker(project, database);
      return statusOf(cli, { name, options, retried });
    }),
  );
}

function checkOptions(name: string | undefined, { reason = [], key = [] }: RetryOptions): void {
  const unknown = reason.find((each) => !FAILED_REASONS.some((known) => known === each));
  if (unknown !== undefined) {
    const near = nearMatch(unknown, FAILED_REASONS);
    throw new RowmillError(
      "usage",
      `--reason: there is no reason "${unknown}"${near === null ? "." : `; did you mean "${near}"?`}`,
      { hints: [`There are: ${FAILED_REASONS.join(", ")}.`, "See those of your rows: rowmill failures"] },
    );
  }
  if (key.length > 0 && name === undefined)
    throw new RowmillError("usage", "--key: name the pipeline of the row.", {
      hints: ["For example: rowmill retry PIPELINE --key KEY"],
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
  { rows, isNamed }: { rows: readonly PipelineRow[]; isNamed: boolean },
): Promise<Wanted[]> {
  const wanted: Wanted[] = [];
  for (const row of rows) {
    const config = configOf(project, row.name);
    const { kept, lost } = await failures.countFailed(database, { pipelineId: row.id, reasons: null, keys: null }, 0);
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
  const keys = options.key === undefined ? null : await spelled(database, pipeline, options.key);
  const meant: FailedRows = { pipelineId: pipeline.id, reasons: options.reason ?? null, keys };
  const others = keys === null ? [] : await notFailed(database, pipeline, keys);
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

/** The keys as the ledger spells them. @throws RowmillError `usage` */
async function spelled(database: Database, pipeline: Pipeline, given: readonly string[]): Promise<string[]> {
  const { table } = pipeline;
  const parts = given.map((text) => keyParts([text], table.key.length));
  const keys = await database.transaction((tx) => spellKeys(tx, table, parts));
  return keys.map((key, index) => {
    if (key !== null) return key;
    const types = table.key.map((column) => `${column.name} (${column.type})`).join(", ");
    throw new RowmillError(
      "usage",
      `--key: ${given[index] ?? ""} is not a key of ${table.qualified}, whose key is ${types}.`,
    );
  });
}

/** @throws RowmillError `not_found` for a key that no request has. */
async function notFailed(database: Database, pipeline: Pipeline, keys: readonly string[]): Promise<Left[]> {
  const states = new Map((await failures.statesOf(database, pipeline.id, keys)).map(({ key, state }) => [key, state]));
  return keys.flatMap((key): Left[] => {
    const state = states.get(key);
    if (state === undefined)
      throw new RowmillError("not_found", `There is no request for the key ${key} in ${pipeline.config.name}.`, {
        hints: [`See what Rowmill knows of a row: rowmill show ${pipeline.config.name} KEY`],
      });
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

function unasked(name: string | undefined, { reason = [], key = [] }: RetryOptions): RowmillError {
  const same = [...(name === undefined ? [] : [name]), ...reason.map((each) => `--reason ${each}`)];
  const rows = key.length === 0 ? [] : ["--key …"];
  const command = ["rowmill retry", ...same, ...rows, "--yes"].join(" ");
  return noTerminal("no row is sent again", `To send these rows again without a question: ${command}`);
}

interface Left {
  readonly why: "unwritable" | "held" | "gone" | "nextTime" | "notConfirmed" | "notFailed";
  readonly rows: number;
  readonly key?: string;
  /** The database's message; for a row that did not fail, its state. */
  readonly message?: string;
}

interface Retried {
  readonly pipeline: string;
  readonly written: number;
  readonly askedAgain: number;
  /** Of sending again; null: nothing to send. */
  readonly estimate: Estimate | null;
  readonly left: readonly Left[];
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

function retriedJson({ estimate, ...retried }: Retried): object {
  const usd = (nanoUsd: number | null | undefined) =>
    nanoUsd === null || nanoUsd === undefined ? null : nanoUsd / 1e9;
  const left = retried.left.map(({ why, rows, key, message }) => ({ why, rows, key, message }));
  return { ...retried, left, likelyUsd: usd(estimate?.likelyNanoUsd), capUsd: usd(estimate?.capNanoUsd) };
}

function retriedLines(retried: readonly Retried[]): string[] {
  if (retried.length === 0) return ["✓ No row failed, so there is nothing to retry."];
  return retried.flatMap((one) => [summary(one), ...one.left.map((left) => `  ${leftText(one.pipeline, left)}`)]);
}

function summary({ pipeline, written, askedAgain, estimate, left }: Retried): string {
  const rest = left.reduce((sum, { rows }) => sum + rows, 0);
  const likely = estimate?.likelyNanoUsd ?? null;
  const price = likely === null ? "unknown price" : `estimated ${formatUsd(likely)}`;
  const cost = askedAgain === 0 ? "" : ` (${price}; now: rowmill flush ${pipeline})`;
  const again = `${formatCount(askedAgain)} to be sent again${cost}`;
  const sign = rest === 0 ? "✓" : "!";
  return `${sign} ${pipeline}: ${formatCount(written)} written at no cost, ${again}, ${formatCount(rest)} left`;
}

function leftText(pipeline: string, { why, rows, key = "", message = "" }: Left): string {
  const count = formatCount(rows);
  const is = rows === 1 ? "is" : "are";
  switch (why) {
    case "unwritable":
      return `${count} still cannot be written, such as ${fitKey(key)}: ${fit(message, MESSAGE_CHARACTERS)}`;
    case "held":
      return `${count} ${is} locked in the target by another transaction. After it: rowmill retry ${pipeline}`;
    case "gone":
      return `${count} no longer ${rows === 1 ? "exists" : "exist"} in the source`;
    case "nextTime":
      return `${count} did not fit into one command. For these: rowmill retry ${pipeline}`;
    case "notConfirmed":
      return `${count} ${is} not sent again, because you did not confirm it`;
    case "notFailed":
      return `${fitKey(key)} did not fail: it is ${message}`;
  }
}
