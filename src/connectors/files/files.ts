/** `files()` of a config: rows from files that match a pattern, or a file for answers. Loads no reader or writer. */
import { basename, resolve } from "node:path";
import type { SyncedSource } from "../../config/define-source.js";
import type { FileEncoding, FileFormat } from "../../files/file-types.js";
import type { Page, ReadOptions, SourceConnector, TargetConnector } from "../../model/connector.js";
import type { Duration } from "../../model/duration.js";
import type { OpenFileTarget, WantedFile } from "./target/file-target.js";

/** What `files` takes in addition to the pattern, as a source. */
export interface FilesSpec<Column extends string, Key extends string> {
  /** The column or columns that identify a row, in all files together. */
  readonly key: Key | readonly Key[];
  /** The columns that your prompt uses. */
  readonly columns: readonly Column[];
  /** Default: by each file's name and content. */
  readonly format?: FileFormat;
  /** Between the cells of a CSV. Default: found out. */
  readonly delimiter?: string;
  /** Default: found out. */
  readonly encoding?: FileEncoding;
  /** How long after a reading the next one looks for new and changed files. Default: `"1m"`. */
  readonly every?: Duration;
  /** How often all files are read again, which alone shows rows that are gone. Default: `"1d"`. */
  readonly fullEvery?: Duration;
  /** What to do with an answer whose row is gone, as for a table. Default: `"drop"`. */
  readonly onGone?: "drop" | "keepAnswer";
}

/** As the reading needs it. */
export interface ReadFiles {
  readonly pattern: string;
  readonly key: readonly string[];
  readonly columns: readonly string[];
  readonly look: { readonly format?: FileFormat; readonly delimiter?: string; readonly encoding?: FileEncoding };
}

/** What `files` takes in addition to the path, as a target. */
export interface FileTargetOptions {
  /** Default: by the name of the file. */
  readonly format?: FileFormat;
  /** Puts `'` before texts in CSV and TSV that a spreadsheet would run. Default: true. */
  readonly escapeFormulas?: boolean;
}

/**
 * Rows of CSV, TSV, JSONL or Parquet files: `"inbox/*.csv"`, from the folder in which `rowmill up` runs. A file that is
 * new, or whose size, time and content differ, is read. Where two files have a row of one key, the newer counts.
 */
export function files<const Column extends string, const Key extends string>(
  pattern: string,
  spec: FilesSpec<Column, Key>,
): SyncedSource<Column, Key>;
/**
 * A file with the newest answer of each row, in JSONL, CSV, TSV or Parquet: `"out/labels.jsonl"`, from the folder in
 * which `rowmill up` runs. It is replaced as a whole each time that no answer waits for delivery.
 */
export function files(path: string, options?: FileTargetOptions): TargetConnector;
export function files(
  path: string,
  given: FilesSpec<string, string> | FileTargetOptions = {},
): SyncedSource<string, string> | TargetConnector {
  return "columns" in given ? filesSource(path, given) : filesTarget(path, given);
}

function filesSource(
  pattern: string,
  { format, delimiter, encoding, ...shape }: FilesSpec<string, string>,
): SyncedSource<string, string> {
  const { key, columns } = shape;
  const look = {
    ...(format === undefined ? {} : { format }),
    ...(delimiter === undefined ? {} : { delimiter }),
    ...(encoding === undefined ? {} : { encoding }),
  };
  const read: ReadFiles = { pattern, key: typeof key === "string" ? [key] : [...key], columns: [...columns], look };
  const reads = JSON.stringify([pattern, look]);
  const identity = (): Promise<string | null> => identityOf(pattern);
  return { ...shape, elsewhere: { name: "files", reads, identity, rows: (options) => lazily(read, options) } };
}

/** What a part holds in memory several times over. */
const CHANGES_MAX = 2_000;
const BYTES_MAX = 4 * 1024 * 1024;

function filesTarget(path: string, { format, escapeFormulas = true }: FileTargetOptions): TargetConnector {
  let opened: ReturnType<typeof openTarget> | null = null;
  // Only now, because the folder of the process counts when it delivers.
  const wanted = () => ({ path: resolve(path), format, escapeFormulas });
  const target = () => (opened ??= openTarget(wanted()));
  return {
    name: "files",
    promise: "onceInEffect",
    identity: () => identityOf(path),
    writes: path,
    most: { changes: CHANGES_MAX, bytes: BYTES_MAX },
    diagnose: async (of) => (await import("./target/diagnose.js")).diagnose(wanted(), of),
    prepare: async (of) => (await target()).prepare(of),
    write: async (changes, options) => (await target()).write(changes, options),
    settle: async (options) => (await target()).settle(options),
  };
}

async function openTarget(wanted: WantedFile): Promise<OpenFileTarget> {
  return (await import("./target/file-target.js")).openFileTarget(wanted);
}

/** A pattern is not one file: its outputs are passed over. */
function identityOf(path: string): Promise<string | null> {
  return Promise.resolve(/[*?]/.test(basename(path)) ? null : `file ${resolve(path)}`);
}

/** The pattern of such a source. Null: it is another one. */
export function patternOf({ name, reads }: SourceConnector): string | null {
  if (name !== "files" || reads === undefined || !reads.startsWith("[")) return null;
  const [pattern]: unknown[] = JSON.parse(reads);
  return typeof pattern === "string" ? pattern : null;
}

async function* lazily(read: ReadFiles, options: ReadOptions): AsyncGenerator<Page> {
  const { readFiles } = await import("./read-files.js");
  yield* readFiles(read, options);
}
