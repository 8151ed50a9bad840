/**
 * `rowmill demo`: the whole path on the films of `examples/movies`, as the project that a user would have. Without `--live` the local
 * Batch API server stands in for the provider: no language model answers, nothing leaves this machine, nothing is spent. Its folder
 * is temporary and goes at the end; with `--keep` and `--live` it is `./rowmill-demo`, where the next call goes on.
 */
import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { idleState } from "../../app/open/idle.js";
import { lockForWork, openProjectDatabase, stateFolder } from "../../app/open/open-database.js";
import { openProject } from "../../app/open/open-project.js";
import { sweepAll } from "../../app/open/round.js";
import { completeFromDotenv } from "../../config/load/dotenv.js";
import { readEnvironment, type Environment } from "../../config/load/environment.js";
import { loadConfig } from "../../config/load/load.js";
import { stopEmbedded } from "../../embedded/embedded.js";
import { RowmillError } from "../../model/errors.js";
import type { ProjectConfig } from "../../model/pipeline.js";
import type { WorkerContext } from "../../worker/context.js";
import { ADAPTERS } from "../../providers/adapters.js";
import { startWorker } from "../../worker/process/worker.js";
import { Approvals } from "../parts/approvals.js";
import type { Cli, LogOptions } from "../cli.js";
import { sayHowItEnded } from "../words/closing-words.js";
import { openLog } from "../screen/command-log.js";
import { requireSameProvider, startDemoGateway } from "../demo/gateway.js";
import { agreeToSpend } from "../demo/live.js";
import { loadFilms, writeDemoConfig } from "../demo/project.js";
import { demoReport } from "../demo/report.js";
import { EXIT_STATUS } from "../screen/exit-status.js";
import { follow } from "../parts/follow.js";
import { listenForInterruption } from "../screen/interruption.js";
import { hideSecrets } from "../project.js";
import { counted } from "../words/text.js";
import { WorkProgress } from "../screen/work-progress.js";

const KEPT_FOLDER = "rowmill-demo";

export interface DemoOptions extends LogOptions {
  readonly keep?: true;
  readonly live?: true;
  readonly yes?: true;
}

export async function runDemo(cli: Cli, options: DemoOptions): Promise<number> {
  const { terminal } = cli;
  const live = options.live === true;
  const kept = live || options.keep === true ? resolve(KEPT_FOLDER) : null;
  const environment = live ? await liveEnvironment() : null;
  if (kept !== null) await requireSameProvider(kept, live);
  hideSecrets(terminal, null);
  if (!live) {
    terminal.note(
      "NO LANGUAGE MODEL ANSWERS IN THIS DEMO: answers are made by rules and word lists on this machine.",
    );
  }
  const wayOn = kept === null ? "" : " The same command goes on where this one stops.";
  const interruption = listenForInterruption(() => terminal.note(`Stopping.${wayOn}`));
  const folder = kept ?? (await mkdtemp(join(tmpdir(), "rowmill-demo-")));
  // For the second Ctrl-C, which ends the process at once.
  const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
  if (kept === null) process.once("exit", removeFolder);
  const start = { folder, kept: kept !== null, signal: interruption.signal };
  try {
    if (environment !== null) return await runOn(cli, options, { ...start, environment });
    const gateway = await startDemoGateway(folder);
    try {
      const local = readEnvironment(ADAPTERS[0].variablesFor({ url: gateway.url, key: "demo" }));
      return await runOn(cli, options, { ...start, environment: local });
    } finally {
      await gateway.close();
    }
  } finally {
    if (kept === null) await rm(folder, { recursive: true, force: true });
    process.off("exit", removeFolder);
    interruption.dispose();
  }
}

/** The user's own variables, completed from `.env` in this folder. */
async function liveEnvironment(): Promise<Environment> {
  await completeFromDotenv(process.env, process.cwd());
  const environment = readEnvironment(process.env);
  const [{ choice, keyVariable, keyExample }] = ADAPTERS;
  if (choice.secrets(environment.provider).length > 0) return environment;
  throw new RowmillError("usage", `${keyVariable} is not set, so ${choice.dialect.title} cannot be asked.`, {
    hints: [`Put it into .env in this folder: ${keyExample}`, "Without a key and without cost: rowmill demo"],
  });
}

interface Start {
  readonly folder: string;
  readonly kept: boolean;
  readonly environment: Environment;
  readonly signal: AbortSignal;
}

async function runOn(cli: Cli, options: DemoOptions, start: Start): Promise<number> {
  const { terminal } = cli;
  await writeDemoConfig(start.folder);
  const config = await loadConfig({ cwd: start.folder, env: {} });
  const release = await lockForWork(config, "rowmill demo");
  try {
    start.signal.throwIfAborted();
    const where = start.kept ? `./${KEPT_FOLDER}` : "a temporary folder";
    terminal.note(`Starting an embedded PostgreSQL in ${where} …`);
    const opened = await openProjectDatabase(config, start.environment);
    try {
      return await runWith(cli, options, { ...start, config, database: opened.database });
    } finally {
      await opened.close();
      await stopEmbedded({ dataDir: join(stateFolder(config), "database") });
    }
  } finally {
    release();
  }
}

type Opened = Start & { readonly config: ProjectConfig; readonly database: WorkerContext["database"] };

async function runWith(cli: Cli, options: DemoOptions, opened: Opened): Promise<number> {
  const { terminal } = cli;
  const { config, database, environment, signal } = opened;
  signal.throwIfAborted();
  const films = await loadFilms(database);
  terminal.note(`The table movies holds ${counted(films, "film")}.`);
  const log = openLog(terminal, options.logLevel);
  const context = await openProject({ config, environment, database, log });
  try {
    await sweepAll(context, signal);
    const agreed =
      options.live !== true || (await agreeToSpend(terminal, context, { yes: options.yes, signal }));
    if (!agreed) return EXIT_STATUS.blocked;
    await work(cli, context, { log, signal });
    if ((await idleState(context)).blocked.length > 0) {
      await sayHowItEnded(terminal, context);
      return EXIT_STATUS.blocked;
    }
  } finally {
    context.leases.stop();
  }
  const report = {
    width: terminal.columns(),
    kept: opened.kept ? KEPT_FOLDER : null,
    live: options.live === true,
  };
  for (const line of await demoReport(terminal, context, report)) terminal.print(line);
  return EXIT_STATUS.ok;
}

async function work(
  { terminal }: Cli,
  context: WorkerContext,
  { log, signal }: { log: ReturnType<typeof openLog>; signal: AbortSignal },
): Promise<void> {
  const approvals = new Approvals(terminal, context, true);
  await approvals.settleAtStart(signal);
  const worker = await startWorker(context, { flush: true });
  try {
    const progress = new WorkProgress(terminal, context, { flush: true });
    await follow(context, { worker, approvals, progress, log, signal, untilIdle: true });
  } finally {
    terminal.endLive();
    await worker.stop();
  }
}
