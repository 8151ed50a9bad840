/**
 * Reads the body of a `Request` within limits, unpacked if it is gzip. Never holds more than the limit, and refuses a
 * body by its Content-Length before it reads any of it.
 */
import { pipeline, Readable } from "node:stream";
import { createGunzip } from "node:zlib";
import { BodyRefused, lineTooLong, malformed, tooLarge, unsupportedEncoding } from "./body-refusal.js";
import type { BodyRefusal } from "./body-refusal.js";

export interface BodyLimits {
  /** As it is sent. Null: no limit, for streams that hold little at once. */
  readonly bytesMax: number | null;
  /** After gzip. Default: `bytesMax`. */
  readonly unpackedBytesMax?: number | null;
}

export type Read<T> = T | { readonly refused: BodyRefusal };

const UNPACK_BYTES = 64 * 1024;
/** Of the memory for a body that does not say its length. */
const FIRST_BYTES = 64 * 1024;
/** Up to this a body may be in memory twice for a moment. */
const SMALL_BYTES = 1024 * 1024;
const LINE_FEED = 0x0a;

/** The pieces of the body, unpacked. @throws BodyRefused */
export async function* bodyChunks(request: Request, limits: BodyLimits): AsyncGenerator<Buffer> {
  const { bytesMax } = limits;
  const encoding = (request.headers.get("content-encoding") ?? "identity").trim().toLowerCase();
  if (!["identity", "gzip", "x-gzip"].includes(encoding)) throw new BodyRefused(unsupportedEncoding());
  if (bytesMax !== null && Number(request.headers.get("content-length") ?? 0) > bytesMax)
    throw new BodyRefused(tooLarge(bytesMax));
  const sent = sentChunks(request, bytesMax);
  const { unpackedBytesMax = bytesMax } = limits;
  if (encoding === "identity") yield* sent;
  else yield* gunzip(sent, unpackedBytesMax);
}

/** The whole body. A small one is not read as a stream, which takes longer; of a large one no piece is kept. */
export async function readBytes(
  request: Request,
  limits: BodyLimits & { readonly bytesMax: number },
): Promise<Read<{ readonly bytes: Buffer }>> {
  return refusable(async () => {
    const length = request.headers.get("content-length");
    const isPacked = request.headers.has("content-encoding");
    const wholeMax = Math.min(SMALL_BYTES, limits.bytesMax);
    if (!isPacked && length !== null && Number(length) <= wholeMax) return { bytes: await wholeBody(request) };
    const announced = Math.min(Number(length ?? FIRST_BYTES), limits.bytesMax);
    return { bytes: await piecedBody(request, limits, announced) };
  });
}

async function piecedBody(request: Request, limits: BodyLimits, announced: number): Promise<Buffer> {
  let whole: Buffer = Buffer.allocUnsafe(announced);
  let length = 0;
  for await (const piece of bodyChunks(request, limits)) {
    whole = withRoom(whole, length + piece.length);
    length += piece.copy(whole, length);
  }
  return whole.subarray(0, length);
}

/** At least twice as large if it must grow, so that a long body is copied a few times at most. */
function withRoom(bytes: Buffer, wanted: number): Buffer {
  if (wanted <= bytes.length) return bytes;
  const larger = Buffer.allocUnsafe(Math.max(wanted, 2 * bytes.length));
  bytes.copy(larger);
  return larger;
}

/** The value, or the refusal that it threw. */
export async function refusable<T>(read: () => Promise<T>): Promise<Read<T>> {
  try {
    return await read();
  } catch (error) {
    if (error instanceof BodyRefused) return { refused: error.refusal };
    throw error;
  }
}

/**
 * The lines of a body without their line feeds, also the last one without. Blank ones are passed over here, without
 * waking anyone: a small gzip body unpacks to hundreds of millions of them. @throws BodyRefused
 */
export async function* bodyLines(
  request: Request,
  limits: BodyLimits & { readonly lineBytesMax: number },
): AsyncGenerator<Buffer> {
  const { lineBytesMax } = limits;
  let pending: Buffer[] = [];
  let pendingBytes = 0;
  const keep = (piece: Buffer): void => {
    pendingBytes += piece.length;
    if (pendingBytes > lineBytesMax) throw new BodyRefused(lineTooLong(lineBytesMax));
    if (piece.length > 0) pending.push(piece);
  };
  /** Null: it is blank. */
  const take = (): Buffer | null => {
    const line = pending.every(isBlank)
      ? null
      : pending.length === 1 && pending[0] !== undefined
        ? pending[0]
        : Buffer.concat(pending);
    pending = [];
    pendingBytes = 0;
    return line;
  };
  for await (const chunk of bodyChunks(request, limits)) {
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      keep(chunk.subarray(start, end));
      const line = take();
      if (line !== null) yield line;
      start = end + 1;
    }
    keep(chunk.subarray(start));
  }
  const last = take();
  if (last !== null) yield last;
}

/** Nothing but spaces, tabs and carriage returns. */
function isBlank(bytes: Buffer): boolean {
  return bytes.every((byte) => byte === 0x20 || byte === 0x09 || byte === 0x0d);
}

async function* sentChunks(request: Request, bytesMax: number | null): AsyncGenerator<Buffer> {
  if (request.body === null) return;
  const reader: ReadableStreamDefaultReader<Uint8Array> = request.body.getReader();
  let bytes = 0;
  try {
    for (let piece = await next(reader); !piece.done; piece = await next(reader)) {
      bytes += piece.value.byteLength;
      if (bytesMax !== null && bytes > bytesMax) throw new BodyRefused(tooLarge(bytesMax));
      yield Buffer.from(piece.value.buffer, piece.value.byteOffset, piece.value.byteLength);
    }
  } finally {
    reader.releaseLock();
  }
}

async function wholeBody(request: Request): Promise<Buffer> {
  try {
    return Buffer.from(await request.arrayBuffer());
  } catch (error) {
    throw new BodyRefused(malformed("body_cut"), error);
  }
}

/** A body that fails was cut: the client left, or was refused for being slow. */
async function next(reader: ReadableStreamDefaultReader<Uint8Array>) {
  try {
    return await reader.read();
  } catch (error) {
    throw new BodyRefused(malformed("body_cut"), error);
  }
}

async function* gunzip(sent: AsyncIterable<Buffer>, bytesMax: number | null): AsyncGenerator<Buffer> {
  const source = Readable.from(sent, { objectMode: false });
  // The iteration below throws what goes wrong in the pipeline.
  const unpacked = pipeline(source, createGunzip({ chunkSize: UNPACK_BYTES }), () => undefined);
  let bytes = 0;
  try {
    for await (const chunk of unpacked as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytesMax !== null && bytes > bytesMax) throw new BodyRefused(tooLarge(bytesMax, "The unpacked body"));
      yield chunk;
    }
  } catch (error) {
    if (error instanceof Error && "code" in error && String(error.code).startsWith("Z_"))
      throw new BodyRefused(malformed("body_not_gzip"), error);
    throw error;
  }
}
