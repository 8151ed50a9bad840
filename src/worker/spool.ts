/**
 * The batch file on its way to the provider: written as a stream with mode 0600 in a folder of mode 0700, counted and hashed as
 * it goes. Losing it costs a second rendering, never money.
 */
import { createHash, type Hash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream, type WriteStream } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { RowmillError } from "../model/errors.js";
import type { Frame, SpoolFile } from "../model/provider.js";

export interface Spooled {
  readonly bytes: number;
  readonly sha256: string;
}

export interface SpoolWriter {
  readonly path: string;
  /** One request more. Waits while the disk is slower than the rendering. */
  write(line: string): Promise<void>;
  close(): Promise<Spooled>;
  abandon(): Promise<void>;
  /** Lets go of the file without removing it: by now it may be another worker's of the same name. */
  leave(): void;
}

const endings = ".jsonl";
/** Lines are gathered to so much: each by itself would be a write and an update of the hash, which cost more than its rendering. */
const GATHERED_BYTES = 256 * 1024;
const CHARACTER_BYTES_MAX = 3;

export function spoolPath(folder: string, batchId: string): string {
  return join(folder, `${batchId}${endings}`);
}

/** Starts the file anew; whatever an earlier rendering left is overwritten. */
export async function openSpool(folder: string, batchId: string, frame: Frame): Promise<SpoolWriter> {
  const path = spoolPath(folder, batchId);
  try {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await rm(path, { force: true });
  } catch (error) {
    throw spoolError(path, error);
  }
  const stream = createWriteStream(path, { mode: 0o600, highWaterMark: 1024 * 1024 });
  const hash = createHash("sha256");
  const state = { bytes: 0, failure: null as Error | null };
  stream.on("error", (error) => (state.failure = error));
  const send = async (chunk: Buffer) => {
    if (state.failure) throw spoolError(path, state.failure);
    state.bytes += chunk.length;
    hash.update(chunk);
    if (!stream.write(chunk)) await drained(stream, path);
  };
  let gathered = Buffer.allocUnsafe(GATHERED_BYTES);
  let used = 0;
  const sendGathered = async () => {
    const chunk = gathered.subarray(0, used);
    // The stream keeps the former one until it is written.
    gathered = Buffer.allocUnsafe(GATHERED_BYTES);
    used = 0;
    await send(chunk);
  };
  const put = async (...texts: readonly string[]) => {
    for (const text of texts) {
      const most = text.length * CHARACTER_BYTES_MAX;
      if (most > GATHERED_BYTES - used) await sendGathered();
      if (most > GATHERED_BYTES) await send(Buffer.from(text));
      else used += gathered.write(text, used);
    }
  };
  return {
    path,
    write: (line) => put(state.bytes + used === 0 ? frame.head : frame.separator, line),
    close: async () => {
      await put(frame.tail);
      await sendGathered();
      return closeSpool(stream, path, () => ({ bytes: state.bytes, sha256: digest(hash) }));
    },
    abandon: async () => {
      stream.destroy();
      await rm(path, { force: true });
    },
    leave: () => void stream.destroy(),
  };
}

function digest(hash: Hash): string {
  return hash.digest("hex");
}

async function drained(stream: WriteStream, path: string): Promise<void> {
  try {
    await once(stream, "drain");
  } catch (error) {
    throw spoolError(path, error);
  }
}

async function closeSpool(stream: WriteStream, path: string, result: () => Spooled): Promise<Spooled> {
  stream.end();
  try {
    await finished(stream);
  } catch (error) {
    throw spoolError(path, error);
  }
  return result();
}

function spoolError(path: string, cause: unknown): RowmillError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new RowmillError("spool_failed", `The batch file ${path} could not be written: ${reason}.`, {
    cause,
    hints: ["Make room on this disk; the batch is rendered again by itself."],
  });
}

/** True when the file is there, whole, as it was rendered. */
export async function isWhole({ path, ...expected }: SpoolFile): Promise<boolean> {
  const found = await stat(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw spoolError(path, error);
  });
  if (found === null || found.size !== expected.bytes) return false;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return digest(hash) === expected.sha256;
}

export async function removeSpool(folder: string, batchId: string): Promise<void> {
  await rm(spoolPath(folder, batchId), { force: true });
}

/** Batch ids of the files that lie there. */
export async function listSpools(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw spoolError(folder, error);
  });
  return names.filter((name) => name.endsWith(endings)).map((name) => name.slice(0, -endings.length));
}
