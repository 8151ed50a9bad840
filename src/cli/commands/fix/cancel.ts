/**
 * `rowmill cancel`: records that a batch, or all open batches of a pipeline, should be cancelled, after saying what
 * that loses and costs. A worker does it; without one, this command. `--abandon` gives up what can never be collected.
 */
import { hostname, userInfo } from "node:os";
import { configuredHash, openProject } from "../../../app/open/open-project.js";
import { cancelAction, isActed } from "../../../model/batch/cancelling.js";
import { RowmillError } from "../../../model/errors.js";
import { ProviderError } from "../../../model/provider/provider.js";
import type { Database } from "../../../postgres/database.js";
import * as cancellation from "../../../store/batches/cancellation.js";
import type { CancelCandidate } from "../../../store/batches/cancellation.js";
import * as overview from "../../../store/ledger/overview.js";
import type { LivingWorker } from "../../../store/ledger/overview.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import { advanceBatch } from "../../../worker/turn/advance.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { findBatchId } from "../../find-batch.js";
import { requireKnownPlace, withProjectLedger, configOf, type Project } from "../../project.js";
import { cancelJson, consequences, noteOf, outcomeOf, type Wanted } from "../../reports/cancel-text.js";
import { askYesNo, noTerminal } from "../../screen/ask.js";
import { openLog } from "../../screen/command-log.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { interruptible } from "../../screen/interruption.js";
import { counted } from "../../screen/text.js";
import { runAbandon } from "./abandon.js";

/** Of one command: a pipeline has a few open batches, unless something is wrong with it. */
const BATCHES_MAX = 1_000;
const SHOWN_MAX = 10;

export interface CancelOptions extends ProjectOptions {
  readonly drop?: true;
  readonly abandon?: true;
  readonly yes?: true;
  readonly json?: true;
}

export async function runCancel(cli: Cli, name: string, options: CancelOptions): Promise<number> {
  if (options.abandon === true) return runAbandon(cli, name, options);
  return withProjectLedger(cli.terminal, options, async ({ database, project }) => {
    const drops = options.drop === true;
    const { found, pipeline } = await named(database, name);
    const wanted = found.map((batch) => ({ batch, action: cancelAction(batch, drops) }));
    const acted = wanted.filter(({ action }) => isActed(action));
    if (acted.length > 0) {
      await requireKnownPlace(database);
      if (options.yes !== true && !(await ask(cli, name, { acted, drops }))) {
        cli.terminal.note("Nothing was canceled.");
        return EXIT_STATUS.blocked;
      }
    }
    const [worker] = await overview.livingWorkers(database);
    for (const { batch } of acted)
      await database.transaction((tx) => cancellation.want(tx, batch.id, { by: whoAsks(), drops }));
    if (acted.length > 0 && worker === undefined) await cancelHere(cli, options, { project, database, acted });
    return report(cli, options, { database, wanted, worker, pipeline });
  });
}

/** A pipeline's name first. `pipeline` null: one batch was named. */
async function named(
  database: Database,
  name: string,
): Promise<{ readonly found: readonly CancelCandidate[]; readonly pipeline: string | null }> {
  const all = await pipelines.all(database);
  const row = all.find((each) => each.name === name);
  if (row !== undefined)
    return { found: await cancellation.candidates(database, { pipelineId: row.id }, BATCHES_MAX), pipeline: name };
  const id = await findBatchId(database, name);
  if (id !== null) return { found: await cancellation.candidates(database, { id }, 1), pipeline: null };
  throw new RowmillError("not_found", `There is no batch and no pipeline "${name}" in this database.`, {
    hints: [
      `The pipelines are: ${all.map((each) => each.name).join(", ")}.`,
      "See the open batches: rowmill batches --state open",
    ],
  });
}

function whoAsks(): string {
  let user = "someone";
  try {
    user = userInfo().username;
  } catch {
    // A container may run under a number that has no name.
  }
  return `${user} on ${hostname()} (rowmill cancel)`;
}

