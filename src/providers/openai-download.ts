/**
 * Owns reading a file's content as lines, in bounded memory. Time-outs of HTTP clients end with the headers,
 * so a body that stalls is noticed here; so is one that was cut short. Lines that were already given stay
 * given: whoever collects must take a line twice, because the whole file is read again after a failure.
 */
import { LINE_BYTES_MAX_DEFAULT, LineTooLongError, splitLines, TooManyLinesError } from "../model/jsonl.js";
import { OverlongFile, ProviderError, type FileBounds } from "./provider.js";

/** Slower than this on the whole, after the first minutes, is no download: one byte before each time-out would last for years. */
const BYTES_PER_MS_MIN = 1;
const STALLS_AT_START = 5;

export interface Download {
  readonly fileId: string;
  readonly response: Response;
  /** The file's size by its own record; 0: not known. */
  readonly fileBytes: number;
  readonly bounds: FileBounds;
  /** Longest wait for the next bytes. Time that the consumer takes does not count. */
  readonly stallMs: number;
  readonly signal: AbortSignal | undefined;
  /** Ends the connection. */
  readonly hangUp: () => void;
}

/** See `Provider.readLines`. @throws ProviderError `retryable`; OverlongFile beyond the bounds. */
export async function* downloadLines(download: Download): AsyncGenerator<string> {
  try {
    const { linesMax } = download.bounds;
    yield* splitLines(bodyChunks(download), { lineBytesMax: LINE_BYTES_MAX_DEFAULT, linesMax });
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

async function* bodyChunks(download: Download): AsyncGenerator<Uint8Array> {
  const reader = download.response.body?.getReader();
  if (reader === undefined) return checkLength(download, 0);
  const { fileId, stallMs, bounds } = download;
  let bytes = 0;
  let waitedMs = 0;
  for (;;) {
    const beganMs = performance.now();
    const chunk = await readChunk(reader, download);
    waitedMs += performance.now() - beganMs;
    if (chunk === null) break;
    bytes += chunk.length;
    if (bytes > bounds.bytesMax) throw new OverlongFile(fileId, `it has more than ${bounds.bytesMax} bytes`);
    if (waitedMs > STALLS_AT_START * stallMs + bytes / BYTES_PER_MS_MIN)
      throw new ProviderError(
        "retryable",
        `the content of file ${fileId} comes too slowly: ${bytes} bytes so far`,
      );
    yield chunk;
  }
  // Before the end is told, so that half a line is never taken for a whole one.
  checkLength(download, bytes);
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

function checkLength({ fileId, fileBytes, response }: Download, bytes: number): void {
  // Content-Length counts what was sent, which is not what arrives here when it was compressed.
  const encoded = response.headers.has("content-encoding");
  const announced = encoded ? 0 : Number(response.headers.get("content-length") ?? 0);
  const expected = Math.max(fileBytes, Number.isSafeInteger(announced) ? announced : 0);
  if (bytes < expected) {
    throw new ProviderError("retryable", `file ${fileId} was cut short: ${bytes} of ${expected} bytes came`);
  }
}
