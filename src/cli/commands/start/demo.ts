/**
 * `rowmill demo`: the project of `examples/movies`, from the table to the answers. Without `--live` a local Batch API
 * server stands in for the provider: no language model, nothing leaves this machine, no cost. Its folder is temporary;
 * with `--keep` and `--live` it is `./rowmill-demo`, where the next run continues and overwrites nothing, so that paid
 * answers stay. Batches belong to the address that took them, so a kept project's server always has the same port.
 */
import { rmSync } from "node:fs";
import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { parse } from "csv-parse/sync";
import { idleState } from "../../../app/open/idle.js";
import { lockForWork, openProjectDatabase, stateFolder } from "../../../app/open/open-database.js";
import { openProject } from "../../../app/open/open-project.js";
import { sweepAll } from "../../../app/open/round.js";
import { completeFromDotenv } from "../../../config/load/dotenv.js";
import { readEnvironment, type Environment } from "../../../config/load/environment.js";
import { loadConfig } from "../../../config/load/load.js";
import { stopEmbedded } from "../../../embedded/embedded.js";
import { startGateway, type Gateway } from "../../../gateway/gateway.js";
import { exists, hasCode } from "../../../model/file-errors.js";
import { RowmillError } from "../../../model/errors.js";
import type { ProjectConfig } from "../../../model/pipeline.js";
import { sql, type Database } from "../../../postgres/database.js";
import * as counts from "../../../store/requests/counts.js";
import { approve } from "../../../worker/rounds/approval.js";
import type { WorkerContext } from "../../../worker/context.js";
import { estimatePipeline } from "../../../worker/rounds/estimate.js";
import { ADAPTERS } from "../../../providers/adapters.js";
import { startWorker } from "../../../worker/process/worker.js";
import { Approvals } from "../../screen/approvals.js";
import type { Cli, LogOptions } from "../../cli.js";
import { sayHowItEnded } from "../../screen/closing-words.js";
import { openLog } from "../../screen/command-log.js";
import { demoReport } from "../../reports/demo-report.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { follow } from "../../screen/live/follow.js";
import { interruptible } from "../../screen/interruption.js";
import { hideSecrets } from "../../project.js";
import { askYesNo } from "../../screen/ask.js";
import type { Terminal } from "../../screen/terminal.js";
import { counted, describeEstimate } from "../../screen/text.js";
import { WorkProgress } from "../../screen/live/progress.js";

const KEPT_FOLDER = "rowmill-demo";
const EXAMPLE = new URL("../../../../examples/movies/", import.meta.url);
const PORT_MAX = 65_535;
const DATABASE_FROM_VARIABLE = 'database: process.env["DATABASE_URL"]';

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
    terminal.note("! NO LANGUAGE MODEL ANSWERS IN THIS DEMO: rules and word lists on this machine make the answers.");
  }
  const wayOn = kept === null ? "" : " Run the same command again to continue.";
  return interruptible(terminal, `Stopping.${wayOn}`, async (signal) => {
    const folder = kept ?? (await mkdtemp(join(tmpdir(), "rowmill-demo-")));
    const removeFolder = (): void => rmSync(folder, { recursive: true, force: true });
    if (kept === null) process.once("exit", removeFolder);
    const start = { folder, kept: kept !== null, signal };
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
    }
  });
}

async function liveEnvironment(): Promise<Environment> {
  await completeFromDotenv(process.env, process.cwd());
  const environment = readEnvironment(process.env);
  const [{ choice, keyVariable, keyExample }] = ADAPTERS;
  if (choice.secrets(environment.provider).length > 0) return environment;
  throw new RowmillError("usage", `${keyVariable} is not set, so ${choice.dialect.title} cannot be used.`, {
    hints: [`Add it to .env in this folder: ${keyExample}`, "To try without a key and without cost: rowmill demo"],
  });
}

const gatewayFolder = (folder: string): string => join(folder, ".rowmill", "gateway");
const portFile = (folder: string): string => join(folder, ".rowmill", "demo-port");

/** @throws RowmillError `refused` when the project's port is in use. */
export async function startDemoGateway(folder: string): Promise<Gateway> {
  const port = await recordedPort(folder);
  try {
    const gateway = await startGateway({ dataDir: gatewayFolder(folder), demoModel: true, port: port ?? 0 });
    if (port === null) await writeFile(portFile(folder), `${gateway.port}\n`);
    return gateway;
  } catch (error) {
    if (port === null || !hasCode(error, "EADDRINUSE")) throw error;
    throw new RowmillError("refused", `Port ${port} is in use, but the batches of ${folder} need it.`, {
      cause: error,
      hints: ["Stop the program that listens there, or remove the folder and start again."],
    });
  }
}

