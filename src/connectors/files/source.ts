/** The records of one file as a source: each pass reads it as a whole, and shows all rows that it has. */
import type { FileLook, FileRecord } from "../../files/file-types.js";
import type { Page, ReadOptions, SourceConnector } from "../../model/connector.js";
import { rowOf, type FileRow, type RowShape } from "./file-row.js";

export interface FileFollower {
  /** A pass begins, which reads all records. */
  onBegin(): void;
  /** For each record, in order. */
  onRecord(record: FileRecord, row: FileRow): void;
}

export interface FileToRead {
  readonly path: string;
  readonly shape: RowShape;
  /** Records after these are left out. Null: none is. */
  readonly limit: number | null;
  /** What is read; another one is read from its beginning. */
  readonly identity: string;
  readonly look: () => Promise<FileLook>;
  /** Follows what is read. What it throws ends the reading. Null: no one does. */
  readonly reading: FileFollower | null;
}

export function fileSource(file: FileToRead): SourceConnector {
  return { name: "files", reads: file.identity, rows: (options) => pagesOf(file, options) };
}

async function* pagesOf(file: FileToRead, { signal }: ReadOptions): AsyncGenerator<Page> {
  file.reading?.onBegin();
  for await (const records of recordsOf(file, signal)) {
    const rows: Record<string, string | null>[] = [];
    for (const record of records) {
      const row = rowOf(record, file.shape);
      file.reading?.onRecord(record, row);
      if (!("problem" in row)) rows.push({ ...row.cells });
    }
    yield { rows };
  }
}

/** Pages of the records that count, in the order of the file; the same at each reading. */
export async function* recordsOf(
  { look, limit }: Pick<FileToRead, "look" | "limit">,
  signal: AbortSignal,
): AsyncGenerator<readonly FileRecord[]> {
  const { readRecords } = await import("../../files/read-records.js");
  let left = limit ?? Infinity;
  for await (const { records } of readRecords(await look(), { signal })) {
    yield records.length <= left ? records : records.slice(0, left);
    left -= records.length;
    if (left <= 0) return;
  }
}
