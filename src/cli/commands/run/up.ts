/**
 * `rowmill up`: sets up the database and runs a worker. Owns the order in which things are opened, and closes them. A
 * kill loses nothing: the next worker continues from the database.
 */
import { dirname } from "node:path";
import type { Logger } from "pino";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import { lockForWork, openProjectDatabase } from "../../../app/open/open-database.js";
import { watchConfig, type ConfigWatch, type ConfigWatchOptions } from "../../../app/open/config-watch.js";
import type { Carried } from "../../../app/open/carry-answers.js";
import { openProject } from "../../../app/open/open-project.js";
import { openProviders } from "../../../app/open/providers.js";
import { runRound, sweepAll } from "../../../app/open/round.js";
import { listRecords } from "../../../app/run/run-folder.js";
import * as arrivals from "../../../store/requests/arrivals.js";
import { isLoopback, type HttpAddress } from "../../../model/http-address.js";
import { startService, type ListeningService } from "../../../service/listen.js";
import * as tokens from "../../../store/tokens/tokens.js";
import type { ProjectConfig } from "../../../model/pipeline.js";
import { thrownMessage } from "../../../model/words/thrown-message.js";
import type { Reader } from "../../../postgres/database.js";
import * as syncs from "../../../store/syncs/syncs.js";
import * as sweeps from "../../../store/requests/sweeps.js";
import { withdrawLocalApproval } from "../../../worker/rounds/approval.js";
import type { Pipeline, WorkerContext } from "../../../worker/context.js";
import { askAgainAfterDemo } from "../../../worker/rounds/demo-answers.js";
import { forgetFiles } from "../../../worker/rounds/janitor.js";
import { runIntake } from "../../../worker/rounds/intake.js";
import { examineTarget } from "../../../worker/rounds/settle-target.js";
import { syncPipeline } from "../../../worker/rounds/sync.js";
import { startWorker } from "../../../worker/process/worker.js";
import { Approvals, askForChanges } from "../../screen/approvals.js";
import { reaskAll, settleChanges } from "../../screen/changed-rows.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { openLog } from "../../screen/command-log.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { reportFinished } from "../../screen/live/finished-batches.js";
import { follow } from "../../screen/live/follow.js";
import { watchNpm } from "../../screen/npm-watch.js";
import { interruptible } from "../../screen/interruption.js";
import { noPatience, patience, type Patience } from "../../screen/patience.js";
import { loadProject, onlyPipelines } from "../../project.js";
import { sayHowItEnded } from "../../screen/closing-words.js";
import { SweepProgress, WorkProgress } from "../../screen/live/progress.js";
import { counted, formatTime } from "../../screen/text.js";
import type { Terminal } from "../../screen/terminal.js";

/** For deleting files at the end of `--until-idle`. */
const CLEAN_MS_MAX = 30_000;

export interface UpOptions extends ProjectOptions {
  readonly once?: true;
  readonly untilIdle?: true;
  readonly yes?: true;
  readonly printSql?: true;
  readonly http?: HttpAddress;
}

/** `names`: of the pipelines to work on; none: all of the config. */
export async function runUp(cli: Cli, names: readonly string[], options: UpOptions): Promise<number> {
  if (options.printSql) return (await import("./print-sql.js")).printSql(cli, names, options);
  const { terminal } = cli;
  const all = await loadProject(terminal, options.config);
  const project = onlyPipelines(all, names);
  // First: what is missing here is known without a database.
  const providers = await openProviders(project);
  const confirmation = "Stopping after the current steps. Press Ctrl-C again to stop at once.";
  return interruptible(terminal, confirmation, async (signal, interrupt) => {
    const release = await lockForWork(project.config, "rowmill up");
    const ending = new AbortController();
    const whileUp = AbortSignal.any([signal, ending.signal]);
    void watchNpm(whileUp, () => {
      terminal.note("! npm, which started this worker, is gone.");
      interrupt("SIGTERM");
    });
    const configWatch = await watchConfig({ file: all.config.file, signal: whileUp, ...warnOf(terminal) });
    // Cron runs it again.
    const patient = options.once ? noPatience : patience(terminal, signal);
    try {
      signal.throwIfAborted();
      const opened = await terminal.during("Opening the database", () =>
        patient(() => openProjectDatabase(project.config, project.environment)),
      );
      try {
        signal.throwIfAborted();
        const log = openLog(terminal, options.logLevel);
        const allowChange = askForChanges(terminal, options.yes === true, signal);
        const carried = new SweepProgress(terminal, "copied for the new target");
        const leftBehind = new Map<string, number>();
        const onCarried = (name: string, { rows, left }: Carried) => {
          carried.onChunk(name, rows);
          leftBehind.set(name, left);
        };
        const parts = { ...project, providers, database: opened.database, log, allowChange, onCarried };
        const context = await patient(() => openProject(parts));
        carried.end();
        for (const [name, left] of leftBehind)
          if (left > 0)
            terminal.note(
              `! ${name}: ${counted(left, "answer")} not copied: the previous table lacks them, or they do not fit.`,
            );
        await patient(() => warnOfLeftovers(terminal, context, all.config));
        const service = await serveHttp(terminal, context, options.http ?? (isOnce(options) ? null : all.config.http));
        try {
          return await workWith(cli, context, { ...options, configWatch, signal, log, patient });
        } finally {
          await service?.close();
        }
      } finally {
        await opened.close();
      }
    } finally {
      release();
      ending.abort();
    }
  });
}

