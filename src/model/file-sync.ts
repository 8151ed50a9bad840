/** Owns fsync of files and folders. */
import { open } from "node:fs/promises";
import { hasCode } from "./file-errors.js";

/** Syncs the names in a folder, if the file system can. */
export async function syncFolder(path: string): Promise<void> {
  try {
    await syncEntry(path);
  } catch (error) {
    if (!hasCode(error, "EBADF", "EINVAL")) throw error;
  }
}

export async function syncEntry(path: string): Promise<void> {
  const opened = await open(path, "r");
  try {
    await opened.sync();
  } finally {
    await opened.close();
  }
}
