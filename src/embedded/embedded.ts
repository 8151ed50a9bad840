/**
 * Owns reaching the embedded database of a data folder: attaches to its running server, or starts one. The server
 * outlives the process that started it, and ends shortly after the last client. Two processes may call this at the same
 * time: one server wins the folder's lock, and both attach to it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { Attachment } from "./attachment.js";
import { EMBEDDED_DATABASE, embeddedPaths, EMBEDDED_PORT, EMBEDDED_USER } from "./embedded-paths.js";
import { exists, hasCode } from "../model/file-errors.js";
import { acquireLivingLock, connectToHolder, holderOf, type LivingLock, type LockHolder } from "./living-lock.js";
import { SERVER_LOCK_NAME } from "./server-options.js";
import { RowmillError } from "../model/errors.js";

/** The first start creates the cluster: 3 to 5 s on two cores, more on a small machine. */
const TIMEOUT_MS_DEFAULT = 60_000;
const GRACE_MS_DEFAULT = 2_000;
const TRANSACTION_IDLE_MS_DEFAULT = 60_000;
/** For the last statement, the checkpoint and the end. */
const STOP_MS = 30_000;

export interface OpenEmbeddedOptions {
  /** On a local disk. Created with mode 0700 if it does not exist. */
  readonly dataDir: string;
  /** For starting the server and creating the database. Default: a minute. */
  readonly timeoutMs?: number;
  /** How long a server started here stays after its last client. Default: 2 s. */
  readonly graceMs?: number;
  /** How long a client of a server started here may be silent in a transaction. Default: a minute. */
  readonly transactionIdleMs?: number;
}

export interface EmbeddedDatabase {
  /** For `pg`, graphile-worker and libpq. It names the socket's folder, so it works on this machine only. */
  readonly url: string;
  readonly connection: {
    readonly host: string;
    readonly port: number;
    readonly user: string;
    readonly database: string;
    readonly ssl: false;
  };
  /** Releases the server, which is restarted if it dies before. Your own connections keep it alive too. */
  close(): Promise<void>;
}

/** @throws RowmillError `database_unreachable` with the server's output, or `database_timeout` */
export async function openEmbedded(options: OpenEmbeddedOptions): Promise<EmbeddedDatabase> {
  const paths = await embeddedPaths(options.dataDir);
  const attachment = new Attachment({
    paths,
    timeoutMs: options.timeoutMs ?? TIMEOUT_MS_DEFAULT,
    server: {
      dataDir: paths.dataDir,
      graceMs: options.graceMs ?? GRACE_MS_DEFAULT,
      transactionIdleMs: options.transactionIdleMs ?? TRANSACTION_IDLE_MS_DEFAULT,
    },
  });
  await attachment.open();
  const connection = {
    host: paths.socketDir,
    port: EMBEDDED_PORT,
    user: EMBEDDED_USER,
    database: EMBEDDED_DATABASE,
    ssl: false,
  } as const;
  // The host `localhost` is not used, but without one the URL class refuses the user's name.
  const url =
    `postgresql://${EMBEDDED_USER}@localhost:${EMBEDDED_PORT}/${EMBEDDED_DATABASE}` +
    `?host=${encodeURIComponent(paths.socketDir)}&sslmode=disable`;
  return { url, connection, close: async () => attachment.close() };
}

/** Stops the server of a data folder, if it runs, and waits until it is gone. Its clients lose it. */
export async function stopEmbedded(options: { readonly dataDir: string }): Promise<void> {
  if (!(await exists(options.dataDir))) return;
  const paths = await embeddedPaths(options.dataDir);
  const socket = await connectToHolder(paths.socketDir, SERVER_LOCK_NAME);
  if (socket === null) return;
  const holder = await holderOf(paths.socketDir, SERVER_LOCK_NAME);
  if (holder !== null) terminate(holder.pid);
  socket.resume();
  // Only the operating system closes it, at the end of the process.
  const gone = new Promise<"gone">((resolve) => socket.once("close", () => resolve("gone")));
  const patience = new AbortController();
  const outcome = await Promise.race([gone, sleep(STOP_MS, "late" as const, { signal: patience.signal })]);
  patience.abort();
  if (outcome === "gone") return;
  socket.destroy();
  throw new RowmillError(
    "database_timeout",
    `The embedded database in ${paths.dataDir} did not stop within ${STOP_MS} ms.`,
    {
      hints: [`Its process id is ${holder?.pid ?? "in the newest server.<n>/holder.json"}.`],
    },
  );
}

/**
 * The right to be the one worker process: two would wait for the one session. Held until `release()` or the death of
 * this process. `heldBy` is null if the other holder is unknown. `command`: shown to the next process, without secrets.
 */
export async function acquireWorkerLock(options: {
  readonly dataDir: string;
  readonly command: string;
}): Promise<LivingLock | { readonly heldBy: LockHolder | null }> {
  const { socketDir } = await embeddedPaths(options.dataDir);
  const attempt = await acquireLivingLock({
    folder: socketDir,
    name: "worker",
    holder: { pid: process.pid, startedAt: new Date().toISOString(), command: options.command },
    onConnection: (socket) => socket.destroy(),
  });
  return attempt.kind === "held" ? { heldBy: attempt.by } : attempt.lock;
}

function terminate(pid: number): void {
  try {
    process.kill(pid, "SIGTERM");
  } catch (error) {
    if (!hasCode(error, "ESRCH")) throw error;
  }
}
