/**
 * The batch file on its way to the provider: streamed to disk with mode 0600 in a folder of mode 0700, counted and
 * hashed as it is written. If it is lost, the batch is rendered again; that costs no money.
 */
import { createHash } from "node:crypto";
import { once } from "node:events";
import { createReadStream, createWriteStream, type BigIntStats } from "node:fs";
import { mkdir, readdir, rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { finished } from "node:stream/promises";
import { RowmillError } from "../model/errors.js";
import type { Frame, SpoolFile } from "../model/provider/provider.js";
import type { Lease } from "../store/batches/batches.js";
import type { WorkerContext } from "./context.js";

export interface SpoolWriter {
  readonly path: string;
  /** Writes the draft's lines that are taken, by their index. Waits while the disk is slower than the rendering. */
  append(draft: DraftLines, isTaken: (place: number) => boolean): Promise<void>;
  /** `lease`: the one it was written under. */
  close(lease: Lease): Promise<Pick<SpoolFile, "bytes" | "sha256">>;
  abandon(): Promise<void>;
  /** Closes without removing the file: by now another worker may have written one of the same name. */
  leave(): void;
}

const ENDING = ".jsonl";
/** Lines share slabs of this size: one write and hash update per line would cost more than rendering it. */
const SLAB_BYTES = 256 * 1024;
const CHARACTER_BYTES_MAX = 3;

/**
 * Lines that may go into the file, kept as bytes: strings that wait for their transaction would be copied by the
 * garbage collector again and again, which costs more than making them. Each line has its separator before it.
 */
export class DraftLines {
  readonly #separator: string;
  readonly #lines: { readonly slab: Buffer; readonly start: number; readonly end: number }[] = [];
  #slab = Buffer.alloc(0);
  #used = 0;

  constructor({ separator }: Pick<Frame, "separator">) {
    this.#separator = separator;
  }

  /** Returns the line's bytes in the file, separator included. */
  add(line: string): number {
    const most = (this.#separator.length + line.length) * CHARACTER_BYTES_MAX;
    if (most > this.#slab.length - this.#used) {
      this.#slab = Buffer.allocUnsafe(Math.max(most, SLAB_BYTES));
      this.#used = 0;
    }
    const start = this.#used;
    const middle = start + this.#slab.write(this.#separator, start);
    this.#used = middle + this.#slab.write(line, middle);
    this.#lines.push({ slab: this.#slab, start, end: this.#used });
    return this.#used - start;
  }

  dropLast(): void {
    const last = this.#lines.pop();
    if (last !== undefined) this.#used = last.start;
  }

  /** The lines that are taken, adjacent ones as one buffer. */
  taken(isTaken: (place: number) => boolean): Buffer[] {
    const runs: { readonly slab: Buffer; readonly start: number; end: number }[] = [];
    for (const [place, line] of this.#lines.entries()) {
      if (!isTaken(place)) continue;
      const last = runs.at(-1);
      if (last?.slab === line.slab && last.end === line.start) last.end = line.end;
      else runs.push({ ...line });
    }
    return runs.map(({ slab, start, end }) => slab.subarray(start, end));
  }
}

export function spoolPath(folder: string, batchId: string): string {
  return join(folder, `${batchId}${ENDING}`);
}

/** Starts an empty file; what an earlier rendering left is removed. */
export async function openSpool(
  { spoolFolder: folder, memory }: Pick<WorkerContext, "spoolFolder" | "memory">,
  batchId: string,
  frame: Frame,
): Promise<SpoolWriter> {
  const path = spoolPath(folder, batchId);
  await explained(path, async () => {
    await mkdir(folder, { recursive: true, mode: 0o700 });
    await rm(path, { force: true });
  });
  const stream = createWriteStream(path, { mode: 0o600, highWaterMark: 1024 * 1024 });
  const hash = createHash("sha256");
  const state = { bytes: 0, failure: null as Error | null };
  stream.on("error", (error) => (state.failure = error));
  const send = async (chunk: Buffer) => {
    if (state.failure) throw spoolError(path, state.failure);
    state.bytes += chunk.length;
    hash.update(chunk);
    if (!stream.write(chunk)) await explained(path, () => once(stream, "drain"));
  };
  const separatorBytes = Buffer.byteLength(frame.separator);
  return {
    path,
    append: async (draft, isTaken) => {
      for (const lines of draft.taken(isTaken)) {
        const isFirst = state.bytes === 0;
        if (isFirst) await send(Buffer.from(frame.head));
        await send(isFirst ? lines.subarray(separatorBytes) : lines);
      }
    },
    close: async (lease) => {
      await send(Buffer.from(frame.tail));
      stream.end();
      await explained(path, () => finished(stream));
      const found = await statOf(path);
      if (found !== null) memory.spoolFiles.set(lease, identity(found));
      return { bytes: state.bytes, sha256: hash.digest("hex") };
    },
    abandon: async () => {
      stream.destroy();
      await rm(path, { force: true });
    },
    leave: () => void stream.destroy(),
  };
}

async function explained<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw spoolError(path, error);
  }
}

function spoolError(path: string, cause: unknown): RowmillError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new RowmillError("spool_failed", `The batch file ${path} could not be written: ${reason}.`, {
    cause,
    hints: ["Free space on this disk. Rowmill then renders the batch again automatically."],
  });
}

/** True when the file exists and is exactly what was rendered. */
export async function isWhole(
  { memory }: Pick<WorkerContext, "memory">,
  { path, ...expected }: SpoolFile,
  lease: Lease,
): Promise<boolean> {
  const found = await statOf(path);
  if (found === null || found.size !== BigInt(expected.bytes)) return false;
  if (memory.spoolFiles.get(lease) === identity(found)) return true;
  const hash = createHash("sha256");
  for await (const chunk of createReadStream(path)) hash.update(chunk as Buffer);
  return hash.digest("hex") === expected.sha256;
}

/** Null: the file does not exist. */
function statOf(path: string): Promise<BigIntStats | null> {
  return stat(path, { bigint: true }).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return null;
    throw spoolError(path, error);
  });
}

/** Changes with every write, and differs for every other file. */
function identity({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs].join();
}

export async function removeSpool(folder: string, batchId: string): Promise<void> {
  await rm(spoolPath(folder, batchId), { force: true });
}

/** The batch ids of the spool files in the folder. */
export async function listSpools(folder: string): Promise<string[]> {
  const names = await readdir(folder).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return [];
    throw spoolError(folder, error);
  });
  return names.filter((name) => name.endsWith(ENDING)).map((name) => name.slice(0, -ENDING.length));
}
