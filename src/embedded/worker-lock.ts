/**
 * Owns the right to be the one worker process on an embedded database. A database server has many workers; the
 * embedded one has one session, and two workers on it would only wait for each other.
 */
import { embeddedPaths } from "./embedded-paths.js";
import { acquireLivingLock, type LockHolder } from "./living-lock.js";

export interface WorkerLock {
  release(): void;
}

export interface WorkerLockOptions {
  readonly dataDir: string;
  /** What the user started, shown to whom is refused, e.g. `rowmill up`. No secrets. */
  readonly command: string;
}

/**
 * Held by this process until `release()` or its death, kill -9 included; never stale. Held by another process, it
 * says by whom; `heldBy` is null when that process cannot be named.
 */
export async function acquireWorkerLock(
  options: WorkerLockOptions,
): Promise<WorkerLock | { readonly heldBy: LockHolder | null }> {
  const { socketDir } = await embeddedPaths(options.dataDir);
  const attempt = await acquireLivingLock({
    folder: socketDir,
    name: "worker",
    holder: { pid: process.pid, startedAt: new Date().toISOString(), command: options.command },
    onConnection: (socket) => socket.destroy(),
  });
  return attempt.kind === "held" ? { heldBy: attempt.by } : attempt.lock;
}
