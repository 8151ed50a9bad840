/**
 * Owns the gateway's folder: its layout, its lock, and atomic writes of small JSON objects. A crash leaves at most a
 * `.tmp` file or a stale lock: objects are renamed into place, and the lock of a dead process is taken over. Nothing is
 * fsynced: a power cut may lose the last moments, a killed process does not.
 */
import { closeSync, mkdirSync, openSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { RowmillError } from "../../model/errors.js";
import { hasCode } from "../../model/file-errors.js";

export interface StateDir {
  readonly filesDir: string;
  readonly batchesDir: string;
  readonly workDir: string;
  readonly root: string;
  /** Releases the lock. */
  close(): void;
}

/** Folders that this process has locked: a lock file with our pid may also be from a previous process with it. */
const openHere = new Set<string>();

/** Creates the folder if missing, and locks it. @throws RowmillError `refused` while another gateway holds it */
export function openStateDir(dataDir: string): StateDir {
  const root = resolve(dataDir);
  const paths = {
    filesDir: join(root, "files"),
    batchesDir: join(root, "batches"),
    workDir: join(root, "work"),
    root,
  };
  for (const dir of [root, paths.filesDir, paths.batchesDir, paths.workDir]) {
    mkdirSync(dir, { recursive: true, mode: 0o700 });
  }
  const lockPath = join(root, "lock");
  takeLock(root, lockPath);
  removeLeftovers(root);
  removeLeftovers(paths.filesDir);
  removeLeftovers(paths.batchesDir);
  return {
    ...paths,
    close: () => {
      openHere.delete(root);
      rmSync(lockPath, { force: true });
    },
  };
}

function takeLock(root: string, lockPath: string): void {
  if (tryLock(root, lockPath)) return;
  const holder = Number(readFileSync(lockPath, "utf8"));
  // Our own pid, but not our lock: a previous process with the same number, as in restarted containers.
  const held = holder === process.pid ? openHere.has(root) : isAlive(holder);
  if (!held) rmSync(lockPath, { force: true });
  if (held || !tryLock(root, lockPath)) {
    throw new RowmillError("refused", `Another gateway (process ${holder}) uses ${root}.`, {
      hints: ["Stop it, or start this gateway with another data folder."],
    });
  }
}

function tryLock(root: string, lockPath: string): boolean {
  try {
    const fd = openSync(lockPath, "wx", 0o600);
    writeFileSync(fd, String(process.pid));
    closeSync(fd);
  } catch (error) {
    if (hasCode(error, "EEXIST")) return false;
    throw error;
  }
  openHere.add(root);
  return true;
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false;
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return hasCode(error, "EPERM");
  }
}

function removeLeftovers(dir: string): void {
  for (const name of readdirSync(dir)) {
    if (name.endsWith(".tmp")) rmSync(join(dir, name), { force: true });
  }
}

/**
 * Writes a small object so that readers and restarts see all of it or the previous one. Synchronous, so that it is on
 * disk before the reply, and two writes of one object cannot overtake each other.
 */
export function writeJsonAtomic(path: string, value: object): void {
  const temporary = `${path}.tmp`;
  writeFileSync(temporary, JSON.stringify(value), { mode: 0o600 });
  renameSync(temporary, path);
}

/** All objects of a folder, unchecked. @throws RowmillError `internal` with the path of one that is not JSON */
export function readJsonObjects(dir: string): unknown[] {
  return readdirSync(dir)
    .filter((name) => name.endsWith(".json"))
    .map((name) => {
      const path = join(dir, name);
      try {
        return JSON.parse(readFileSync(path, "utf8")) as unknown;
      } catch (cause) {
        throw new RowmillError("internal", `The gateway's record ${path} is not JSON.`, {
          cause,
          hints: ["Delete that file. The file or batch that it describes is lost."],
        });
      }
    });
}
