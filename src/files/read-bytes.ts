/** Reads the bytes of a file up to a size, unpacked, and as UTF-8. Holds one chunk. */
import { open } from "node:fs/promises";
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { badFile, readFailure } from "./file-failure.js";
import type { FileLook } from "./file-types.js";
import { asUtf8, type Decoder } from "./encodings.js";

const CHUNK_BYTES = 256 * 1024;

export type TextLook = Pick<FileLook, "path" | "bytes" | "gzip" | "encoding" | "bom">;

/** @throws RowmillError if the file became shorter */
export async function* storedBytes(
  path: string,
  { from, to, signal }: { from: number; to: number; signal: AbortSignal | undefined },
): AsyncGenerator<Buffer> {
  const file = await open(path, "r");
  try {
    for (let at = from; at < to;) {
      signal?.throwIfAborted();
      const chunk = Buffer.allocUnsafeSlow(Math.min(CHUNK_BYTES, to - at));
      const { bytesRead } = await file.read(chunk, 0, chunk.length, at);
      if (bytesRead === 0) throw badFile(path, "became shorter while it was read.", "Run the command again.");
      at += bytesRead;
      yield chunk.subarray(0, bytesRead);
    }
  } finally {
    await file.close();
  }
}

/** All members of a gzip file, one after another. */
export async function* unpacked(stored: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  const gunzip = createGunzip({ chunkSize: CHUNK_BYTES });
  // The stream below ends with the failure of the one above.
  pipeline(Readable.from(stored, { objectMode: false }), gunzip, () => undefined);
  for await (const chunk of gunzip) yield chunk as Buffer;
}

/** The text in UTF-8 without byte order mark, from a place in it. */
export async function* textBytes(look: TextLook, from: number, signal?: AbortSignal): AsyncGenerator<Buffer> {
  const isSeekable = !look.gzip && look.encoding === "utf-8";
  const start = isSeekable ? from + (look.bom ? BYTE_ORDER_MARK_BYTES : 0) : 0;
  let skipped = isSeekable ? 0 : from;
  try {
    const stored = storedBytes(look.path, { from: start, to: look.bytes, signal });
    for await (const chunk of decoded(look.gzip ? unpacked(stored) : stored, look, start)) {
      if (chunk.length > skipped) yield skipped === 0 ? chunk : chunk.subarray(skipped);
      skipped = Math.max(0, skipped - chunk.length);
    }
  } catch (error) {
    throw readFailure(look.path, error);
  }
}

const BYTE_ORDER_MARK_BYTES = 3;

async function* decoded(chunks: AsyncIterable<Buffer>, look: TextLook, start: number): AsyncGenerator<Buffer> {
  const decoder: Decoder = asUtf8(look.encoding, look.bom && start === 0);
  for await (const chunk of chunks) {
    const text = decoder.decode(chunk);
    if (text.length > 0) yield text;
  }
  const rest = decoder.end();
  if (rest.length > 0) yield rest;
}
