/**
 * Cancels without a worker: takes the turns of the batches itself, as a worker would. Where that is not possible, the
 * wish stays recorded, and the next worker does it.
 */
import { configuredHash, openProject } from "../../../app/open/open-project.js";
import { RowmillError } from "../../../model/errors.js";
import { ProviderError } from "../../../model/provider/provider.js";
import type { Database } from "../../../postgres/database.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import { advanceBatch } from "../../../worker/turn/advance.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { configOf, type Project } from "../../project.js";
import type { Wanted } from "../../reports/cancel-text.js";
import { openLog } from "../../screen/command-log.js";
import { interruptible } from "../../screen/interruption.js";

export interface CancelHere {
  readonly project: Project;
  readonly database: Database;
  readonly acted: readonly Wanted[];
}

export async function cancelHere(cli: Cli, options: ProjectOptions, here: CancelHere): Promise<void> {
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

/** Pipelines whose config is the one that the ledger knows: another one would be registered, and ask rows again. */
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
