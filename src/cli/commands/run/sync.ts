/** `rowmill sync`: wants a reading of a source elsewhere now, or lets what vanished there be deleted here. */
import { RowmillError } from "../../../model/errors.js";
import * as pipelines from "../../../store/pipelines/pipelines.js";
import * as syncOverview from "../../../store/syncs/sync-overview.js";
import * as syncs from "../../../store/syncs/syncs.js";
import type { Cli, ProjectOptions } from "../../cli.js";
import { noteMissingWorker, registeredPipelines, withProjectLedger } from "../../project.js";
import { EXIT_STATUS } from "../../screen/exit-status.js";
import { counted } from "../../screen/text.js";

interface SyncOptions extends ProjectOptions {
  readonly full?: true;
  readonly acceptDeletions?: true;
}

export async function runSync(cli: Cli, names: readonly string[], options: SyncOptions): Promise<number> {
  return withProjectLedger(cli.terminal, options, async ({ database, project }) => {
    const known = new Set((await syncOverview.list(database)).map(({ pipeline }) => pipeline));
    const wanted = await registeredPipelines(database, names);
    const [other] = wanted.filter(({ name }) => !known.has(name));
    if (names.length > 0 && other !== undefined) throw notSynced(other.name);
    const synced = wanted.filter(({ name }) => known.has(name));
    if (synced.length === 0) throw notSynced(null);
    for (const { id, name } of synced) {
      if (options.acceptDeletions === true) {
        const rows = await database.transaction(async (tx) => {
          const gone = await syncs.acceptDeletions(tx, name);
          if (gone !== "reading") await pipelines.resume(tx, id, "deletions");
          return gone;
        });
        cli.terminal.print(acceptedText(name, rows));
        continue;
      }
      await syncs.want(database, name, { full: options.full === true });
      const what = options.full === true ? "all rows" : "its source";
      cli.terminal.print(`✓ ${name}: ${what} will be read now`);
    }
    await noteMissingWorker(project, database);
    return EXIT_STATUS.ok;
  });
}

function acceptedText(name: string, rows: number | "reading"): string {
  if (rows === "reading")
    return `! ${name}: its source is being read, which may find the rows again. Do this once more when that is done.`;
  return rows === 0
    ? `✓ ${name}: nothing waits to be deleted`
    : `✓ ${name}: ${counted(rows, "row")} will be deleted here too`;
}

function notSynced(name: string | null): RowmillError {
  const wrong =
    name === null
      ? "No pipeline's rows are read from elsewhere."
      : `The rows of ${name} are not read from elsewhere, or no rowmill up has begun to.`;
  return new RowmillError("usage", wrong, { hints: ["To compare a table of this database again: rowmill sweep"] });
}