/** A run that ends by itself serves nothing. */
function isOnce({ once, untilIdle }: UpOptions): boolean {
  return once === true || untilIdle === true;
}

async function serveHttp(
  terminal: Terminal,
  { database, log }: WorkerContext,
  address: HttpAddress | null,
): Promise<ListeningService | null> {
  if (address === null) return null;
  const service = await startService(database, { address, log });
  terminal.note(`Serving on ${service.url}`);
  if (!isLoopback(address))
    terminal.note("! Other machines reach this address, and HTTP shows tokens to the network: put TLS in front of it.");
  if ((await tokens.list(database, 1)).length === 0)
    terminal.note("! No call is let in without a token. Make one: rowmill tokens create --scope push");
  return service;
}

interface WorkOptions extends UpOptions {
  readonly configWatch: ConfigWatch;
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly patient: Patience;
}

async function workWith(cli: Cli, context: WorkerContext, options: WorkOptions): Promise<number> {
  const { terminal } = cli;
  const { patient, signal } = options;
  try {
    const approvals = new Approvals(terminal, context, options.yes === true);
    const asking = { terminal, context, by: options.yes ? "rowmill up --yes" : "rowmill up" };
    if (options.yes) await patient(() => reaskAll(asking));
    if (options.untilIdle) await patient(() => wantReadings(context));
    await patient(() => lookFirst(cli, context, options));
    if (await patient(() => settleChanges(asking))) await patient(() => lookFirst(cli, context, options));
    if (terminal.interactive && options.yes !== true) await patient(() => readSourcesFirst(cli, context, signal));
    await patient(() => checkTargetsFirst(context, signal));
    await patient(() => approvals.settleAtStart(signal));
    signal.throwIfAborted();
    if (options.once) {
      await runRound(context, { flush: false, signal });
      await reportFinished(terminal, context);
      await sayHowItEnded(terminal, context);
      return EXIT_STATUS.ok;
    }
    return await workOn(cli, context, { ...options, approvals });
  } finally {
    terminal.endLive();
    context.leases.stop();
  }
}

/**
 * Counts all existing rows before anything is approved or sent, where that never happened under this definition. Other
 * pipelines get a sweep while they work: rows may have been written with triggers switched off. With `--once`, which
 * cron may run every minute, only when a sweep is due.
 */
async function lookFirst({ terminal }: Cli, context: WorkerContext, { signal, once }: WorkOptions): Promise<void> {
  signal.throwIfAborted();
  // Of several workers that start together, one sweeps for all.
  const startedAgoMs = process.uptime() * 1_000;
  if (!once)
    for (const id of context.pipelines.keys()) await sweeps.wantSweep(context.database, id, "rowmill up", startedAgoMs);
  for (const pipeline of context.pipelines.values()) await withdrawLocalApproval(context, pipeline);
  const unswept = once ? context : await only(context, isUnswept);
  // First: an arrival links a changed key to the previous one. A sweep would see a new row, and send it again.
  await runIntake(unswept, signal);
  const progress = new SweepProgress(terminal);
  await sweepAll(unswept, signal, progress.onChunk);
  progress.end();
  await runIntake(unswept, signal);
  await takeSample(context, signal);
  for (const pipeline of context.pipelines.values()) {
    const { name } = pipeline.config;
    const rows = await askAgainAfterDemo(context, pipeline, signal);
    if (rows > 0)
      terminal.note(
        `${name}: ${counted(rows, "row")} had answers of the demo model, which is not a language model. ` +
          `They will be sent to ${pipeline.provider.accountText(pipeline.provider.account)}:`,
      );
  }
}

/** What changed there a moment ago is work too. Of several workers that start together, one reads for all. */
async function wantReadings({ database, pipelines: ours }: WorkerContext): Promise<void> {
  const sinceMs = process.uptime() * 1_000;
  for (const { config } of ours.values())
    if (config.source.replica?.sync) await syncs.want(database, config.name, { full: false, sinceMs });
}

/**
 * Before the question what it costs: how many rows there are elsewhere. A source that cannot be read now, or that
 * another worker reads, is left to the work that follows.
 */
async function readSourcesFirst({ terminal }: Cli, context: WorkerContext, signal: AbortSignal): Promise<void> {
  for (const pipeline of context.pipelines.values()) {
    const { name, source } = pipeline.config;
    if (!source.replica?.sync || (await syncs.isRead(context.read, name))) continue;
    const progress = new SweepProgress(terminal, "read from its source");
    let rows = 0;
    await syncPipeline(context, pipeline, signal, (more) => progress.onChunk(name, (rows += more)));
    progress.end();
    await runIntake(context, signal, { arrived: [pipeline.id] });
  }
}

