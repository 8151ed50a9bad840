/** Opens a Parquet file for reading at any place; one that is packed with gzip is unpacked into a temporary file. */
import { isUtf8 } from "node:buffer";
import { type FileHandle, open } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, join } from "node:path";
import type {
  AsyncBuffer,
  ColumnMetaData,
  Compressors,
  DataReader,
  FileMetaData,
  PageHeader,
  ParquetScan,
} from "hyparquet";
import { badFile, readFailure, writeFailure } from "../file-failure.js";
import { dropTemporary, removeLeftovers, temporarySuffix } from "../leftovers.js";
import { storedBytes, unpacked } from "../read-bytes.js";
import { asStored, storedColumns, type StoredColumn } from "./stored-schema.js";
import { BadText } from "./stored-text.js";

export interface ParquetFile {
  readonly path: string;
  readonly bytes: number;
  readonly gzip: boolean;
}

export interface OpenOptions {
  readonly scratch?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface OpenParquet {
  /** As the file says. */
  readonly metadata: FileMetaData;
  readonly columns: readonly StoredColumn[];
  /** Values of these rows as they are stored, one list for each column. */
  rows(from: number, to: number): Promise<readonly ArrayLike<unknown>[]>;
  close(): Promise<void>;
}

/** Of a page, and of a column in a row group as it is stored: each is in memory as a whole, and more than once. */
const BYTES_AT_ONCE_MAX = 128 * 1024 * 1024;

/** @throws RowmillError if it is no Parquet file, or is damaged */
export async function openParquet(file: ParquetFile, options: OpenOptions): Promise<OpenParquet> {
  const unpackedPath = file.gzip ? await unpack(file, options) : null;
  const handle = await open(unpackedPath ?? file.path, "r");
  const close = async (): Promise<void> => {
    await handle.close();
    if (unpackedPath !== null) await dropTemporary(unpackedPath);
  };
  try {
    const bytes = unpackedPath === null ? file.bytes : (await handle.stat()).size;
    return await opened(file.path, handle, bytes, close);
  } catch (error) {
    await close();
    throw parquetFailure(file.path, error);
  }
}

async function opened(
  path: string,
  handle: FileHandle,
  bytes: number,
  close: () => Promise<void>,
): Promise<OpenParquet> {
  const { parquetMetadataAsync, parquetScan } = await import("hyparquet");
  const { parquetHeader } = await import("hyparquet/src/column.js");
  const compressors = await boundedCompressors(path);
  const file = randomAccess(path, handle, bytes);
  const metadata = await parquetMetadataAsync(file, { geoparquet: false });
  const stored = { ...metadata, schema: metadata.schema.map(asStored) };
  const columns = storedColumns(metadata.schema);
  const names = columns.map(({ element }) => element.name);
  return {
    metadata,
    columns,
    close,
    async rows(from, to) {
      // A new scan each time, because one keeps what it read.
      const scan = await parquetScan({
        file: withPagesChecked(file, metadata, parquetHeader),
        metadata: stored,
        compressors,
        utf8: false,
        parsers: STORED_PARSERS,
      });
      try {
        return await readColumns(scan, names, from, to);
      } catch (error) {
        throw parquetFailure(path, error);
      }
    },
  };
}

async function readColumns(
  scan: ParquetScan,
  names: readonly string[],
  rowStart: number,
  rowEnd: number,
): Promise<readonly ArrayLike<unknown>[]> {
  const columns: ArrayLike<unknown>[] = [];
  for (const column of names) {
    const values: ArrayLike<unknown> = await scan.readColumn({ column, rowStart, rowEnd });
    if (values.length !== rowEnd - rowStart) throw new Error(`the column ${column} has too few values`);
    columns.push(Array.isArray(values) ? values.map(withTexts) : values);
  }
  return columns;
}

const STORED_PARSERS = {
  timestampFromNanoseconds: (nanos: bigint) => nanos,
  stringFromBytes: (bytes: unknown) => (bytes instanceof Uint8Array ? new UnreadText(bytes) : bytes),
};

/**
 * Becomes a text only where its row is read: pages are decoded as a whole, and some have 100 MB. Values of a dictionary
 * share one.
 */
class UnreadText {
  readonly #bytes: Uint8Array;
  #text: string | BadText | null = null;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  read(): string | BadText {
    this.#text ??= textOf(this.#bytes);
    return this.#text;
  }

  /** As the key of a map. */
  toString(): string {
    return String(this.read());
  }
}

/** Not TextDecoder, which drops a byte order mark. */
function textOf(bytes: Uint8Array): string | BadText {
  return isUtf8(bytes) ? Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString() : new BadText(bytes);
}

function withTexts(value: unknown): unknown {
  if (value instanceof UnreadText) return value.read();
  if (Array.isArray(value)) return value.map(withTexts);
  if (typeof value !== "object" || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, withTexts(member)]));
}

