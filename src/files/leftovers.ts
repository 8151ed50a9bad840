/** Names temporary files, and tells those of processes that were killed by the process in their names. */
import { randomBytes } from "node:crypto";
import { hasCode } from "../model/file-errors.js";

/** In a container, each process may have the same number. */
const PROCESS_TOKEN = randomBytes(4).toString("hex");
const SUFFIX = /^\.rowmill-(\d+)-([0-9a-f]{8})-\d+$/;

let made = 0;

/** The end of a name that no other file has. */
export function temporarySuffix(): string {
  made += 1;
  return `.rowmill-${process.pid}-${PROCESS_TOKEN}-${made}`;
}

/** `name` begins like this, and was made by a process that is gone. One that still runs keeps its file. */
export function isLeftover(name: string, start: string): boolean {
  if (!name.startsWith(start)) return false;
  const [, pid, token] = SUFFIX.exec(name.slice(start.length)) ?? [];
  if (pid === undefined) return false;
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
