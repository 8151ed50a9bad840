/**
 * Owns where a run keeps its temporary files: in memory where there is room. Databases come and go by the hundred; on a
 * disk, making their files takes a third of the run.
 */
import { accessSync, constants, statfsSync } from "node:fs";

const MEMORY_FOLDER = "/dev/shm";
/** A run needs up to 1 GiB. Containers often have 64 MiB there. */
const ROOM_BYTES_MIN = 4 * 1024 ** 3;

/** Before workers and servers start, which inherit it. A TMPDIR of the caller's stays. */
export function keepFilesInMemory(): void {
  if (process.env["TMPDIR"] === undefined && hasRoom(MEMORY_FOLDER)) process.env["TMPDIR"] = MEMORY_FOLDER;
}

function hasRoom(folder: string): boolean {
  try {
    accessSync(folder, constants.W_OK | constants.X_OK);
    const { bavail, bsize } = statfsSync(folder);
    return bavail * bsize >= ROOM_BYTES_MIN;
  } catch {
    // Not Linux, or not for this user: the disk serves too.
    return false;
  }
}
