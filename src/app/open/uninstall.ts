/** Takes the triggers of pipelines off the user's tables. Repeatable; a crash leaves what the next call removes. */
import { removeTriggers } from "../../sources/table/triggers.js";
import * as arrivals from "../../store/requests/arrivals.js";
import type { Database } from "../../postgres/database.js";
import * as uninstallation from "../../store/ledger/uninstallation.js";

/**
 * Returns how many of these were not uninstalled before. They are marked first, so that no worker puts a trigger back; what the
 * triggers had told goes with them, because the sweep after a later `up` finds all of it.
 */
export async function uninstall(database: Database, pipelineIds: readonly number[]): Promise<number> {
  const marked = await database.transaction((tx) => uninstallation.markUninstalled(tx, pipelineIds));
  for (const id of pipelineIds) await removeTriggers(database, id);
  await arrivals.dropForeignArrivals(database);
  return marked;
}
