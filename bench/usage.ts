/**
 * What processes use: CPU of children that have ended, CPU of a PostgreSQL's whole tree, peak memory. From `/proc`,
 * so on Linux only: elsewhere each of them is null, and so is what is made of it.
 */
import { readdirSync, readFileSync } from "node:fs";

/** `USER_HZ`: a hundredth of a second on every platform that Node.js runs on. */
const MS_PER_TICK = 10;
const KILOBYTE = 1_024;

export const hasProc = process.platform === "linux";

/** Why the columns of CPU and memory are left out; null: they are not. */
export const withoutProc = hasProc
  ? null
  : `CPU and memory are left out: they are read from /proc, which ${process.platform} does not have.`;

interface ProcessTimes {
  readonly parent: number;
  /** Of itself and of its children that have ended. */
  readonly ms: number;
  /** Of its children that have ended, and theirs. */
  readonly endedMs: number;
}

/** Milliseconds of all children of this process that have ended and were waited for, and of theirs. */
export function endedChildrenMs(): number | null {
  return timesOf("self")?.endedMs ?? null;
}

/**
 * Milliseconds of a process, of what it has started, dead or alive, as of now; null also when it is not there any
 * more.
 */
export function treeMs(pid: number): number | null {
  const root = timesOf(String(pid));
  if (root === null) return null;
  const children = readdirSync("/proc")
    .filter((name) => /^\d+$/.test(name))
    .flatMap((name) => timesOf(name) ?? [])
    .filter(({ parent }) => parent === pid);
  return children.reduce((sum, { ms }) => sum + ms, root.ms);
}

/** Of a backend the postmaster. */
export function parentOf(pid: number): number | null {
  return timesOf(String(pid))?.parent ?? null;
}

/** The most memory that a process had so far, in bytes. */
export function peakMemory(pid: number): number | null {
  const [, kilobytes] = /^VmHWM:\s+(\d+) kB$/m.exec(read(`${pid}/status`) ?? "") ?? [];
  return kilobytes === undefined ? null : Number(kilobytes) * KILOBYTE;
}

/** Null: it has gone. */
function timesOf(pid: string): ProcessTimes | null {
  const text = read(`${pid}/stat`);
  // A name in parentheses goes before, and may hold anything.
  const fields = text?.slice(text.lastIndexOf(")") + 2).split(" ");
  if (fields === undefined) return null;
  const [parent, ...rest] = [fields[1], ...fields.slice(11, 15)].map(Number);
  const [user = 0, system = 0, endedUser = 0, endedSystem = 0] = rest.map((ticks) => ticks * MS_PER_TICK);
  const endedMs = endedUser + endedSystem;
  return { parent: parent ?? 0, ms: user + system + endedMs, endedMs };
}

function read(path: string): string | null {
  if (!hasProc) return null;
  try {
    return readFileSync(`/proc/${path}`, "utf8");
  } catch {
    // It ended between being listed and being read.
    return null;
  }
}
