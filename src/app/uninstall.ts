/** Takes the triggers of every pipeline off the user's tables. Repeatable; a crash leaves what the next call removes. */
import { removeTriggers } from "../sources/table-triggers.js";
import type { Database } from "../store/database.js";
import * as pipelines from "../store/pipelines.js";
import { markAllUninstalled } from "../store/uninstallation.js";

/** Returns how many pipelines there are. They are marked first, so that no worker puts a trigger back. */
export async function uninstallAll(database: Database): Promise<number> {
  const all = await pipelines.all(database);
  await database.transaction(markAllUninstalled);
  for (const row of all) await removeTriggers(database, row.id);
  return all.length;
}