/** Elsewhere. Of definitions that are approved already, the first delivery finds out. */
async function checkTargetsFirst(context: WorkerContext, signal: AbortSignal): Promise<void> {
  const { pipelines: unapproved } = await only(context, isUnapproved);
  for (const pipeline of unapproved.values()) await examineTarget(context, pipeline, signal);
}

async function isUnapproved(client: Reader, { id, definitionHash }: Pipeline): Promise<boolean> {
  return (await pipelines.byId(client, id))?.approvedHash !== definitionHash;
}

/** Takes in some rows, for the estimate, and loads the tokenizer, which takes as long. */
async function takeSample(context: WorkerContext, signal: AbortSignal): Promise<void> {
  const arrived = await arrivals.pipelinesWithArrivals(context.read);
  const unapproved = await only(
    context,
    async (client, pipeline) => arrived.includes(pipeline.id) && (await isUnapproved(client, pipeline)),
  );
  // Only early: the estimate asks for the tokenizer itself, and gets its error.
  for (const { provider, config } of unapproved.pipelines.values())
    provider.tokenizer(config.request.model).catch(() => undefined);
  await runIntake(unapproved, signal, { arrived, roundsMax: 1 });
}

async function only(
  context: WorkerContext,
  isMeant: (client: Reader, pipeline: Pipeline) => Promise<boolean>,
): Promise<WorkerContext> {
  const meant = new Map<number, Pipeline>();
  for (const [id, pipeline] of context.pipelines) if (await isMeant(context.read, pipeline)) meant.set(id, pipeline);
  return { ...context, pipelines: meant };
}

async function isUnswept(client: Reader, { id, definitionHash }: Pipeline): Promise<boolean> {
  return !(await sweeps.isSwept(client, id, definitionHash));
}

async function workOn(
  { terminal }: Cli,
  context: WorkerContext,
  options: WorkOptions & { approvals: Approvals },
): Promise<number> {
  const { approvals, log, signal, patient, untilIdle = false } = options;
  const configChangedAt = options.configWatch.changedAt;
  const worker = await patient(() => startWorker(context, { flush: untilIdle, configChangedAt }));
  const report = () => reportFinished(terminal, context);
  try {
    if (!untilIdle) terminal.note("Working. Stop with Ctrl-C. See details: rowmill status");
    const progress = new WorkProgress(terminal, context, { flush: untilIdle });
    await follow(context, { worker, approvals, progress, log, signal, untilIdle, report });
  } finally {
    terminal.endLive();
    await worker.stop();
  }
  await report();
  await cleanUp(terminal, context, signal);
  const end = await sayHowItEnded(terminal, context);
  if (end.blocked > 0) return EXIT_STATUS.blocked;
  return end.failed > 0 ? EXIT_STATUS.rowsFailed : EXIT_STATUS.ok;
}

/** Files of ended batches at the provider, which a worker that continues would delete within seconds. */
async function cleanUp(terminal: Terminal, context: WorkerContext, signal: AbortSignal): Promise<void> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(CLEAN_MS_MAX)]);
  const left = await terminal.during("Deleting files at the provider", () =>
    forgetFiles(context, limit).catch((error: unknown) => {
      signal.throwIfAborted();
      if (!limit.aborted) throw error;
      return null;
    }),
  );
  if (left === 0) return;
  const which = left === null ? "Some files" : `The files of ${counted(left, "batch")}`;
  terminal.note(`! ${which} at the provider could not be deleted yet. The next rowmill up deletes them.`);
}

function warnOf(terminal: Terminal): Pick<ConfigWatchOptions, "onChange" | "onError"> {
  return {
    onChange: (changedAt) =>
      terminal.note(
        changedAt === null
          ? "✓ The config is again as this worker read it."
          : `! The config changed at ${formatTime(changedAt)}. Restart rowmill up to apply it.`,
      ),
    onError: (error) => terminal.note(`! A change of the config could not be reported: ${thrownMessage(error)}`),
  };
}

/** Their triggers still record changes, which pile up because no worker reads them. */
async function warnOfLeftovers(terminal: Terminal, context: WorkerContext, config: ProjectConfig): Promise<void> {
  const runs = config.database.kind === "embedded" ? await listRecords(dirname(config.file)) : [];
  const known = new Set([...config.pipelines, ...runs].map(({ name }) => name));
  for (const row of await pipelines.all(context.database)) {
    if (row.uninstalledAt !== null || context.pipelines.has(row.id) || known.has(row.name)) continue;
    terminal.note(
      `! ${row.name} is set up in this database, but is not in ${config.file}. ` +
        "Its triggers record changes that no worker reads. " +
        `If no other config has it, remove its triggers: rowmill uninstall ${row.name}`,
    );
  }
}
