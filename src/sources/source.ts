/**
 * What a source of rows must answer; the worker knows only this. All reads run in a transaction of the caller, with the
 * settings pinned that shape a value's text.
 */
import type { Queryable } from "../postgres/database.js";
import type { RowSql } from "../store/requests/row-sql.js";
import type { RowCells } from "../model/pipeline.js";
import type { AskedRequest } from "../store/requests/planned-rows.js";

/** A row as it is now, without its content. */
export interface RowVersion {
  readonly key: string;
  /** Hexadecimal: 16 bytes of the SHA-256 over the declared columns; of too large a row, `large:` and its size. */
  readonly hash: string;
  /** The row was there before the pipeline and has not changed since. */
  readonly existedBefore: boolean;
}

export interface SourceRow extends RowVersion {
  /** Null: the row is too large to be read. */
  readonly cells: RowCells | null;
}

/** As many versions as one read has time for. */
export interface VersionsRead {
  /** Any order. */
  readonly versions: readonly RowVersion[];
  /** Not read for lack of time. Never all keys, so repeated calls with `left` end. */
  readonly left: readonly string[];
}

/** As many contents as go into memory together. */
export interface RowsRead {
  /** Any order. */
  readonly rows: readonly SourceRow[];
  /**
   * Not read, because the rows before them fill a chunk: the end of the given keys, in their order. Never all of them,
   * so repeated calls with `left` end.
   */
  readonly left: readonly string[];
}

/** Where a sweep stands. */
export interface SweepPlace {
  readonly cursor: readonly string[] | null;
  /** The newest request when it began. */
  readonly lastRequestId: string;
}

/** One chunk of the source phase of a sweep. */
export interface SweptChunk {
  readonly rows: number;
  /** Keys whose row differs from what the ledger knows. */
  readonly keys: readonly string[];
  /** Where the next chunk starts; null at the end. */
  readonly cursor: readonly string[] | null;
  /** `metHash` of the requests whose rows are among them. */
  readonly met: string;
}

/** As the ledger knows it; the row may have changed since. */
export interface AskedRow extends AskedRequest {
  /** Where the chunk after this row starts. */
  readonly cursor: readonly string[];
}

export interface KeylessRows {
  readonly rows: number;
  /** The parts of one such key as a JSON array; null where there are none. */
  readonly example: string | null;
  /** For display: why they cannot be asked, and what to do. */
  readonly reason: string;
}

export interface Source {
  readonly inSql: RowSql;
  /** Rows that are new to the ledger have to be read: some were there before the pipeline. */
  readonly looksAtNew: boolean;
  /** The rows of these keys that exist and match `where`, without their content. At most READ_KEYS_MAX keys. */
  readVersions(tx: Queryable, keys: readonly string[]): Promise<VersionsRead>;
  /**
   * The same with their content, from the first key on, up to CONTENT_BYTES_MAX together. A larger one comes alone, and
   * one over ROW_BYTES_MAX without its content.
   */
  readRows(tx: Queryable, keys: readonly string[]): Promise<RowsRead>;
  /** Keys of rows that match: the first ones, or any. Null: there was no time to choose any. */
  sampleKeys(tx: Queryable, sample: { readonly max: number; readonly random: boolean }): Promise<string[] | null>;
  /** Rows that match; null: there was no time to count them. */
  countRows(tx: Queryable): Promise<number | null>;
  /** About how many, by the database's statistics. Reads no row. */
  estimateRows(tx: Queryable): Promise<number>;
  /** One row's cells for display, long ones cut; null: there is no such row. */
  readShown(tx: Queryable, key: string): Promise<RowCells | null>;
  /** Compares the next rows in key order with the ledger. Writes nothing. */
  compareChunk(tx: Queryable, place: SweepPlace, rowsMax: number): Promise<SweptChunk>;
  /** Rows in the same order, without their content, for comparing fingerprints. */
  askedChunk(
    tx: Queryable,
    cursor: readonly string[] | null,
    rowsMax: number,
  ): Promise<{ rows: AskedRow[]; cursor: readonly string[] | null }>;
  /** Rows to be asked that have a null in their key; null: there was no time to count them, 30 seconds by default. */
  countKeyless(tx: Queryable, timeoutMs?: number): Promise<KeylessRows | null>;
  /** Of these ledger keys, those without a row. */
  missingKeys(tx: Queryable, keys: readonly string[]): Promise<string[]>;
}

export const READ_KEYS_MAX = 5_000;
/** Of all rows that are read at once: the JSON text of their declared columns. */
export const CONTENT_BYTES_MAX = 2 * 1024 * 1024;
/**
 * Of one row: some 1.5 million tokens of English. Rendering takes up to 24 times a row's size in memory (measured, with
 * characters beyond Latin-1), and a worker should never need more than 350 MB.
 */
export const ROW_BYTES_MAX = 4 * 1024 * 1024;
/** Begins the version of a row that is too large; its size in bytes follows, in decimal digits. */
export const LARGE_PREFIX = "large:";

/** For display: why a row has no cells. */
export function tooLargeText(hash: string): string {
  const bytes = Number(Buffer.from(hash, "hex").toString().slice(LARGE_PREFIX.length));
  const most = ROW_BYTES_MAX.toLocaleString("en-US");
  const size = bytes.toLocaleString("en-US");
  const problem =
    bytes > ROW_BYTES_MAX
      ? `The row's columns have ${size} bytes; Rowmill reads at most ${most} bytes a row.`
      : `The row's columns take ${size} bytes on disk, but over ${most} as text, or the database failed to read them.`;
  return `${problem} Leave a column out of source.columns, or put a shorter text into a column of its own.`;
}

/** The rows of all these keys with their content; one read is in memory at a time. */
export async function* contentsOf(
  source: Source,
  tx: Queryable,
  keys: readonly string[],
): AsyncGenerator<readonly SourceRow[]> {
  let left = keys;
  while (left.length > 0) {
    const read = await source.readRows(tx, left);
    yield read.rows;
    left = read.left;
  }
}
