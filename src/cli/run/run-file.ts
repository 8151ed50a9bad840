/**
 * One run of a file on its open database: reads the file, shows the cost and asks, works until all is answered, and
 * writes the output. A kill loses nothing: the same command continues from the database.
 */
import type { Logger } from "pino";
import { basename } from "node:path";
import { idleState } from "../../app/open/idle.js";
import { FileReading } from "../../app/run/file-reading.js";
import { readFile, settle } from "../../app/run/read-file.js";
import { writeRecord, type RunRecord } from "../../app/run/run-folder.js";
import type { RowShape } from "../../app/run/run-config.js";
import * as overview from "../../store/ledger/overview.js";
import type { PipelineOverview } from "../../store/ledger/overview.js";
import * as pipelines from "../../store/pipelines/pipelines.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import { approvalOf, approve, withdrawLocalApproval } from "../../worker/rounds/approval.js";
import { askAgainAfterDemo } from "../../worker/rounds/demo-answers.js";
import { forgetFiles } from "../../worker/rounds/janitor.js";
import { startWorker } from "../../worker/process/worker.js";
import type { Cli } from "../cli.js";
import type { Project } from "../project.js";
import { retryRows } from "../commands/fix/retry-rows.js";
import { askYesNo } from "../screen/ask.js";
import { reaskAll, settleChanges, undecidedRows } from "../screen/changed-rows.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { reportFinished } from "../screen/live/finished-batches.js";
import { follow } from "../screen/live/follow.js";
import type { Terminal } from "../screen/terminal.js";
import { counted, describeEstimate, formatCount } from "../screen/text.js";
import { resumeRun } from "./resume-run.js";
import type { Draft, RunOptions } from "./run-options.js";
import { sayEnd, writeOutput } from "./run-output.js";
import { readingLabel, RunProgress } from "./run-screen.js";
import { acceptEarlier, tryFirst } from "./try-lines.js";

/** For deleting files at the provider at the end. */
const CLEAN_MS_MAX = 30_000;
/** Between two looks of `--detach`. */
const DETACH_LOOK_MS = 500;

export interface FileRun {
  readonly project: Project;
  readonly terminal: Terminal;
  readonly draft: Draft;
  readonly record: RunRecord;
  readonly shape: RowShape;
  readonly reading: FileReading;
  readonly options: RunOptions;
  readonly context: WorkerContext;
  readonly pipeline: Pipeline;
  readonly log: Logger;
  readonly signal: AbortSignal;
}

export async function runFile(cli: Cli, run: FileRun): Promise<number> {
  const { context, pipeline, options, signal, terminal } = run;
  const shown = { title: basename(run.record.file), later: "nothing is sent now" };
  const asking = { terminal, context, by: options.yes ? "rowmill run --yes" : "rowmill run", shown };
  if (options.yes) await reaskAll(asking);
  if (!(await resumeRun(run))) return EXIT_STATUS.blocked;
  await read(run);
  if (options.retry)
    await retryRows({ ...cli, terminal }, { logLevel: options.logLevel, yes: true }, { context, pipeline, signal });
  if (await settleChanges(asking)) await settle(context, signal);
  if ((await undecidedRows(context, pipeline)) > 0) return undecided(terminal);
  if (options.try === undefined) await acceptEarlier(run);
  else {
    const tried = await tryFirst(run, options.try);
    // Answers that were paid are of this question, also where you stop here.
    if (tried !== "refused") await remember(run);
    if (tried !== "goOn") return tried === "stop" ? EXIT_STATUS.ok : EXIT_STATUS.blocked;
  }
  if (!(await agreed(run))) {
    terminal.note("! Nothing was sent. To send it without a question: add --yes");
    return EXIT_STATUS.blocked;
  }
  await remember(run);
  if ((await work(run)) === "left") return EXIT_STATUS.ok;
  const { blocked } = await idleState(context);
  for (const { reason } of blocked) terminal.note(`! ${basename(run.record.file)}: ${reason}`);
  if (blocked.length > 0) {
    terminal.note("! No output was written. The answers so far: add --partial");
    return EXIT_STATUS.blocked;
  }
  return finish(run);
}

/** From now on the same file without options means this question. */
function remember({ draft, record }: FileRun): Promise<void> {
  return writeRecord(draft.folder, record);
}

function undecided(terminal: Terminal): number {
  terminal.note(
    "! Nothing was sent. To send these rows again: add --yes. Another question about the same file: add --name",
  );
  return EXIT_STATUS.blocked;
}

