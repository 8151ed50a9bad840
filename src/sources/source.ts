/**
 * What a source of rows must answer. The stages know only this; a table of PostgreSQL is the first kind.
 * All reads run inside a transaction of the caller, who has pinned the settings that text depends on.
 */
import type { Queryable } from "../postgres/database.js";
import type { RowSql } from "../store/requests/row-sql.js";
import type { RowCells } from "../model/pipeline.js";

/** A row as it is now, without its content. */
export interface RowVersion {
  readonly key: string;
  /** In hexadecimal digits: 16 bytes of the SHA-256 over the declared columns; of a row that is too large to be read `large:` and its size. */
  readonly hash: string;
  /** True when the row was there before the pipeline and has not changed since. */
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
  /** The keys that there was no time for: nothing is known about them. Never all of them; so whoever asks for `left` again comes to an end. */
  readonly left: readonly string[];
}

/** As many contents as go into memory together. */
export interface RowsRead {
  /** Any order. */
  readonly rows: readonly SourceRow[];
  /**
   * The keys that were not read, since the rows of those before them fill a chunk: nothing is known about them. Always the end of the
   * keys asked, in their order, and never all of them; so whoever asks for `left` again comes to an end.
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
  /** Keys whose row is not as the ledger knows it. */
  readonly keys: readonly string[];
  /** Where the next chunk starts; null at the end. */
  readonly cursor: readonly string[] | null;
  /** `metHash` of the requests whose rows are among them. */
  readonly met: string;
}

/** A row that was asked, failed or is to be asked again: for which content, and under which fingerprint? */
export interface AskedRow {
  readonly key: string;
  /** Where a chunk starts whose first row comes after this one. */
  readonly cursor: readonly string[];
  readonly requestId: string;
  readonly state: "succeeded" | "failed" | "waiting";
  /** The content that the ledger speaks of; the row may have another one by now. */
  readonly contentHash: string | null;
  readonly fingerprint: string | null;
  readonly answeredFingerprint: string | null;
}

export interface KeylessRows {
  readonly rows: number;
  /** The parts of one such key as a JSON array; null where there are none. */
  readonly example: string | null;
  /** Why they cannot be asked about, and what to do, for a person. */
  readonly reason: string;
}

export interface Source {
  readonly inSql: RowSql;
  /** A row that is new to the ledger has to be read: some were there before the pipeline. */
  readonly looksAtNew: boolean;
  /** The rows of these keys that exist and match `where`, without their content. At most READ_KEYS_MAX keys. */
  readVersions(tx: Queryable, keys: readonly string[]): Promise<VersionsRead>;
  /**
   * The same with their content, from the first key on, as far as the contents have at most CONTENT_BYTES_MAX together; a single
   * larger one comes alone, and one over ROW_BYTES_MAX without its content.
   */
  readRows(tx: Queryable, keys: readonly string[]): Promise<RowsRead>;
  /** One row's cells for a person, long ones cut; null: there is no such row. */
  readShown(tx: Queryable, key: string): Promise<RowCells | null>;
  /** Compares the next rows in key order with the ledger. Only finds: it writes nothing. */
  compareChunk(tx: Queryable, place: SweepPlace, rowsMax: number): Promise<SweptChunk>;
  /** Rows in the same order, with what was asked for them, for comparing fingerprints. Without their content. */
  askedChunk(
    tx: Queryable,
    cursor: readonly string[] | null,
    rowsMax: number,
  ): Promise<{ rows: AskedRow[]; cursor: readonly string[] | null }>;
  /** Rows that are to be asked and have no whole key; null: there was no time to count them. */
  countKeyless(tx: Queryable): Promise<KeylessRows | null>;
  /** Of these ledger keys, those without a row. */
  missingKeys(tx: Queryable, keys: readonly string[]): Promise<string[]>;
  /** The parts of a key, as a person or JSON gives them, in the ledger's one spelling. */
  spellKey(parts: readonly string[]): string;
}

export const READ_KEYS_MAX = 5_000;
/** Of the JSON text of the declared columns of all rows that are read at once. */
export const CONTENT_BYTES_MAX = 2 * 1024 * 1024;
/**
 * The same of one row: some 1.5 million tokens of English. Rendering a row takes up to 24 times its size in memory (measured, with
 * characters beyond Latin-1), and a worker should never need more than 350 MB.
 */
export const ROW_BYTES_MAX = 4 * 1024 * 1024;
/** Of the version of a row that is too large; its size in bytes follows, in decimal digits. */
export const LARGE_PREFIX = "large:";

/** Why a row has no cells, for people. */
export function tooLargeText(hash: string): string {
  const bytes = Number(Buffer.from(hash, "hex").toString().slice(LARGE_PREFIX.length));
  const most = ROW_BYTES_MAX.toLocaleString("en-US");
  return bytes > ROW_BYTES_MAX
    ? `The row's columns have ${bytes.toLocaleString("en-US")} bytes; Rowmill reads rows of at most ${most}. Leave a column out of source.columns, or keep a shorter text in a column of its own.`
    : `The row's columns are stored in ${bytes.toLocaleString("en-US")} bytes, but are over ${most} bytes as text, or the database did not get them read. Leave a column out of source.columns, or keep a shorter text in a column of its own.`;
}

/** The rows of all these keys with their content, one read after the other: never more of them in memory than one. */
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
