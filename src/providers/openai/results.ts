/**
 * What a batch answered: its output and its error file as one stream. A file that is gone does not lose the other one;
 * a file that is counted but not named is asked for once more. Nothing is remembered: after a crash everything is read
 * again.
 */
import type { AnswerOutcome } from "../../model/provider/outcome.js";
import { ProviderError, type CallOptions, type EndedBatch, type ResultsEnd } from "../../model/provider/provider.js";
import { completeRefs } from "./batches.js";
import type { Connection } from "./http/connection.js";
import { OverlongFile, type FileBounds } from "./http/download.js";
import { readLines } from "./files.js";
import { readOutcome } from "./outcome.js";
import { refsOf, type Refs } from "./refs.js";

/** Some providers write a line twice, and empty ones between. */
const LINES_FACTOR_MAX = 2;
const LINES_BESIDE_MAX = 1_000;
/** On average, with what a small file may have in one line. */
const BYTES_PER_LINE_MAX = 1024 * 1024;
const BYTES_BESIDE_MAX = 64 * 1024 * 1024;

/** Of one file of answers. */
function answerBounds(requests: number): FileBounds {
  return {
    linesMax: requests * LINES_FACTOR_MAX + LINES_BESIDE_MAX,
    bytesMax: requests * BYTES_PER_LINE_MAX + BYTES_BESIDE_MAX,
  };
}

interface Reading {
  readonly connection: Connection;
  readonly options: CallOptions & { readonly bounds: FileBounds };
  lines: number;
  readonly gone: string[];
  unread: string | null;
}

/** See `Provider.results`. */
export async function* readResults(
  connection: Connection,
  batch: EndedBatch,
  { requests, ...options }: CallOptions & { readonly requests: number },
): AsyncGenerator<AnswerOutcome, ResultsEnd> {
  const bounds = answerBounds(requests);
  const reading: Reading = { connection, options: { ...options, bounds }, lines: 0, gone: [], unread: null };
  let refs = refsOf(batch);
  const before = new Set<string | null>([refs.output, refs.error]);
  for await (const outcomes of readFiles(reading, [refs.output, refs.error]))
    for (const outcome of outcomes) yield outcome;
  const isUnnamed = (known: Refs) => unnamedOf(known, batch.counts).output || unnamedOf(known, batch.counts).error;
  // If this key does not find the batch either, this throws: then no file is gone.
  if (isUnnamed(refs) || reading.gone.length > 0) refs = await completeRefs(connection, batch, options);
  const late = [refs.output, refs.error].filter((fileId) => !before.has(fileId));
  for await (const outcomes of readFiles(reading, late)) for (const outcome of outcomes) yield outcome;
  const { lines, gone, unread } = reading;
  const pending = pendingText(batch, unnamedOf(refs, batch.counts));
  const complete = gone.length === 0 && unread === null && pending === null;
  return { complete, lines, gone, unread, pending, refs };
}

async function* readFiles(
  reading: Reading,
  fileIds: readonly (string | null)[],
): AsyncGenerator<readonly AnswerOutcome[]> {
  for (const fileId of fileIds) if (fileId !== null) yield* readFile(reading, fileId);
}

async function* readFile(reading: Reading, fileId: string): AsyncGenerator<readonly AnswerOutcome[]> {
  try {
    for await (const lines of readLines(reading.connection, fileId, reading.options)) {
      reading.lines += lines.length;
      yield lines.map(readOutcome);
    }
  } catch (error) {
    if (error instanceof OverlongFile) reading.unread = error.message;
    else if (error instanceof ProviderError && error.kind === "notFound") reading.gone.push(`file ${fileId}`);
    else throw error;
  }
}

/** Kinds of lines that the provider counts without naming their file. */
function unnamedOf({ output, error }: Refs, counts: EndedBatch["counts"]): { output: boolean; error: boolean } {
  return {
    output: output === null && (counts?.completed ?? 0) > 0,
    error: error === null && (counts?.failed ?? 0) > 0,
  };
}

function pendingText({ id, counts }: EndedBatch, unnamed: ReturnType<typeof unnamedOf>): ResultsEnd["pending"] {
  if (!unnamed.output && !unnamed.error) return null;
  const what = unnamed.output ? `${counts?.completed} answers` : `${counts?.failed} failures`;
  return { text: `counts ${what} in batch ${id}, but names no file with them`, isPaid: unnamed.output };
}
