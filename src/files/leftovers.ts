/** Tells the temporary files of processes that were killed, by the process in their names. */
import { hasCode } from "../model/file-errors.js";

/** `name` ends in `.rowmill-` and the number of a process. One that still runs keeps its file. */
export function isLeftover(name: string): boolean {
  const pid = Number(/\.rowmill-(\d+)$/.exec(name)?.[1] ?? Number.NaN);
  return Number.isInteger(pid) && pid !== process.pid && !isAlive(pid);
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !hasCode(error, "ESRCH");
  }
}
