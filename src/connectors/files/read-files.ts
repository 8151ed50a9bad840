/**
 * Reads files as pages of rows, the newest file first, so that the newest row of a key counts. Its mark is the list of
 * files with size, time and content: with it, only new and changed ones are read. A crash begins the reading again.
 */
import { basename } from "node:path";
import { lookAtFile } from "../../files/look-at-file.js";
import { readRecords } from "../../files/read-records.js";
import type { GoodRecord } from "../../files/file-types.js";
import { ConnectorError, type Page, type ReadOptions, type RefusedSourceRow } from "../../model/connector.js";
import { RowmillError } from "../../model/errors.js";
import type { Json } from "../../model/pipeline.js";
import type { ReadFiles } from "./files.js";
import { findFiles, hashOf, type FoundFile } from "./find-files.js";
import { KnownKeys } from "./known-keys.js";

/** Of the files that were read: path → size, time and hash. */
type Mark = Record<string, [bytes: number, timeMs: number, hash: string]>;

const UNREADABLE = "a line cannot be read";
/** Of a key in a message. */
const KEY_CHARACTERS = 60;

export async function* readFiles(read: ReadFiles, { since, signal }: ReadOptions): AsyncGenerator<Page> {
  const before = markOf(since);
  const found = await findFiles(read.pattern);
  const mark: Mark = {};
  const keys = new KnownKeys();
  for (const file of found) {
    const known = before?.[file.path];
    if (known?.[0] === file.bytes && known[1] === file.timeMs) {
      mark[file.path] = known;
      continue;
    }
    const hash = await hashOf(file, signal);
    mark[file.path] = [file.bytes, file.timeMs, hash];
    if (known?.[2] === hash && known[0] === file.bytes) continue;
    yield* rowsOf(read, { file, keys, signal });
  }
  yield { rows: [], mark };
}

/** Null: all files are read. */
function markOf(since: Json): Mark | null {
  return since === null ? null : (since as Mark);
}

interface Reading {
  readonly file: FoundFile;
  /** Of this pass. */
  readonly keys: KnownKeys;
  readonly signal: AbortSignal;
}

async function* rowsOf(read: ReadFiles, { file, keys, signal }: Reading): AsyncGenerator<Page> {
  const look = await unlessBroken(() => lookAtFile(file.path, { ...read.look, signal }));
  const missing = read.key.find((name) => look.format !== "jsonl" && !look.columns.includes(name));
  if (missing !== undefined)
    throw new ConnectorError("stop", `${file.path} has no column ${JSON.stringify(missing)}, which is the key.`, {
      hints: [`Its columns: ${look.columns.join(", ")}`],
    });
  const columns = [...new Set([...read.key, ...read.columns])];
  const own = new KnownKeys();
  for await (const { records } of readRecords(look, { signal })) {
    const rows: Record<string, string | null>[] = [];
    const refused: RefusedSourceRow[] = [];
    for (const record of records) {
      if ("problem" in record)
        refused.push({ reason: UNREADABLE, example: `${basename(file.path)}, line ${record.line}: ${record.problem}` });
      else if (isNewest(read, record, { file, keys, own }))
        rows.push(Object.fromEntries(columns.map((name) => [name, record.cells[name] ?? null])));
    }
    yield { rows, refused };
  }
}

/** False: a newer file has its key. @throws ConnectorError where this file has it twice, with other cells */
function isNewest(
  read: ReadFiles,
  record: GoodRecord,
  { file, keys, own }: Pick<Reading, "file" | "keys"> & { readonly own: KnownKeys },
): boolean {
  const key = JSON.stringify(read.key.map((name) => record.cells[name] ?? null));
  const content = JSON.stringify(read.columns.map((name) => record.cells[name] ?? null));
  const earlier = own.add(key, content, record.line);
  if (earlier !== null)
    throw new ConnectorError(
      "stop",
      `Lines ${earlier} and ${record.line} of ${basename(file.path)} have the same key, ` +
        `${key.slice(0, KEY_CHARACTERS)}, and differ.`,
    );
  return keys.add(key, file.path, record.line) === null;
}

/** Of a file that is being written, or was removed meanwhile: the next reading may do better. */
async function unlessBroken<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof RowmillError)) throw error;
    throw new ConnectorError("again", error.message, { cause: error, hints: error.hints });
  }
}
