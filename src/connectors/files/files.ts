/** `files()` of a config: rows from files that match a pattern. Loads no reader. */
import type { SyncedSource } from "../../config/define-source.js";
import type { FileEncoding, FileFormat } from "../../files/file-types.js";
import type { Page, ReadOptions, SourceConnector } from "../../model/connector.js";
import type { Duration } from "../../model/duration.js";

/** What `files` takes besides the pattern. */
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

/**
 * Rows of CSV, TSV, JSONL or Parquet files: `"inbox/*.csv"`, from the folder in which `rowmill up` runs. A file that is
 * new, or whose size, time and content differ, is read. Where two files have a row of one key, the newer counts.
 */
export function files<const Column extends string, const Key extends string>(
  pattern: string,
  { format, delimiter, encoding, ...shape }: FilesSpec<Column, Key>,
): SyncedSource<Column, Key> {
  const { key, columns } = shape;
  const look = {
    ...(format === undefined ? {} : { format }),
    ...(delimiter === undefined ? {} : { delimiter }),
    ...(encoding === undefined ? {} : { encoding }),
  };
  const read: ReadFiles = { pattern, key: typeof key === "string" ? [key] : [...key], columns: [...columns], look };
  const reads = JSON.stringify([pattern, look]);
  return { ...shape, elsewhere: { name: "files", reads, rows: (options) => lazily(read, options) } };
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
