/**
 * Reads the results of "plain": one stream of lines, in bounded memory. A body that stalls or is cut short is noticed
 * here, since the time-out of the call ends with its headers; lines that were given stay given, and who reads again
 * gets them again.
 */
import { LINE_BYTES_MAX_DEFAULT, LineTooLongError, splitLines, TooManyLinesError } from "../../src/model/json/jsonl.js";
import { ProviderError, type EndedBatch, type Results, type ResultsEnd } from "../../src/model/provider/provider.js";
import type { PlainCaller } from "./plain-caller.js";
import { readResult, resultsPathOf } from "./plain-wire.js";

/** What a server may send more than it was asked for: who sends does not decide how much is read. */
const LINES_PER_REQUEST_MAX = 2;
const LINES_MORE_MAX = 100;

export interface ResultsReading {
  readonly caller: PlainCaller;
  readonly batch: EndedBatch;
  readonly requests: number;
  readonly stallMs: number;
  readonly lineBytesMax?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** See `Provider.results`. */
export async function* plainResults(reading: ResultsReading): Results {
  const { caller, batch, signal, requests, lineBytesMax = LINE_BYTES_MAX_DEFAULT } = reading;
  const path = resultsPathOf(batch);
  const tally = { lines: 0, good: 0 };
  let opened: Awaited<ReturnType<PlainCaller["stream"]>>;
  try {
    opened = await caller.stream({ what: `read results of ${batch.id}`, method: "GET", path, signal });
  } catch (error) {
    if (!(error instanceof ProviderError) || error.kind !== "notFound") throw error;
    return {
      complete: false,
      lines: 0,
      gone: [`results of ${batch.id}`],
      unread: null,
      pending: null,
      refs: batch.refs,
    };
  }
  const { response, hangUp } = opened;
  try {
    const linesMax = requests * LINES_PER_REQUEST_MAX + LINES_MORE_MAX;
    for await (const lines of splitLines(bodyChunks(response, reading), { lineBytesMax, linesMax })) {
      for (const line of lines) {
        tally.lines += 1;
        const outcome = readResult(line);
        if ("usage" in outcome) tally.good += 1;
        yield outcome;
      }
    }
    return endOf(batch, tally);
  } catch (error) {
    if (error instanceof LineTooLongError || error instanceof TooManyLinesError)
      return { ...endOf(batch, tally), complete: false, unread: error.message, pending: null };
    if (error instanceof ProviderError) throw error;
    throw new ProviderError("retryable", `the results of ${batch.id} broke off`);
  } finally {
    hangUp();
  }
}

/** Every request has a line: fewer lines than it counts are not all of them. */
function endOf({ counts, refs }: EndedBatch, { lines, good }: { lines: number; good: number }): ResultsEnd {
  const total = counts?.total ?? 0;
  const isWhole = lines >= total;
  const pending = isWhole
    ? null
    : { text: `${total - lines} of ${total} results`, isPaid: good < (counts?.completed ?? 0) };
  return { complete: isWhole, lines, gone: [], unread: null, pending, refs };
}

async function* bodyChunks(response: Response, reading: ResultsReading): AsyncGenerator<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return;
  let bytes = 0;
  for (;;) {
    const chunk = await readChunk(reader, reading);
    if (chunk === null) break;
    bytes += chunk.length;
    yield chunk;
  }
  const announced = Number(response.headers.get("content-length") ?? 0);
  if (bytes < announced)
    throw new ProviderError(
      "retryable",
      `the results of ${reading.batch.id} were cut short: ${bytes} of ${announced} bytes came`,
    );
}

async function readChunk(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  { batch, stallMs, signal }: ResultsReading,
): Promise<Uint8Array | null> {
  let stop: (error: ProviderError) => void = () => {};
  const ended = new Promise<never>((_, reject) => {
    stop = reject;
  });
  const interrupt = () => stop(new ProviderError("retryable", `reading the results of ${batch.id} was interrupted`));
  const stall = () =>
    stop(new ProviderError("retryable", `the results of ${batch.id} stalled: no byte for ${stallMs} ms`));
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
