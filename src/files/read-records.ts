/** Reads a file's records by pages, in order, in bounded memory. */
import type { FileLook, Place, RecordPage } from "./file-types.js";
import { readText } from "./read-pages.js";

export interface ReadOptions {
  /** The place of an earlier page. Default: from the first record. */
  readonly after?: Place | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Pages of at most 1,000 records, and of 1 MiB and one record. */
export function readRecords(look: FileLook, { after, signal }: ReadOptions = {}): AsyncGenerator<RecordPage> {
  return readText(look, { after: after ?? look.body, signal });
}