async function boundedCompressors(path: string): Promise<Compressors> {
  const { compressors } = await import("hyparquet-compressors");
  const bounded = Object.entries(compressors as Compressors).map(([codec, unpack]) => [
    codec,
    (input: Uint8Array, bytes: number): Uint8Array => {
      requireSmall(path, bytes, "unpacked");
      return unpack(input, bytes);
    },
  ]);
  return Object.fromEntries(bounded) as Compressors;
}

function requireSmall(path: string, bytes: number, how: "stored" | "unpacked"): void {
  if (bytes <= BYTES_AT_ONCE_MAX) return;
  const [mib, mibMax] = [Math.ceil(bytes / 1024 / 1024), BYTES_AT_ONCE_MAX / 1024 / 1024];
  throw badFile(
    path,
    `has too large row groups: Rowmill would have to read ${mib} MiB at once, ${how}. The most is ${mibMax} MiB.`,
    "Write it with smaller row groups. In DuckDB: " +
      `copy (from '${basename(path)}') to 'smaller.parquet' (row_group_size 10240)`,
  );
}

function randomAccess(path: string, handle: FileHandle, byteLength: number): AsyncBuffer {
  return {
    byteLength,
    async slice(start, end = byteLength) {
      // Also where one is no number.
      if (!(start >= 0 && end <= byteLength && start <= end)) throw new Error("it points beyond its end");
      requireSmall(path, end - start, "stored");
      const bytes = new Uint8Array(end - start);
      for (let at = 0; at < bytes.length;) {
        const { bytesRead } = await handle.read(bytes, at, bytes.length - at, start + at);
        if (bytesRead === 0) throw badFile(path, "became shorter while it was read.", "Run the command again.");
        at += bytesRead;
      }
      return bytes.buffer;
    },
  };
}

/**
 * hyparquet does not check the sizes of pages, and follows a damaged one back to the same page without end. It reads
 * the data of columns from the beginning of a page.
 */
function withPagesChecked(file: AsyncBuffer, { row_groups }: FileMetaData, readHeader: HeaderReader): AsyncBuffer {
  const chunks = row_groups.flatMap(({ columns }) => columns.map(({ meta_data }) => rangeOf(meta_data)));
  const checkedSlice = async (start: number, end?: number) => {
    const bytes = await file.slice(start, end);
    const to = start + bytes.byteLength;
    for (const chunk of chunks.filter((one) => one.from < to && start < one.to)) {
      const [first, last] = [Math.max(chunk.from, start), Math.min(chunk.to, to)];
      requirePages(new DataView(bytes, first - start, last - first), readHeader);
    }
    return bytes;
  };
  return {
    byteLength: file.byteLength,
    slice(start, end) {
      const checked = checkedSlice(start, end);
      // hyparquet reads ahead, and may fail elsewhere before it waits for this.
      checked.catch(() => undefined);
      return checked;
    },
  };
}

type HeaderReader = (reader: DataReader) => PageHeader;

/** As hyparquet finds it. */
function rangeOf(of: ColumnMetaData | undefined): { readonly from: number; readonly to: number } {
  if (of === undefined) return { from: 0, to: 0 };
  const from = Number(of.dictionary_page_offset || of.data_page_offset);
  return { from, to: from + Number(of.total_compressed_size) };
}

function requirePages(view: DataView, readHeader: HeaderReader): void {
  const reader = { view, offset: 0 };
  while (reader.offset < view.byteLength - 1) {
    const { compressed_page_size: stored, uncompressed_page_size: unpacked } = readHeader(reader);
    for (const size of [stored, unpacked])
      if (!Number.isInteger(size) || size < 0) throw new Error("a page has no valid size");
    reader.offset += stored;
  }
}

/** hyparquet throws errors of many kinds for a damaged file. */
export function parquetFailure(path: string, error: unknown): unknown {
  const known = readFailure(path, error);
  if (known !== error || !(error instanceof Error) || error.name === "RowmillError") return known;
  return badFile(path, `is not a Parquet file that Rowmill can read: ${error.message}.`, undefined, error);
}

const UNPACKED = ".unpacked";

async function unpack(file: ParquetFile, { scratch = tmpdir(), signal }: OpenOptions): Promise<string> {
  const path = join(scratch, UNPACKED + temporarySuffix());
  await removeLeftovers(scratch, UNPACKED);
  try {
    const out = await open(path, "wx", 0o600);
    try {
      const stored = storedBytes(file.path, { from: 0, to: file.bytes, signal });
      for await (const chunk of unpacked(stored)) {
        for (let at = 0; at < chunk.length;) at += (await out.write(chunk, at)).bytesWritten;
      }
    } finally {
      await out.close();
    }
    return path;
  } catch (error) {
    await dropTemporary(path);
    throw writeFailure(path, readFailure(file.path, error));
  }
}
