/** Owns the right to be the one worker process on an embedded database: two workers would wait for its one session. */
import { embeddedPaths } from "./embedded-paths.js";
import { acquireLivingLock, type LockHolder } from "./living-lock.js";

export interface WorkerLock {
  release(): void;
}

export interface WorkerLockOptions {
  readonly dataDir: string;
  /** The command, shown to the next process, such as `rowmill up`. No secrets. */
  readonly command: string;
}

/** Held until `release()` or the death of this process. `heldBy` is null if the other holder is unknown. */
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