async function recordedPort(folder: string): Promise<number | null> {
  await mkdir(join(folder, ".rowmill"), { recursive: true, mode: 0o700 });
  if (!(await exists(portFile(folder)))) return null;
  const port = Number(await readFile(portFile(folder), "utf8"));
  return Number.isInteger(port) && port > 0 && port <= PORT_MAX ? port : null;
}

/** @throws RowmillError `refused` when the kept project in this folder uses the other provider. */
export async function requireSameProvider(folder: string, live: boolean): Promise<void> {
  if (!(await exists(join(folder, ".rowmill", "database")))) return;
  const wasLive = !(await exists(gatewayFolder(folder)));
  if (wasLive === live) return;
  throw new RowmillError(
    "refused",
    live
      ? `The project in ${folder} has answers of the demo model: rowmill demo --keep created it.`
      : `The project in ${folder} uses ${ADAPTERS[0].choice.dialect.title}: rowmill demo --live created it.`,
    {
      hints: [
        `To continue with it: rowmill demo ${live ? "--keep" : "--live"}`,
        "To start again: remove or rename that folder first.",
      ],
    },
  );
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
    const opened = await terminal.during("Starting", () => openProjectDatabase(config, start.environment));
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
  terminal.note(`The table movies has ${counted(films, "film")}.`);
  const log = openLog(terminal, options.logLevel);
  const context = await openProject({ config, environment, database, log });
  try {
    await sweepAll(context, signal);
    const agreed = options.live !== true || (await agreeToSpend(terminal, context, { yes: options.yes, signal }));
    if (!agreed) return EXIT_STATUS.blocked;
    await work(cli, context, { log, signal });
    if ((await idleState(context)).blocked.length > 0) {
      await sayHowItEnded(terminal, context);
      return EXIT_STATUS.blocked;
    }
  } finally {
    context.leases.stop();
  }
  const report = { width: terminal.columns(), kept: opened.kept ? KEPT_FOLDER : null, live: options.live === true };
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

async function writeDemoConfig(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, "rowmill.config.ts");
  if (await exists(file)) return;
  const text = await readFile(new URL("rowmill.config.ts", EXAMPLE), "utf8");
  if (!text.includes(DATABASE_FROM_VARIABLE))
    throw new RowmillError("internal", "The example's config does not name its database as the demo expects.");
  await writeFile(file, text.replace(DATABASE_FROM_VARIABLE, 'database: "embedded"'));
}

async function loadFilms(database: Database): Promise<number> {
  const films = parse(await readFile(new URL("movies.csv", EXAMPLE), "utf8"), { columns: true });
  await database.run(sql`
    create table if not exists public.movies (
      id bigint primary key, title text not null, year integer not null,
      genres text not null, director text not null, description text not null
    )`);
  await database.run(sql`
    insert into public.movies
    select *
    from json_to_recordset(${JSON.stringify(films)}::json)
      as x (id bigint, title text, year integer, genres text, director text, description text)
    on conflict (id) do nothing`);
  return films.length;
}

/** Shows the cost, however small, and asks. True: continue; also when nothing is left to send. */
async function agreeToSpend(
  terminal: Terminal,
  context: WorkerContext,
  options: { yes: boolean | undefined; signal: AbortSignal },
): Promise<boolean> {
  for (const pipeline of context.pipelines.values()) {
    const waiting = await counts.countState(context.database, pipeline.id, "waiting");
    if (waiting === 0) continue;
    const estimate = await estimatePipeline(context, pipeline, { waiting, arrived: 0 });
    terminal.note(
      `This sends to ${pipeline.provider.accountText(pipeline.provider.account)}: ` +
        `${describeEstimate(estimate, pipeline.config)}.`,
    );
    if (!(await saysYes(terminal, options))) return false;
    await approve(context, pipeline, options.yes ? "--yes" : "rowmill demo");
  }
  return true;
}

async function saysYes(
  terminal: Terminal,
  { yes, signal }: { yes: boolean | undefined; signal: AbortSignal },
): Promise<boolean> {
  if (yes) return true;
  if (terminal.interactive) {
    const agreed = await askYesNo("Continue?", signal);
    if (!agreed) terminal.note("Nothing was sent. To start again: rowmill demo --live");
    return agreed;
  }
  terminal.note("! There is no terminal to ask on, so nothing was sent. To agree: rowmill demo --live --yes");
  return false;
}
