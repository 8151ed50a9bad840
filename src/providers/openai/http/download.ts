/**
 * Owns reading a file's content as lines, in bounded memory. Time-outs of HTTP clients end with the headers,
 * so a body that stalls is noticed here; so is one that was cut short: by its framing, and where that says nothing by a last line that is
 * not whole. The file's record is asked only then, and decides nothing by itself: it may be gone or wrong while the content is right.
 * Lines that were already given stay given: whoever collects must take a line twice, because the whole file is read again after a failure.
 */
import { isOverfull, LINE_VALUES_MAX } from "../../../model/json/json-values.js";
import {
  LINE_BYTES_MAX_DEFAULT,
  LineTooLongError,
  splitLines,
  TooManyLinesError,
} from "../../../model/json/jsonl.js";
import { ProviderError } from "../../../model/provider/provider.js";

/** What a file may have: whoever sends it does not decide how much is read. */
export interface FileBounds {
  readonly linesMax: number;
  readonly bytesMax: number;
}

/** A file that is longer than anything that was asked, or has a line that no memory holds: what came before was read. */
export class OverlongFile extends ProviderError {
  constructor(fileId: string, why: string, cause?: unknown) {
    super("refused", `file ${fileId} cannot be read to its end: ${why}`, { cause });
  }
}

/** Slower than this on the whole, after the first minutes, is no download: one byte before each time-out would last for years. */
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
      // The last one, without its line feed. Before it is given, so that half a line is never taken for a whole one.
      if (body.hasEnded && !lines.every(isJson)) await requireWhole(download, body.bytes);
      yield lines;
    }
    if (body.bytes === 0) await requireWhole(download, 0);
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    if (error instanceof LineTooLongError || error instanceof TooManyLinesError)
      throw new OverlongFile(download.fileId, error.message, error);
    throw new ProviderError("retryable", `the content of file ${download.fileId} broke off`, {
      cause: error,
    });
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
    if (body.bytes > bounds.bytesMax)
      throw new OverlongFile(fileId, `it has more than ${bounds.bytesMax} bytes`);
    if (waitedMs > STALLS_AT_START * stallMs + body.bytes / BYTES_PER_MS_MIN)
      throw new ProviderError(
        "retryable",
        `the content of file ${fileId} comes too slowly: ${body.bytes} bytes so far`,
      );
    yield chunk;
  }
  // Before the end is told, so that half a line is never taken for a whole one.
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

/** Of content that does not end as a file of lines does: its record tells one that was cut from one that was written so. */
async function requireWhole({ fileId, recordedBytes }: Download, bytes: number): Promise<void> {
  const recorded = await recordedBytes();
  if (recorded !== null && bytes < recorded) throw cutShort(fileId, bytes, recorded);
}

function cutShort(fileId: string, bytes: number, expected: number): ProviderError {
  return new ProviderError("retryable", `file ${fileId} was cut short: ${bytes} of ${expected} bytes came`);
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