async function read({ context, pipeline, reading, record, terminal, draft, signal }: FileRun): Promise<void> {
  const title = basename(record.file);
  for (const note of draft.look.notes) terminal.note(`! ${title}: ${note}`);
  await withdrawLocalApproval(context, pipeline);
  try {
    let isRead = false;
    const label = () =>
      isRead ? `Comparing ${title} with what was asked before` : readingLabel(reading, draft.look, title);
    await terminal.during(label, () => readFile(context, pipeline, { signal, onRead: () => (isRead = true) }));
  } catch (error) {
    throw reading.fault ?? error;
  }
  const rows = await askAgainAfterDemo(context, pipeline, signal);
  if (rows > 0)
    terminal.note(`! ${title}: ${counted(rows, "row")} had answers of the demo model; they are sent again.`);
  terminal.note(`✓ ${title}: ${counted(reading.records, "line")}`);
  for (const { line, problem } of reading.examples) terminal.note(`! ${title}:${line}: ${problem}`);
  const more = reading.problems - reading.examples.length;
  if (more > 0) terminal.note(`! … and ${formatCount(more)} more lines that cannot be sent`);
}

/** Shows what is to be sent and its cost, each time. False: you do not want it. */
async function agreed({ context, pipeline, options, terminal, signal, record }: FileRun): Promise<boolean> {
  const title = basename(record.file);
  const row = await pipelines.byId(context.read, pipeline.id);
  if (row?.approvedHash != null && (await overviewOf(context, pipeline))?.waiting !== 0)
    await pipelines.withdrawApproval(context.database, pipeline.id, "each run shows its cost");
  const approval = await terminal.during("Estimating the cost", () => approvalOf(context, pipeline));
  if (approval.kind === "approved" || approval.kind === "nothing") return true;
  terminal.note(`${title}: ${describeEstimate(approval.estimate, pipeline.config)}`);
  if (approval.kind === "cheap") return true;
  const isWanted = options.yes === true || (terminal.interactive && (await askYesNo("Send them?", signal)));
  if (isWanted) await approve(context, pipeline, options.yes ? "rowmill run --yes" : "rowmill run");
  return isWanted;
}

async function overviewOf({ database }: WorkerContext, { id }: Pipeline): Promise<PipelineOverview | null> {
  return (await overview.pipelineOverviews(database)).find((one) => one.id === id) ?? null;
}

/** "left": everything is at the provider, and you wanted no more. */
async function work(run: FileRun): Promise<"done" | "left"> {
  const { context, pipeline, options, terminal, record, log, signal } = run;
  const present = await overviewOf(context, pipeline);
  const busy = (present?.waiting ?? 0) + (present?.batched ?? 0) + Object.keys(present?.batches ?? {}).length;
  if (busy === 0) return "done";
  const worker = await startWorker(context, { flush: true });
  const leaving = new AbortController();
  const looks = options.detach === true ? watchSent(run, leaving) : null;
  try {
    const progress = new RunProgress(terminal, context, record.file);
    const approvals = { settleLater: () => Promise.resolve(true) };
    const either = AbortSignal.any([signal, leaving.signal]);
    await follow(context, {
      worker,
      approvals,
      progress,
      log,
      signal: either,
      untilIdle: true,
      report: () => reportFinished(terminal, context),
    });
  } catch (error) {
    if (!leaving.signal.aborted || signal.aborted) throw error;
    terminal.endLive();
    terminal.note("✓ Everything is sent. To fetch the answers later, run the same command. To look: rowmill status");
    return "left";
  } finally {
    clearInterval(looks ?? undefined);
    terminal.endLive();
    await worker.stop();
  }
  await reportFinished(terminal, context);
  await cleanUp(terminal, context, signal);
  return "done";
}

const AT_PROVIDER: ReadonlySet<string> = new Set(["running", "collecting"]);

function watchSent({ context, pipeline, log }: FileRun, leaving: AbortController): NodeJS.Timeout {
  let looking = false;
  const look = async (): Promise<void> => {
    const row = await overviewOf(context, pipeline);
    if (row === null || row.waiting > 0) return;
    if (Object.keys(row.batches).every((state) => AT_PROVIDER.has(state))) leaving.abort();
  };
  return setInterval(() => {
    if (looking) return;
    looking = true;
    void look()
      .catch((error: unknown) => log.warn({ err: error }, "the batches could not be looked at; trying again"))
      .finally(() => (looking = false));
  }, DETACH_LOOK_MS);
}

async function cleanUp(terminal: Terminal, context: WorkerContext, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CLEAN_MS_MAX)]);
  await terminal.during("Deleting files at the provider", () =>
    forgetFiles(context, limit).catch((error: unknown) => {
      signal.throwIfAborted();
      // The next run deletes them.
      if (!limit.aborted) throw error;
    }),
  );
}

async function finish(run: FileRun): Promise<number> {
  const { context, pipeline, reading, terminal, record, signal } = run;
  const row = await overviewOf(context, pipeline);
  const written = await writeOutput(run, {
    database: context.database,
    pipeline,
    whole: true,
    errors: reading.problems + (row?.failed ?? 0) + (row?.cancelled ?? 0) > 0,
  });
  signal.throwIfAborted();
  const money = (await overview.moneyOverviews(context.database)).find(({ pipelineId }) => pipelineId === pipeline.id);
  return sayEnd(terminal, {
    record,
    written,
    options: run.options,
    money,
    retriable: row?.failed ?? 0,
  });
}