async function ask(
  { terminal }: Cli,
  name: string,
  { acted, drops }: { readonly acted: readonly Wanted[]; readonly drops: boolean },
): Promise<boolean> {
  for (const one of acted.slice(0, SHOWN_MAX)) terminal.note(noteOf(one));
  if (acted.length > SHOWN_MAX) terminal.note(`… and ${counted(acted.length - SHOWN_MAX, "more batch")}`);
  for (const line of consequences(acted, drops)) terminal.note(line);
  if (terminal.interactive)
    return askYesNo(acted.length === 1 ? "Cancel this batch?" : `Cancel these ${acted.length} batches?`);
  const drop = drops ? " --drop" : "";
  throw noTerminal("nothing was canceled", `To cancel without a question: rowmill cancel ${name}${drop} --yes`);
}

interface Reported {
  readonly database: Database;
  readonly wanted: readonly Wanted[];
  readonly worker: LivingWorker | undefined;
  readonly pipeline: string | null;
}

/** @throws RowmillError `refused` for one batch that cannot be cancelled */
async function report({ terminal }: Cli, options: CancelOptions, reported: Reported): Promise<number> {
  const { database, wanted, worker, pipeline } = reported;
  const now = new Map<string, CancelCandidate>();
  for (const { batch } of wanted) {
    const [found] = await cancellation.candidates(database, { id: batch.id }, 1);
    if (found !== undefined) now.set(batch.id, found);
  }
  const outcomes = wanted.map((one) => outcomeOf(one, now.get(one.batch.id) ?? one.batch));
  if (options.json) terminal.data(JSON.stringify(cancelJson(wanted, now, worker)));
  const [first] = outcomes;
  const isRefused = pipeline === null && first?.refused === true;
  if (isRefused && !options.json) throw new RowmillError("refused", first.text, { hints: first.hints });
  if (options.json) return isRefused ? EXIT_STATUS.blocked : EXIT_STATUS.ok;
  if (outcomes.length === 0) terminal.print(`✓ ${pipeline ?? ""} has no open batch, so there is nothing to cancel.`);
  for (const { text, refused } of outcomes) terminal.print(`${refused ? "!" : "✓"} ${text}`);
  if (wanted.some(({ action }) => isActed(action)) && worker !== undefined)
    terminal.note(`The worker (process ${worker.pid} on ${worker.host}) does it now. Follow it: rowmill batches`);
  return EXIT_STATUS.ok;
}

interface CancelHere {
  readonly project: Project;
  readonly database: Database;
  readonly acted: readonly Wanted[];
}

/**
 * Takes the turns of the batches itself, as a worker would. Where that is not possible, the wish stays recorded, and
 * the next worker does it.
 */
async function cancelHere(cli: Cli, options: ProjectOptions, here: CancelHere): Promise<void> {
  const { terminal } = cli;
  const config = await configsOf(here);
  if (config.length > 0) {
    terminal.note("No worker is running, so this command cancels it itself.");
    const left = await takeTurns(cli, options, { here, config });
    if (left === null) return;
    terminal.note(`! It could not: ${left}`);
  }
  terminal.note("! The next worker does it. Start one: rowmill up");
}

type Configs = Project["config"]["pipelines"];

/** Pipelines whose config is the one that the ledger knows: another one would be registered, and send rows again. */
async function configsOf({ project, database, acted }: CancelHere): Promise<Configs> {
  const names = new Set(acted.map(({ batch }) => batch.pipeline));
  const rows = (await pipelines.all(database)).filter(({ name }) => names.has(name));
  return rows.flatMap((row) => {
    const config = configOf(project, row.name);
    const isFit = row.uninstalledAt === null && config !== undefined && configuredHash(config) === row.definitionHash;
    return isFit ? [config] : [];
  });
}

/** Returns why it was not possible; null: it was. */
async function takeTurns(
  cli: Cli,
  options: ProjectOptions,
  { here, config }: { readonly here: CancelHere; readonly config: Configs },
): Promise<string | null> {
  const { project, database, acted } = here;
  try {
    return await interruptible(cli.terminal, "Stopping. What is recorded stays recorded.", async (signal) => {
      const context = await openProject({
        config: { ...project.config, pipelines: config },
        environment: project.environment,
        database,
        log: openLog(cli.terminal, options.logLevel),
      });
      try {
        for (const { batch } of acted) if (!signal.aborted) await advanceBatch(context, batch.id, signal);
        signal.throwIfAborted();
        return null;
      } finally {
        context.leases.stop();
      }
    });
  } catch (error) {
    if (error instanceof RowmillError || error instanceof ProviderError) return error.message;
    throw error;
  }
}
