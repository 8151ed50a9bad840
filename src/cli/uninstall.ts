/**
 * `rowmill uninstall`: takes the triggers off the user's tables and nothing else. With `--purge` also Rowmill's own schemas.
 * Targets and sources keep every row.
 */
import { Command } from "commander";
import type { OpenedDatabase } from "../app/open-database.js";
import { uninstallAll } from "../app/uninstall.js";
import { RowmillError } from "../model/errors.js";
import type { Database } from "../store/database.js";
import { livingWorkers } from "../store/overview.js";
import {
  countInFlightBatches,
  dropArrivalsRole,
  dropSchemas,
  foreignRelations,
} from "../store/uninstallation.js";
import { askTyped } from "./ask.js";
import { withProject, type Cli, type ProjectOptions } from "./cli.js";
import { exitStatus } from "./exit-status.js";
import { loadProject, withExistingLedger } from "./project.js";
import { counted } from "./text.js";

interface UninstallOptions extends ProjectOptions {
  readonly purge?: true;
  readonly yes?: true;
}

export function uninstallCommand(cli: Cli): Command {
  return withProject(new Command("uninstall"))
    .description("take the triggers off your tables; nothing else is touched")
    .option(
      "--purge",
      "also drop the schemas rowmill and rowmill_worker: what was asked, answered and spent is forgotten",
    )
    .option("--yes", "with --purge: do not ask")
    .action(async (options: UninstallOptions) => cli.finish(await runUninstall(cli, options)));
}

async function runUninstall(cli: Cli, options: UninstallOptions): Promise<number> {
  const project = await loadProject(cli.terminal, options.config);
  return withExistingLedger(project, async (opened) => {
    if (options.purge) await requirePurgeable(cli, opened, options);
    const count = await uninstallAll(opened.database);
    cli.terminal.print(
      `The triggers of ${counted(count, "pipeline")} are removed. Tables and answers are as they were.`,
    );
    if (options.purge) await purge(cli, opened.database);
    else await sayWhoWorks(cli, opened.database);
    return exitStatus.ok;
  });
}

async function sayWhoWorks({ terminal }: Cli, database: Database): Promise<void> {
  if ((await livingWorkers(database)).length > 0)
    terminal.note(
      "A worker is running: it collects what is in flight and sends nothing more. Stop it when that is done.",
    );
}

/** @throws RowmillError `refused` when something would be lost, `usage` when nobody can be asked. */
async function requirePurgeable(cli: Cli, opened: OpenedDatabase, options: UninstallOptions): Promise<void> {
  const { database } = opened;
  const batches = await countInFlightBatches(database);
  if (batches > 0) {
    throw new RowmillError(
      "refused",
      `${counted(batches, "batch")} ${batches === 1 ? "is" : "are"} in flight: paid answers would be lost.`,
      { hints: ["Let them settle first: rowmill up --until-idle", "Nothing was removed."] },
    );
  }
  const workers = await livingWorkers(database);
  if (workers.length > 0) {
    const pids = workers.map((worker) => `${worker.pid} on ${worker.host}`).join(", ");
    throw new RowmillError("refused", `A worker is running: process ${pids}.`, {
      hints: ["Stop it first. One that was killed counts as running for 20 seconds.", "Nothing was removed."],
    });
  }
  const foreign = await foreignRelations(database);
  if (foreign.length > 0) {
    throw new RowmillError(
      "refused",
      `Not Rowmill's own, and would be dropped with it: ${foreign.join(", ")}.`,
      {
        hints: [
          "Move them out of the schemas rowmill and rowmill_worker, or drop them yourself.",
          "Nothing was removed.",
        ],
      },
    );
  }
  if (options.yes !== true) await requireYes(cli, opened);
}

async function requireYes({ terminal }: Cli, { place }: OpenedDatabase): Promise<void> {
  if (!terminal.interactive) {
    throw new RowmillError("usage", "There is no terminal to ask on.", {
      hints: ["To purge without a question: rowmill uninstall --purge --yes", "Nothing was removed."],
    });
  }
  const question = `This forgets what was asked, answered and spent in ${place}. Rows are asked again if Rowmill comes back.`;
  if (await askTyped(question, "purge")) return;
  throw new RowmillError("refused", "Nothing was removed.");
}

async function purge({ terminal }: Cli, database: Database): Promise<void> {
  await dropSchemas(database);
  terminal.print("The schemas rowmill and rowmill_worker are dropped.");
  const role = await dropArrivalsRole(database);
  if (role === "dropped") terminal.print("The role rowmill_arrivals is dropped.");
  if (role === "kept")
    terminal.note(
      "The role rowmill_arrivals stays: another database of this server needs it, or it is not ours to drop.",
    );
}
