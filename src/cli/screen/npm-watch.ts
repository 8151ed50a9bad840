/**
 * Notices that npm is gone, which started this process. `kill` of `npx rowmill up` ends npm and may leave its shell
 * alive, so that the worker would continue without anyone who knows of it. Knows Linux and macOS.
 */
import { execFile } from "node:child_process";
import { readFile } from "node:fs/promises";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";
import { hasCode } from "../../model/file-errors.js";

const LOOK_EVERY_MS = 1_000;
const PS_MS_MAX = 2_000;
const NPM = /(?:^|[/\s])(?:npm|npx)(?:$|[\s.]|-cli\.js)/;
const SHELL = /(?:^|[/\s-])(?:ba|da|z|k|a)?sh(?:$|\s)/;

export interface ProcessFacts {
  readonly parent: number;
  readonly command: string;
}

/** Null: there is no such process, or nothing can be known of it. */
export type ReadProcess = (pid: number) => Promise<ProcessFacts | null>;

/** The parent, or the parent of the parent, if that is a shell. Null: npm did not start this process. */
export async function findNpm(
  parent: number,
  read: ReadProcess,
): Promise<{ readonly npm: number; readonly shell: number | null } | null> {
  const first = await read(parent);
  if (first === null) return null;
  if (NPM.test(first.command)) return { npm: parent, shell: null };
  if (!SHELL.test(first.command) || first.parent <= 0) return null;
  const second = await read(first.parent);
  return second !== null && NPM.test(second.command) ? { npm: first.parent, shell: parent } : null;
}

/** Calls `onGone` once npm is gone, if it is what started this process. Ends at the signal; never rejects. */
export async function watchNpm(signal: AbortSignal, onGone: () => void): Promise<void> {
  // npm sets it for what it runs, and children of such programs inherit it.
  if ((process.env["npm_execpath"] ?? process.env["npm_command"]) === undefined) return;
  const found = await findNpm(process.ppid, readProcess);
  if (found === null) return;
  const { npm, shell } = found;
  const parent = shell ?? npm;
  while (!signal.aborted) {
    if (process.ppid !== parent || !isAlive(npm) || (shell !== null && (await isOrphan(shell, npm)))) return onGone();
    await sleep(LOOK_EVERY_MS, undefined, { signal, ref: false }).catch(() => undefined);
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    // It lives, and belongs to someone else.
    return hasCode(error, "EPERM");
  }
}

/** Also true while npm has ended but is still a zombie: its children already have another parent. */
async function isOrphan(shell: number, npm: number): Promise<boolean> {
  if (process.platform !== "linux") return false;
  const facts = await readProcess(shell);
  return facts === null || facts.parent !== npm;
}

async function readProcess(pid: number): Promise<ProcessFacts | null> {
  try {
    return process.platform === "linux" ? await fromProc(pid) : await fromPs(pid);
  } catch {
    // It is gone, or this system does not tell: then nothing is watched.
    return null;
  }
}

async function fromProc(pid: number): Promise<ProcessFacts | null> {
  // `pid (name) state parent …`, and the name may hold anything.
  const stat = await readFile(`/proc/${pid}/stat`, "utf8");
  const parent = Number(stat.slice(stat.lastIndexOf(")") + 2).split(" ")[1]);
  const command = (await readFile(`/proc/${pid}/cmdline`, "utf8")).replaceAll("\u0000", " ");
  return Number.isSafeInteger(parent) ? { parent, command: command.trim() } : null;
}

async function fromPs(pid: number): Promise<ProcessFacts | null> {
  const args = ["-o", "ppid=,command=", "-p", String(pid)];
  const { stdout } = await promisify(execFile)("ps", args, { timeout: PS_MS_MAX });
  const [, parent = "", command = ""] = /^\s*(\d+)\s+(.*)/.exec(stdout) ?? [];
  return parent === "" ? null : { parent: Number(parent), command };
}
