/** Names temporary files, and tells those of processes that were killed by the process in their names. */
import { randomBytes } from "node:crypto";
import { readdir, unlink } from "node:fs/promises";
import { join } from "node:path";
import { hasCode } from "../model/file-errors.js";

/** In a container, each process may have the same number. */
const PROCESS_TOKEN = randomBytes(4).toString("hex");
const SUFFIX = /\.rowmill-(\d+)-([0-9a-f]{8})-\d+$/;

let made = 0;

/** The end of a name that no other file has. */
export function temporarySuffix(): string {
  made += 1;
  return `.rowmill-${process.pid}-${PROCESS_TOKEN}-${made}`;
}

/** Of killed processes. One that cannot be removed does no harm, and is tried again by the next call. */
export async function removeLeftovers(folder: string, start: string): Promise<void> {
  for (const name of await readdir(folder)) if (isLeftover(name, start)) await dropTemporary(join(folder, name));
}

/** The same for files of any name. */
export async function removeAllLeftovers(folder: string): Promise<void> {
  for (const name of await readdir(folder)) if (isLeftover(name, "")) await dropTemporary(join(folder, name));
}

/** Where it fails, `removeLeftovers` of a later process removes the file. */
export async function dropTemporary(path: string): Promise<void> {
  await unlink(path).catch(() => undefined);
}

/** `name` begins like this, and was made by a process that is gone. One that still runs keeps its file. */
function isLeftover(name: string, start: string): boolean {
  if (!name.startsWith(start)) return false;
  const found = SUFFIX.exec(name);
  if (found === null || (start !== "" && found.index !== start.length)) return false;
  const [, pid, token] = found;
  return Number(pid) === process.pid ? token !== PROCESS_TOKEN : !isAlive(Number(pid));
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !hasCode(error, "ESRCH");
  }
}
