/**
 * Cuts a stream of bytes into lines, in bounded memory, and only at the byte 0x0A: readers that also split on U+2028
 * break answers (seen). Bytes that are not UTF-8 become U+FFFD, so such a line fails alone when it is parsed.
 */
import { RowmillError } from "../errors.js";

/** A line holds one answer of one request. */
export const LINE_BYTES_MAX_DEFAULT = 64 * 1024 * 1024;

const LINE_FEED = 0x0a;
const CARRIAGE_RETURN = 0x0d;
const BYTE_ORDER_MARK = Buffer.from([0xef, 0xbb, 0xbf]);

/** A line is longer than the limit; nothing after it was read. */
export class LineTooLongError extends RowmillError {
  override readonly name = "LineTooLongError";
  /** 1-based, empty lines counted. */
  readonly line: number;

  constructor(line: number, lineBytesMax: number) {
    super("provider_refused", `line ${line} of the file is longer than ${lineBytesMax} bytes, so it is not an answer`);
    this.line = line;
  }
}

/** The file has more lines than it may; nothing after them was read. */
export class TooManyLinesError extends RowmillError {
  override readonly name = "TooManyLinesError";

  constructor(linesMax: number) {
    super("provider_refused", `it has more than ${linesMax} lines`);
  }
}

/**
 * The lines without line feed, trailing carriage return and byte order mark. Empty lines are skipped, but count. Lines
 * that end in one chunk come together, because each step of a generator costs. Holds at most one line and one chunk.
 * @throws LineTooLongError, TooManyLinesError after the lines before it
 */
export async function* splitLines(
  chunks: AsyncIterable<Uint8Array>,
  options: { lineBytesMax: number; linesMax?: number } = { lineBytesMax: LINE_BYTES_MAX_DEFAULT },
): AsyncGenerator<readonly string[]> {
  const { lineBytesMax, linesMax = Infinity } = options;
  let pending: Uint8Array[] = [];
  let pendingBytes = 0;
  let line = 1;
  for await (const chunk of chunks) {
    const lines: string[] = [];
    let problem: RowmillError | null = null;
    let start = 0;
    for (let end = chunk.indexOf(LINE_FEED); end !== -1; end = chunk.indexOf(LINE_FEED, start)) {
      if (line > linesMax) problem = new TooManyLinesError(linesMax);
      if (pendingBytes + end - start > lineBytesMax) problem ??= new LineTooLongError(line, lineBytesMax);
      if (problem !== null) break;
      pending.push(chunk.subarray(start, end));
      const text = decodeLine(pending, line === 1);
      if (text !== "") lines.push(text);
      pending = [];
      pendingBytes = 0;
      line += 1;
      start = end + 1;
    }
    if (problem === null) {
      pendingBytes += chunk.length - start;
      if (pendingBytes > lineBytesMax) problem = new LineTooLongError(line, lineBytesMax);
    }
    if (lines.length > 0) yield lines;
    if (problem !== null) throw problem;
    if (start < chunk.length) pending.push(chunk.subarray(start));
  }
  const last = decodeLine(pending, line === 1);
  if (last !== "") yield [last];
}

function decodeLine(parts: readonly Uint8Array[], first: boolean): string {
  let bytes = parts.length === 1 && parts[0] !== undefined ? asBuffer(parts[0]) : Buffer.concat(parts);
  if (first && bytes.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK)) {
    bytes = bytes.subarray(BYTE_ORDER_MARK.length);
  }
  const end = bytes.at(-1) === CARRIAGE_RETURN ? bytes.length - 1 : bytes.length;
  return bytes.toString("utf8", 0, end);
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
