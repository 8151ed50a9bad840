/**
 * Owns a lock that only a living process can hold: the operating system frees it at the holder's death, kill -9
 * included.
 *
 * A lock is a folder `<name>.<generation>` with a listening socket `s` and `holder.json`. The highest generation is
 * held while its socket accepts connections. A process that finds it dead adds the next one by one rename of a folder
 * that already listens, which fails for all but the first. (To remove a dead socket and bind it again, as is usual,
 * would let a slow process remove the socket of a faster one.)
 */
import { mkdtemp, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { connect, createServer, type Socket } from "node:net";
import { once } from "node:events";
import { join } from "node:path";
import { hasCode } from "../model/file-errors.js";
import { RowmillError } from "../model/errors.js";

/** An attempt fails only if another process made progress. */
const ATTEMPTS_MAX = 50;
/** Old generations are kept so that a slow process sees that it is late. */
const GENERATIONS_KEPT = 16;

export interface LockHolder {
  readonly pid: number;
  /** ISO 8601, UTC. */
  readonly startedAt: string;
  readonly command: string;
}

export interface LivingLock {
  /** Where the lock listens; `onConnection` gets the connections. */
  readonly socketPath: string;
  /** Frees the lock at once. Open connections stay with their owner. */
  release(): void;
}

export type LockAttempt =
  | { readonly kind: "acquired"; readonly lock: LivingLock }
  /** `by` is null if the holder's description is unreadable. */
  | { readonly kind: "held"; readonly by: LockHolder | null };

export interface LockRequest {
  /** Our own folder on a local disk, short enough for a socket's path. */
  readonly folder: string;
  readonly name: string;
  readonly holder: LockHolder;
  readonly onConnection: (socket: Socket) => void;
}

/** Never waits for a holder, but returns who it is. */
export async function acquireLivingLock(request: LockRequest): Promise<LockAttempt> {
  const { folder, name } = request;
  for (let attempt = 1; attempt <= ATTEMPTS_MAX; attempt += 1) {
    const latest = await latestGeneration(folder, name);
    if (latest > 0 && (await isHeld(folder, name, latest))) {
      return { kind: "held", by: await readHolder(folder, name, latest) };
    }
    const lock = await claim(request, latest + 1);
    if (lock !== null) return { kind: "acquired", lock };
  }
  throw new RowmillError("embedded_in_use", `The lock "${name}" in ${folder} changed hands ${ATTEMPTS_MAX} times.`, {
    hints: ["Find out which processes start and stop repeatedly on this embedded database."],
  });
}

/** A connection to the living holder, or null. It closes at the holder's death. */
export async function connectToHolder(folder: string, name: string): Promise<Socket | null> {
  const latest = await latestGeneration(folder, name);
  return latest === 0 ? null : tryConnect(join(folder, `${name}.${latest}`, "s"));
}

export async function holderOf(folder: string, name: string): Promise<LockHolder | null> {
  const latest = await latestGeneration(folder, name);
  if (latest === 0 || !(await isHeld(folder, name, latest))) return null;
  return readHolder(folder, name, latest);
}

async function claim(request: LockRequest, generation: number): Promise<LivingLock | null> {
  const { folder, name, holder } = request;
  const unfinished = await mkdtemp(join(folder, `${name}-`));
  const target = join(folder, `${name}.${generation}`);
  const server = createServer(request.onConnection).unref();
  try {
    await writeFile(join(unfinished, "holder.json"), JSON.stringify(holder));
    server.listen(join(unfinished, "s"));
    await once(server, "listening");
    await rename(unfinished, target);
  } catch (error) {
    server.close();
    await rm(unfinished, { recursive: true, force: true });
    if (hasCode(error, "ENOTEMPTY", "EEXIST")) return null;
    throw error;
  }
  // A process that slept since it read the folder may have added a generation that was removed as old.
  if ((await latestGeneration(folder, name)) > generation) {
    server.close();
    await rm(target, { recursive: true, force: true });
    return null;
  }
  await removeOld(folder, name, generation);
  return { socketPath: join(target, "s"), release: () => void server.close() };
}

async function generations(folder: string, name: string): Promise<number[]> {
  const entries = await readdir(folder);
  return entries.flatMap((entry) => {
    const match = entry.startsWith(`${name}.`) ? /^[1-9][0-9]{0,14}$/.exec(entry.slice(name.length + 1)) : null;
    return match === null ? [] : [Number(match[0])];
  });
}

async function latestGeneration(folder: string, name: string): Promise<number> {
  return (await generations(folder, name)).reduce((highest, one) => Math.max(highest, one), 0);
}

async function removeOld(folder: string, name: string, current: number): Promise<void> {
  for (const generation of await generations(folder, name)) {
    if (generation > current - GENERATIONS_KEPT) continue;
    await rm(join(folder, `${name}.${generation}`), { recursive: true, force: true });
  }
}

async function isHeld(folder: string, name: string, generation: number): Promise<boolean> {
  const socket = await tryConnect(join(folder, `${name}.${generation}`, "s"));
  socket?.destroy();
  return socket !== null;
}

/** Null if no one listens. A copy of the folder, such as a backup, may lack the socket's file. */
async function tryConnect(path: string): Promise<Socket | null> {
  const socket = connect(path);
  try {
    await once(socket, "connect");
    // A holder's death may look like a reset; `close` follows.
    socket.on("error", () => socket.destroy());
    return socket;
  } catch (error) {
    // ECONNRESET: it closed while we connected.
    if (hasCode(error, "ECONNREFUSED", "ECONNRESET", "ENOENT", "ENOTSOCK")) return null;
    throw new RowmillError("database_unreachable", `Rowmill cannot connect to the socket ${path}.`, {
      cause: error,
      hints: ["The folder must be on a local disk and belong to the user that runs Rowmill."],
    });
  }
}

async function readHolder(folder: string, name: string, generation: number): Promise<LockHolder | null> {
  try {
    const text = await readFile(join(folder, `${name}.${generation}`, "holder.json"), "utf8");
    return parseHolder(JSON.parse(text));
  } catch (error) {
    if (hasCode(error, "ENOENT") || error instanceof SyntaxError) return null;
    throw error;
  }
}

function parseHolder(value: unknown): LockHolder | null {
  if (typeof value !== "object" || value === null) return null;
  if (!("pid" in value) || !("startedAt" in value) || !("command" in value)) return null;
  const { pid, startedAt, command } = value;
  if (typeof pid !== "number" || typeof startedAt !== "string" || typeof command !== "string") return null;
  return { pid, startedAt, command };
}
