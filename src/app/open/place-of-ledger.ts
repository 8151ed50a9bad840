/**
 * Notices that the ledger is in another database than before: a restored dump, a copy on the same server, a copied
 * folder; not a rename or a failover. A physical copy has the same identity: only the provider's list shows that one.
 */
import { realpath, stat } from "node:fs/promises";
import { differenceOf, suspicionText, type DeploymentIdentity } from "../../model/deployment-identity.js";
import type { ProjectConfig } from "../../model/pipeline.js";
import type { Database, Reader } from "../../postgres/database.js";
import * as deployment from "../../store/ledger/deployment.js";
import { embeddedFolder } from "./open-database.js";

/** What of a config says where its database is. */
export type Place = Pick<ProjectConfig, "database" | "file">;

/** Where the ledger is, and how that differs from before; null: it does not. Only reads. */
export async function lookAtPlace(
  client: Reader,
  config: Place,
): Promise<{ identity: DeploymentIdentity; difference: string | null }> {
  const identity = await deployment.presentIdentity(client, await folderOf(config));
  return { identity, difference: differenceOf(await deployment.recordedIdentity(client), identity) };
}

/** When a worker opens the ledger. Repeatable; a suspicion stays until you decide. */
export async function noticeMove(database: Database, config: Place): Promise<void> {
  const look = async (tx: Reader) => ((await deployment.suspicion(tx)) === null ? await lookAtPlace(tx, config) : null);
  const seen = await database.transaction(look, { readOnly: true });
  if (seen === null) return;
  const { identity, difference } = seen;
  if (difference === null) await deployment.recordIdentity(database, identity);
  else await deployment.suspect(database, suspicionText(difference));
}

async function folderOf(config: Place): Promise<Pick<DeploymentIdentity, "folder" | "folderInode">> {
  if (config.database.kind === "server") return { folder: null, folderInode: null };
  const folder = embeddedFolder(config);
  return { folder: await realpath(folder), folderInode: String((await stat(folder, { bigint: true })).ino) };
}
