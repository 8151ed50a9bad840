/**
 * `rowmill uninstall`: removes the triggers of all or some pipelines from your tables, and with `--purge` Rowmill's own
 * schemas. Sources and targets keep every row.
 */
import type { OpenedDatabase } from "../../../app/open/open-database.js";
import { uninstall } from "../../../app/open/bind-pipeline.js";
import { RowmillError } from "../../../model/errors.js";
import { REPLICA_SCHEMA, replicaTable } from "../../../model/replica-name.js";
import type { Database } from "../../../postgres/database.js";
import * as overview from "../../../store/ledger/overview.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import * as replicas from "../../../store/replicas/replicas.js";
import * as uninstallation from "../../../store/ledger/uninstallation.js";
import { askTyped, askYesNo, noTerminal } from "../../screen/ask.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { loadProject, registeredPipelines, withLedger } from "../../project.js";
import { counted } from "../../screen/text.js";

export interface UninstallOptions extends ProjectOptions {
  readonly purge?: true;
  readonly pushedRows?: true;
  readonly yes?: true;
}

export async function runUninstall(cli: Cli, names: readonly string[], options: UninstallOptions): Promise<number> {
  if (options.purge && names.length > 0)
    throw new RowmillError("usage", "--purge removes all pipelines at once, so it takes no names.", {
      hints: [`To remove only the triggers of these: rowmill uninstall ${names.join(" ")}`],
    });
  const project = await loadProject(cli.terminal, options.config);
  return withLedger(project, async (opened) => {
    if (opened === null) {
      cli.terminal.print("✓ Rowmill is not set up in this database: there is nothing to remove.");
      return EXIT_STATUS.ok;
    }
    const { database } = opened;
    if (options.purge) await requirePurgeable(cli, opened, options);
    const stored = (await replicas.storedRows(database)).filter(
      ({ pipeline }) => names.length === 0 || names.includes(pipeline),
    );
    const dropped = await droppable(cli, database, { stored, options });
    await takeTriggers(cli, database, names);
    await dropRows(cli, database, dropped);
    if (options.purge) await purge(cli, opened.database);
    else await sayWhoWorks(cli, opened.database);
    return EXIT_STATUS.ok;
  });
}

/** Pushed rows that go, on your word alone: nothing else has them. @throws RowmillError `refused` */
async function droppable(
  { terminal }: Cli,
  database: Database,
  { stored, options }: { readonly stored: readonly replicas.StoredRows[]; readonly options: UninstallOptions },
): Promise<readonly replicas.StoredRows[]> {
  const filled = stored.filter(({ rows }) => rows > 0);
  const empty = stored.filter(({ rows }) => rows === 0);
  if (filled.length === 0) return options.purge || options.pushedRows ? empty : [];
  for (const each of filled)
    terminal.note(
      `! ${storedText(each)}: ${each.isCopy ? "a copy of its source" : "the only copy of what was pushed"}.`,
    );
  const isWanted =
    options.pushedRows === true ||
    (terminal.interactive && options.yes !== true && (await askYesNo("Drop these rows too?")));
  if (!isWanted) {
    const later = options.purge ? `drop schema ${REPLICA_SCHEMA} cascade;` : "rowmill uninstall --pushed-rows";
    terminal.note(`They stay, and a later rowmill up finds them. To drop them: ${later}`);
    return options.purge ? empty : [];
  }
  const batches = await uninstallation.countInFlightBatches(
    database,
    filled.map(({ pipeline }) => pipeline),
  );
  if (batches === 0) return stored;
  throw new RowmillError(
    "refused",
    `Nothing was removed, because paid answers would be lost: ${counted(batches, "batch")} in flight for pushed rows.`,
    { hints: ["Collect them first: rowmill up --until-idle"] },
  );
}

function storedText({ pipeline, rows, size }: replicas.StoredRows): string {
  return `${replicaTable(pipeline)} has ${counted(rows, "row")}, ${size}`;
}

