/**
 * A file that only grows by whole lines. Writes are synchronous and unbuffered: they survive a killed process, in
 * order, also across two files. Opening cuts off an unfinished last line.
 */
import { closeSync, fstatSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";

const TAIL_BYTES = 64 * 1024;

export class AppendFile {
  readonly #fd: number;
  #size: number;

  constructor(path: string) {
    this.#fd = openSync(path, "a+", 0o600);
    this.#size = endOfLastLine(this.#fd);
    ftruncateSync(this.#fd, this.#size);
  }

  get bytes(): number {
    return this.#size;
  }

  /** Appends whole lines with their line feeds: all of them, or none if it throws (a full disk). */
  append(text: string): void {
    const bytes = Buffer.from(text, "utf8");
    try {
      for (let done = 0; done < bytes.length;) done += writeSync(this.#fd, bytes, done);
    } catch (error) {
      ftruncateSync(this.#fd, this.#size);
      throw error;
    }
    this.#size += bytes.length;
  }

  read(offset: number, length: number): string {
    const bytes = Buffer.allocUnsafe(length);
    const got = readSync(this.#fd, bytes, 0, length, offset);
    return bytes.toString("utf8", 0, got);
  }

  truncate(bytes: number): void {
    ftruncateSync(this.#fd, bytes);
    this.#size = bytes;
  }

  close(): void {
    closeSync(this.#fd);
  }
}

function endOfLastLine(fd: number): number {
  const { size } = fstatSync(fd);
  const tail = Buffer.allocUnsafe(TAIL_BYTES);
  for (let end = size; end > 0;) {
    const start = Math.max(0, end - TAIL_BYTES);
    const got = readSync(fd, tail, 0, end - start, start);
    const at = tail.subarray(0, got).lastIndexOf(0x0a);
    if (at !== -1) return start + at + 1;
    end = start;
  }
  return 0;
}
