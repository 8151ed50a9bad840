/** Decides whether a ledger is still in the same database, and owns the words if it is not. Pure. */

/** Null: unknown, and not compared. */
export interface DeploymentIdentity {
  /** Of the server's cluster; a replica has the same one. */
  readonly systemIdentifier: string | null;
  readonly databaseOid: string | null;
  readonly databaseName: string;
  /** Of an embedded database. */
  readonly folder: string | null;
  readonly folderInode: string | null;
}

/** The difference as a sentence, or null if it is the same database, even under another name. */
export function differenceOf(recorded: DeploymentIdentity, present: DeploymentIdentity): string | null {
  const was = `This ledger was in the database "${recorded.databaseName}"`;
  if (differ(recorded.systemIdentifier, present.systemIdentifier))
    return (
      `${was} of another server ` +
      `(its identifier was ${recorded.systemIdentifier}, and is ${present.systemIdentifier}).`
    );
  if (differ(recorded.databaseOid, present.databaseOid))
    return `${was} (oid ${recorded.databaseOid}), and is in "${present.databaseName}" (oid ${present.databaseOid}).`;
  // Either alone can change without a copy: the path by a mount, the inode by a file system.
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

/** The provider has these batches of this ledger, but the ledger has no record of their creation. */
export function unknownBatchesText(providerBatchIds: readonly string[]): string {
  const shown = providerBatchIds.slice(0, BATCHES_SHOWN).join(", ");
  const more = providerBatchIds.length > BATCHES_SHOWN ? ", …" : "";
  return providerBatchIds.length === 1
    ? `The provider has a batch of this ledger that it never created (${shown}).`
    : `The provider has ${providerBatchIds.length} batches of this ledger that it never created (${shown}${more}).`;
}

const BATCHES_SHOWN = 5;

export function suspicionText(seen: string): string {
  return (
    `${seen} It was restored from a backup, moved, or copied. Rowmill sends, collects and deletes nothing until you ` +
    "say which. If the previous database is gone: rowmill deployment --restored. " +
    "If it is still in use: rowmill deployment --copy"
  );
}
