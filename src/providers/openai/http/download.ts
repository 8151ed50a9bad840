/**
 * Reads a file's content as lines, in bounded memory. Notices a body that stalls (time-outs of HTTP clients end with
 * the headers), and one that was cut short: by its framing, or by a last line that is not whole. Only then the file's
 * record is asked, which may be gone or wrong while the content is right. After a failure the file is read again from
 * the start, so a reader must accept a line twice.
 */
import { isOverfull, LINE_VALUES_MAX } from "../../../model/json/json-values.js";
import { LINE_BYTES_MAX_DEFAULT, LineTooLongError, splitLines, TooManyLinesError } from "../../../model/json/jsonl.js";
import { ProviderError } from "../../../model/provider/provider.js";

/** The sender does not decide how much is read. */
export interface FileBounds {
  readonly linesMax: number;
  readonly bytesMax: number;
}

/** A file that is far longer than what was asked, or has a line that is too large for memory. */
export class OverlongFile extends ProviderError {
  constructor(fileId: string, why: string, cause?: unknown) {
    super("refused", `file ${fileId} cannot be read to its end: ${why}`, { cause });
  }
}

/** On average, after the first minutes: one byte before each time-out would last for years. */
const BYTES_PER_MS_MIN = 1;
const STALLS_AT_START = 5;

export interface Download {
  readonly fileId: string;
  readonly response: Response;
  /** The file's size by its record; null: not known. */
  readonly recordedBytes: () => Promise<number | null>;
  readonly bounds: FileBounds;
  /** Longest wait for the next bytes. Time that the consumer takes does not count. */
  readonly stallMs: number;
  readonly signal: AbortSignal | undefined;
  /** Ends the connection. */
  readonly hangUp: () => void;
}

/** As many lines at a time as came together. @throws ProviderError `retryable`; OverlongFile beyond the bounds. */
export async function* downloadLines(download: Download): AsyncGenerator<readonly string[]> {
  try {
    const { linesMax } = download.bounds;
    const body = { bytes: 0, hasEnded: false };
    const split = splitLines(bodyChunks(download, body), { lineBytesMax: LINE_BYTES_MAX_DEFAULT, linesMax });
    for await (const lines of split) {
      // The last one, without its line feed: half a line must never be taken for a whole one.
      if (body.hasEnded && !lines.every(isJson)) await requireWhole(download, body.bytes);
      yield lines;
    }
    if (body.bytes === 0) await requireWhole(download, 0);
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    if (error instanceof LineTooLongError || error instanceof TooManyLinesError)
      throw new OverlongFile(download.fileId, error.message, error);
    throw new ProviderError("retryable", `the content of file ${download.fileId} broke off`, { cause: error });
  } finally {
    download.hangUp();
  }
}

interface Body {
  bytes: number;
  hasEnded: boolean;
}

async function* bodyChunks(download: Download, body: Body): AsyncGenerator<Uint8Array> {
  const reader = download.response.body?.getReader();
  if (reader === undefined) return checkLength(download, 0);
  const { fileId, stallMs, bounds } = download;
  let waitedMs = 0;
  for (;;) {
    const beganMs = performance.now();
    const chunk = await readChunk(reader, download);
    waitedMs += performance.now() - beganMs;
    if (chunk === null) break;
    body.bytes += chunk.length;
    if (body.bytes > bounds.bytesMax) throw new OverlongFile(fileId, `it has more than ${bounds.bytesMax} bytes`);
    if (waitedMs > STALLS_AT_START * stallMs + body.bytes / BYTES_PER_MS_MIN)
      throw new ProviderError(
        "retryable",
        `the content of file ${fileId} arrives too slowly: ${body.bytes} bytes so far`,
      );
    yield chunk;
  }
  // Before the end is marked, so that half a line is never taken for a whole one.
  checkLength(download, body.bytes);
  body.hasEnded = true;
}

async function readChunk(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  { fileId, stallMs, signal }: Download,
): Promise<Uint8Array | null> {
  let stop: (error: ProviderError) => void = () => {};
  const ended = new Promise<never>((_, reject) => {
    stop = reject;
  });
  const interrupt = () => stop(new ProviderError("retryable", `reading file ${fileId} was interrupted`));
  const stall = () => {
    stop(new ProviderError("retryable", `the content of file ${fileId} stalled: no byte for ${stallMs} ms`));
  };
  const timer = setTimeout(stall, stallMs);
  signal?.addEventListener("abort", interrupt, { once: true });
  if (signal?.aborted === true) interrupt();
  try {
    const { done, value } = await Promise.race([reader.read(), ended]);
    return done ? null : value;
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", interrupt);
  }
}

function checkLength({ fileId, response }: Download, bytes: number): void {
  // Content-Length counts what was sent, which is not what arrives here when it was compressed.
  if (response.headers.has("content-encoding")) return;
  const announced = Number(response.headers.get("content-length") ?? 0);
  if (Number.isSafeInteger(announced) && bytes < announced) throw cutShort(fileId, bytes, announced);
}

/** For content without a whole last line: only its record shows whether it was cut. */
async function requireWhole({ fileId, recordedBytes }: Download, bytes: number): Promise<void> {
  const recorded = await recordedBytes();
  if (recorded !== null && bytes < recorded) throw cutShort(fileId, bytes, recorded);
}

function cutShort(fileId: string, bytes: number, expected: number): ProviderError {
  return new ProviderError("retryable", `file ${fileId} was cut short: ${bytes} of ${expected} bytes arrived`);
}

function isJson(line: string): boolean {
  if (isOverfull(line, LINE_VALUES_MAX)) return true;
  try {
    JSON.parse(line);
    return true;
  } catch {
    return false;
  }
}
