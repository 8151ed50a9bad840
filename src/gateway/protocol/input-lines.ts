/** Reads a JSONL file as chunks of lines in bounded memory, split only at the byte 0x0A (U+2028 is text). */
import { open, type FileHandle } from "node:fs/promises";

const READ_BYTES = 256 * 1024;
/** A chunk ends with the line that reaches this. */
const CHUNK_CHARS_MAX = 16 * 1024 * 1024;
/** A longer line is given as null, and not held in memory. */
export const LINE_BYTES_MAX = 16 * 1024 * 1024;

/** Lines without line feed; null for a line that is too long. A last empty piece is not a line. Closes a handle. */
export async function* readLineChunks(
  file: string | FileHandle,
  linesPerChunk: number,
): AsyncGenerator<readonly (string | null)[]> {
  const splitter = new LineSplitter();
  const handle = typeof file === "string" ? await open(file, "r") : file;
  let chunk: (string | null)[] = [];
  let chars = 0;
  try {
    const buffer = Buffer.allocUnsafe(READ_BYTES);
    for (;;) {
      const { bytesRead } = await handle.read(buffer, 0, READ_BYTES, null);
      const lines = bytesRead === 0 ? splitter.end() : splitter.push(buffer.subarray(0, bytesRead));
      for (const line of lines) {
        chunk.push(line);
        chars += line?.length ?? 0;
        if (chunk.length < linesPerChunk && chars < CHUNK_CHARS_MAX) continue;
        yield chunk;
        chunk = [];
        chars = 0;
      }
      if (bytesRead === 0) break;
    }
  } finally {
    await handle.close();
  }
  if (chunk.length > 0) yield chunk;
}

/** Cuts a stream of bytes into lines; keeps at most `LINE_BYTES_MAX` of an unfinished one. */
class LineSplitter {
  #pending: Buffer[] = [];
  #pendingBytes = 0;

  *push(bytes: Buffer): Generator<string | null> {
    let start = 0;
    for (;;) {
      const end = bytes.indexOf(0x0a, start);
      if (end === -1) break;
      yield this.#take(bytes.subarray(start, end));
      start = end + 1;
    }
    this.#keep(bytes.subarray(start));
  }

  *end(): Generator<string | null> {
    if (this.#pendingBytes > 0) yield this.#take(Buffer.alloc(0));
  }

  #take(last: Buffer): string | null {
    const tooLong = this.#pendingBytes + last.length > LINE_BYTES_MAX;
    const line = this.#pendingBytes === 0 ? last : Buffer.concat([...this.#pending, last]);
    this.#pending = [];
    this.#pendingBytes = 0;
    return tooLong ? null : line.toString("utf8");
  }

  #keep(rest: Buffer): void {
    if (rest.length === 0) return;
    this.#pendingBytes += rest.length;
    // A copy, because the caller reuses its buffer. Beyond the limit only the count matters.
    if (this.#pendingBytes <= LINE_BYTES_MAX) this.#pending.push(Buffer.from(rest));
    else this.#pending = [];
  }
}
