/**
 * `rowmill up`: installs, and runs a worker. Owns the order in which things are opened and the certainty that they are closed;
 * what a kill cuts off is picked up from the database by the next worker.
 */
import type { Logger } from "pino";
import * as pipelines from "../../store/pipelines/pipelines.js";
import { lockForWork, openProjectDatabase } from "../../app/open/open-database.js";
import { openProject } from "../../app/open/open-project.js";
import { openProviders } from "../../app/open/providers.js";
import { runRound, sweepAll } from "../../app/open/round.js";
import * as arrivals from "../../store/requests/arrivals.js";
import type { Reader } from "../../postgres/database.js";

import * as sweeps from "../../store/requests/sweeps.js";
import { withdrawLocalApproval } from "../../worker/rounds/approval.js";
import type { Pipeline, WorkerContext } from "../../worker/context.js";
import { askAgainAfterDemo } from "../../worker/rounds/demo-answers.js";
import { runIntake } from "../../worker/rounds/intake.js";
import { startWorker } from "../../worker/process/worker.js";
import { Approvals, askForChanges } from "../parts/approvals.js";
import type { Cli, ProjectOptions } from "../cli.js";
import { openLog } from "../screen/command-log.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { follow } from "../parts/follow.js";
import { listenForInterruption } from "../screen/interruption.js";
import { noPatience, patience, type Patience } from "../screen/patience.js";
import { loadProject } from "../project.js";
import { sayHowItEnded } from "../words/closing-words.js";
import { SweepProgress } from "../screen/sweep-progress.js";
import { counted } from "../words/text.js";
import { WorkProgress } from "../screen/work-progress.js";
import type { Terminal } from "../screen/terminal.js";

export interface UpOptions extends ProjectOptions {
  readonly once?: true;
  readonly untilIdle?: true;
  readonly yes?: true;
  readonly printSql?: true;
}

export async function runUp(cli: Cli, options: UpOptions): Promise<number> {
  const { terminal } = cli;
  const project = await loadProject(terminal, options.config);
  // Before anything is opened: what it lacks is known without a database.
  const providers = await openProviders(project);
  const interruption = listenForInterruption(() => {
    terminal.note("Stopping: what is in hand is finished first. Ctrl-C again stops at once.");
  });
  const { signal } = interruption;
  // What calls it once comes again.
  const patient = options.once ? noPatience : patience(terminal, signal);
  const release = await lockForWork(project.config, "rowmill up");
  try {
    signal.throwIfAborted();
    const opened = await patient(() => openProjectDatabase(project.config, project.environment));
    try {
      signal.throwIfAborted();
      const log = openLog(terminal, options.logLevel);
      const allowChange = askForChanges(terminal, options.yes === true, signal);
      const parts = { ...project, providers, database: opened.database, log, allowChange };
      const context = await patient(() => openProject(parts));
      await patient(() => warnOfLeftovers(terminal, context, project.config.file));
      return await workWith(cli, context, { ...options, signal, log, patient });
    } finally {
      await opened.close();
    }
  } finally {
    release();
    interruption.dispose();
  }
}

interface WorkOptions extends UpOptions {
  readonly signal: AbortSignal;
  readonly log: Logger;
  readonly patient: Patience;
}

async function workWith(cli: Cli, context: WorkerContext, options: WorkOptions): Promise<number> {
  const { terminal } = cli;
  const { patient, signal } = options;
  try {
    const approvals = new Approvals(terminal, context, options.yes === true);
    await patient(() => lookFirst(cli, context, options));
    await patient(() => approvals.settleAtStart(signal));
    signal.throwIfAborted();
    if (options.once) {
      await runRound(context, { flush: false, signal });
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
 * What is there already is counted before anything is asked or sent, where that was never done under this definition. All of it is compared, however
 * short ago the last sweep was: rows may have been written since with triggers switched off. But work goes on meanwhile, by what is known. `--once`
 * sweeps when one is due, because cron may call it every minute.
 */
async function lookFirst(
  { terminal }: Cli,
  context: WorkerContext,
  { signal, once }: WorkOptions,
): Promise<void> {
  signal.throwIfAborted();
  // Of several workers that start together one compares for all.
  const startedAgoMs = process.uptime() * 1_000;
  if (!once)
    for (const id of context.pipelines.keys())
      await sweeps.wantSweep(context.database, id, "rowmill up", startedAgoMs);
  for (const pipeline of context.pipelines.values()) await withdrawLocalApproval(context, pipeline);
  const unswept = once ? context : await only(context, isUnswept);
  // First: a row with a new key is told with its former one here, and a sweep would come to the new key alone, and ask it again.
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
        `${name}: the demo model, which is no language model, answered ${counted(rows, "row")}; now ${pipeline.provider.accountText(pipeline.provider.account)} is asked:`,
      );
  }
}

/** Some rows, by which the others are estimated; and meanwhile what counts their tokens, which takes as long to load. */
async function takeSample(context: WorkerContext, signal: AbortSignal): Promise<void> {
  const arrived = await arrivals.pipelinesWithArrivals(context.read);
  const unapproved = await only(
    context,
    async (client, pipeline) =>
      arrived.includes(pipeline.id) &&
      (await pipelines.byId(client, pipeline.id))?.approvedHash !== pipeline.definitionHash,
  );
  for (const { provider, config } of unapproved.pipelines.values())
    provider.tokenizer(config.request.model).catch(() => undefined);
  await runIntake(unapproved, signal, { arrived, roundsMax: 1 });
}

/** The others are looked at by the worker. */
async function only(
  context: WorkerContext,
  isMeant: (client: Reader, pipeline: Pipeline) => Promise<boolean>,
): Promise<WorkerContext> {
  const meant = new Map<number, Pipeline>();
  for (const [id, pipeline] of context.pipelines)
    if (await isMeant(context.read, pipeline)) meant.set(id, pipeline);
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
  const worker = await patient(() => startWorker(context, { flush: untilIdle }));
  try {
    if (!untilIdle) terminal.note("Working. Stop with Ctrl-C; see more with rowmill status.");
    const progress = new WorkProgress(terminal, context, { flush: untilIdle });
    await follow(context, { worker, approvals, progress, log, signal, untilIdle });
  } finally {
    terminal.endLive();
    await worker.stop();
  }
  const end = await sayHowItEnded(terminal, context);
  if (end.blocked > 0) return EXIT_STATUS.blocked;
  return end.failed > 0 ? EXIT_STATUS.rowsFailed : EXIT_STATUS.ok;
}

/** Their triggers go on, and what they tell piles up, because nobody takes it. */
async function warnOfLeftovers(
  terminal: Terminal,
  context: WorkerContext,
  configFile: string,
): Promise<void> {
  for (const row of await pipelines.all(context.database)) {
    if (row.uninstalledAt !== null || context.pipelines.has(row.id)) continue;
    terminal.note(
      `${row.name}: is set up in this database, but ${configFile} has no pipeline of that name, so its rows are not looked at, and what its triggers tell piles up. ` +
        `If no other config has it either: rowmill uninstall ${row.name}`,
    );
  }
}
