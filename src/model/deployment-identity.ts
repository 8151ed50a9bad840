/** Which database a ledger is in, and what the words are when it is another one than it was. Pure. */

/** Null: not known, and compared with nothing. */
export interface DeploymentIdentity {
  /** Of the server's cluster; a replica has the same one. */
  readonly systemIdentifier: string | null;
  readonly databaseOid: string | null;
  readonly databaseName: string;
  /** Of an embedded database. */
  readonly folder: string | null;
  readonly folderInode: string | null;
}

/** What was seen, as a sentence; null: it is the same database, whatever it is called. */
export function differenceOf(recorded: DeploymentIdentity, present: DeploymentIdentity): string | null {
  const was = `This ledger was in the database "${recorded.databaseName}"`;
  if (differ(recorded.systemIdentifier, present.systemIdentifier))
    return `${was} of another server (its identifier was ${recorded.systemIdentifier}, and is ${present.systemIdentifier}).`;
  if (differ(recorded.databaseOid, present.databaseOid))
    return `${was} (oid ${recorded.databaseOid}), and is in "${present.databaseName}" (oid ${present.databaseOid}).`;
  // Either alone changes without a copy: by a mount under another path, by a file system that numbers anew.
  if (
    differ(recorded.folder, present.folder) &&
    (recorded.folderInode === null || differ(recorded.folderInode, present.folderInode))
  )
    return `This ledger was in the folder ${recorded.folder}, and is in ${present.folder}.`;
  return null;
}

function differ(recorded: string | null, present: string | null): boolean {
  return recorded !== null && present !== null && recorded !== present;
}

/** Of these batches of ours at the provider the ledger knows nothing, or nothing of their creation. */
export function unknownBatchesText(providerBatchIds: readonly string[]): string {
  const shown = providerBatchIds.slice(0, BATCHES_SHOWN).join(", ");
  const more = providerBatchIds.length > BATCHES_SHOWN ? ", …" : "";
  return providerBatchIds.length === 1
    ? `The provider has a batch of this ledger that it never created (${shown}).`
    : `The provider has ${providerBatchIds.length} batches of this ledger that it never created (${shown}${more}).`;
}

const BATCHES_SHOWN = 5;

/** The reason of the pause. */
export function suspicionText(seen: string): string {
  return `${seen} It was restored from a backup, moved, or copied. Nothing is sent, collected or deleted until a person says which. If the former database is gone: rowmill deployment --restored. If it lives on: rowmill deployment --copy`;
}
