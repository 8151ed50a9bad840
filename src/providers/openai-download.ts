/**
 * Owns reading a file's content as lines, in bounded memory. Time-outs of HTTP clients end with the headers,
 * so a body that stalls is noticed here; so is one that was cut short. Lines that were already given stay
 * given: whoever collects must take a line twice, because the whole file is read again after a failure.
 */
import { LINE_BYTES_MAX_DEFAULT, LineTooLongError, splitLines } from "../model/jsonl.js";
import { ProviderError } from "./provider.js";

export interface Download {
  readonly fileId: string;
  readonly response: Response;
  /** The file's size by its own record; 0: not known. */
  readonly fileBytes: number;
  /** Longest wait for the next bytes. Time that the consumer takes does not count. */
  readonly stallMs: number;
  readonly signal: AbortSignal | undefined;
  /** Ends the connection. */
  readonly hangUp: () => void;
}

/** See `Provider.readLines`. @throws ProviderError `retryable`; `refused` for a line that is no answer. */
export async function* downloadLines(download: Download): AsyncGenerator<string> {
  try {
    yield* splitLines(bodyChunks(download), { lineBytesMax: LINE_BYTES_MAX_DEFAULT });
  } catch (error) {
    if (error instanceof ProviderError) throw error;
    if (error instanceof LineTooLongError) {
      throw new ProviderError("refused", `file ${download.fileId}: ${error.message}`, { cause: error });
    }
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
  let bytes = 0;
  for (;;) {
    const chunk = await readChunk(reader, download);
    if (chunk === null) break;
    bytes += chunk.length;
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
