/** Reads a file's records by pages, in order, in bounded memory. */
import type { FileLook, Place, RecordPage } from "./file-types.js";
import { readParquet } from "./parquet/read-parquet.js";
import { readText } from "./read-pages.js";

export interface ReadOptions {
  /** The place of an earlier page. Default: from the first record. */
  readonly after?: Place | undefined;
  /** Where a Parquet file inside of gzip is unpacked. Default: the system's folder for temporary files. */
  readonly scratch?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Pages of at most 1,000 records, and of 1 MiB and one record. */
export function readRecords(look: FileLook, options: ReadOptions = {}): AsyncGenerator<RecordPage> {
  const { after = look.body, scratch, signal } = options;
  if (look.format === "parquet") return readParquet(look, { after, scratch, signal });
  return readText(look, { after, signal });
}
