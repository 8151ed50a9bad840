/** Keeps what comes through a pipe as a file named by its content, so that the same bytes are the same file. */
import { createHash } from "node:crypto";
import { mkdir, open, rename, unlink } from "node:fs/promises";
import { join } from "node:path";
import { exists } from "../model/file-errors.js";
import { syncFolder } from "../model/file-sync.js";
import { badFile, writeFailure } from "./file-failure.js";
import { dropTemporary, removeLeftovers, temporarySuffix } from "./leftovers.js";

const UNFINISHED = ".stdin";
const NAME_CHARACTERS = 32;

export interface SpooledPipe {
  readonly path: string;
  /** SHA-256 of all bytes, in hexadecimal. */
  readonly hash: string;
  readonly bytes: number;
}

/** In bounded memory. @throws RowmillError if nothing comes, or the disk is full */
export async function spoolPipe(
  input: AsyncIterable<Uint8Array>,
  folder: string,
  { signal }: { signal?: AbortSignal | undefined } = {},
): Promise<SpooledPipe> {
  const unfinished = join(folder, UNFINISHED + temporarySuffix());
  try {
    await mkdir(folder, { recursive: true });
    await removeLeftovers(folder, UNFINISHED);
    const { hash, bytes } = await copied(input, unfinished, signal);
    if (bytes === 0) throw badFile("The input", "is empty: nothing came through the pipe.");
    const path = join(folder, `stdin-${hash.slice(0, NAME_CHARACTERS)}`);
    if (await exists(path)) await unlink(unfinished);
    else await rename(unfinished, path);
    await syncFolder(folder);
    return { path, hash, bytes };
  } catch (error) {
    await dropTemporary(unfinished);
    throw writeFailure(folder, error);
  }
}

async function copied(
  input: AsyncIterable<Uint8Array>,
  path: string,
  signal: AbortSignal | undefined,
): Promise<Pick<SpooledPipe, "hash" | "bytes">> {
  const hash = createHash("sha256");
  let bytes = 0;
  const file = await open(path, "wx", 0o600);
  try {
    for await (const chunk of input) {
      signal?.throwIfAborted();
      hash.update(chunk);
      for (let at = 0; at < chunk.length;) at += (await file.write(chunk, at)).bytesWritten;
      bytes += chunk.length;
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { hash: hash.digest("hex"), bytes };
}