async function dropRows({ terminal }: Cli, database: Database, dropped: readonly replicas.StoredRows[]): Promise<void> {
  for (const { pipeline, rows, isCopy } of dropped) {
    await replicas.dropTable(database, pipeline);
    terminal.print(`✓ Dropped ${replicaTable(pipeline)} with ${counted(rows, isCopy ? "copied row" : "pushed row")}.`);
  }
  if (dropped.length > 0 && (await replicas.dropEmptySchema(database)))
    terminal.print(`✓ Dropped the schema ${REPLICA_SCHEMA}, which is empty.`);
}

async function takeTriggers({ terminal }: Cli, database: Database, names: readonly string[]): Promise<void> {
  // Also those that were uninstalled before: a crash may have left some of their triggers.
  const wanted = names.length === 0 ? await pipelines.all(database) : await registeredPipelines(database, names);
  const removed = await uninstall(
    database,
    wanted.map((row) => row.id),
  );
  if (removed === 0) {
    const which = names.length === 0 ? "no pipeline" : "none of these pipelines";
    terminal.print(`✓ There is nothing to remove: ${which} has triggers on your tables.`);
    return;
  }
  const whose = names.length === 0 ? counted(removed, "pipeline") : wanted.map((row) => row.name).join(", ");
  terminal.print(`✓ Removed the triggers of ${whose}. Your tables and answers are unchanged.`);
}

async function sayWhoWorks({ terminal }: Cli, database: Database): Promise<void> {
  if ((await overview.livingWorkers(database)).length > 0)
    terminal.note(
      "! A worker is still running: it collects what is in flight and sends nothing more. Stop it when that is done.",
    );
}

/** @throws RowmillError `refused` when something would be lost, or when no one can be asked. */
async function requirePurgeable(cli: Cli, opened: OpenedDatabase, options: UninstallOptions): Promise<void> {
  const { database } = opened;
  const batches = await uninstallation.countInFlightBatches(database);
  if (batches > 0) {
    throw new RowmillError(
      "refused",
      `Nothing was removed, because paid answers would be lost: ${counted(batches, "batch")} in flight.`,
      { hints: ["Collect them first: rowmill up --until-idle"] },
    );
  }
  const workers = await overview.livingWorkers(database);
  if (workers.length > 0) {
    const pids = workers.map((worker) => `${worker.pid} on ${worker.host}`).join(", ");
    throw new RowmillError("refused", `A worker is running (process ${pids}), so nothing was removed.`, {
      hints: ["Stop it first. A killed worker counts as running for 20 seconds."],
    });
  }
  const foreign = await uninstallation.foreignRelations(database);
  if (foreign.length > 0) {
    throw new RowmillError(
      "refused",
      `Nothing was removed, because other objects would be dropped too: ${foreign.join(", ")}.`,
      { hints: ["Move them out of the schemas rowmill and rowmill_worker, or drop them yourself."] },
    );
  }
  if (options.yes !== true) await requireYes(cli, opened);
}

async function requireYes({ terminal }: Cli, { place }: OpenedDatabase): Promise<void> {
  if (!terminal.interactive) {
    throw noTerminal("nothing was removed", "To purge without a question: rowmill uninstall --purge --yes");
  }
  const question =
    `This deletes the record of all requests, answers and costs in ${place}. ` +
    "If you set Rowmill up again, it sends and pays for all rows again.";
  if (await askTyped(question, "purge")) return;
  throw new RowmillError("refused", "Nothing was removed.");
}

async function purge({ terminal }: Cli, database: Database): Promise<void> {
  await uninstallation.dropSchemas(database);
  terminal.print("✓ Dropped the schemas rowmill and rowmill_worker.");
  const role = await uninstallation.dropArrivalsRole(database);
  if (role === "dropped") terminal.print("✓ Dropped the role rowmill_arrivals.");
  if (role === "kept")
    terminal.note(
      "The role rowmill_arrivals stays: another database on this server needs it, or this user may not drop it.",
    );
}
