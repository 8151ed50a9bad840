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
import { isSystemError } from "../../model/file-errors.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import type { Json } from "../../model/pipeline.js";
import type { ReadFiles } from "./files.js";
import { findFiles, hashOf, isSameFile, type FoundFile } from "./find-files.js";
import { KnownKeys } from "./known-keys.js";

/** Of the files that were read: path → size, time and hash. */
type Mark = Record<string, Entry>;
type Entry = [bytes: number, timeMs: number, hash: string];

const UNREADABLE = "a line cannot be read";
/** Of a key in a message. */
const KEY_CHARACTERS = 60;

export async function* readFiles(read: ReadFiles, { since, signal }: ReadOptions): AsyncGenerator<Page> {
  const before = markOf(since);
  const found = await findFiles(read.pattern);
  const mark: Mark = {};
  const keys = new KnownKeys();
  let newer: FoundFile[] = [];
  for (const file of found) {
    const known = before?.[file.path];
    const entry = await entryOf(file, known, signal);
    mark[file.path] = entry;
    if (known?.[2] === entry[2] && known[0] === entry[0]) {
      newer.push(file);
      continue;
    }
    // Files that did not change are read only where an older one did, which must not win over their rows.
    for (const other of newer) await readKeys(read, { file: other, keys, signal });
    newer = [];
    yield* rowsOf(read, { file, keys, signal });
  }
  yield { rows: [], mark };
}

async function entryOf(file: FoundFile, known: Entry | undefined, signal: AbortSignal): Promise<Entry> {
  if (known?.[0] === file.bytes && known[1] === file.timeMs) return known;
  return [file.bytes, file.timeMs, await unlessBroken(() => hashOf(file, signal))];
}

async function readKeys(read: ReadFiles, reading: Reading): Promise<void> {
  for await (const rows of rowsOf(read, reading)) void rows;
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
    // Before they count: a row that is made of two files would be paid.
    if (!(await isSameFile(file))) throw changedMeanwhile(file);
    yield { rows, refused };
  }
}

function changedMeanwhile({ path }: FoundFile): ConnectorError {
  return new ConnectorError("again", `${path} was removed or replaced while it was read.`);
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

/** Of a file that is being written, or was removed in the meantime: the next reading may do better. */
async function unlessBroken<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ConnectorError) throw error;
    if (error instanceof RowmillError)
      throw new ConnectorError("again", error.message, { cause: error, hints: error.hints });
    if (!isSystemError(error)) throw error;
    throw new ConnectorError("again", thrownMessage(error), { cause: error });
  }
}
