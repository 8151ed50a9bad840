/** What `src/files` gives to others: what a file is, its records, and a writer for them. */
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import type { Json } from "../model/pipeline.js";

export const FILE_FORMATS = ["csv", "tsv", "jsonl", "parquet"] as const;
export type FileFormat = (typeof FILE_FORMATS)[number];

/** `latin1` is read as Windows-1252, which adds curly quotes, dashes and the euro sign. */
export const FILE_ENCODINGS = ["utf-8", "utf-16le", "utf-16be", "latin1"] as const;
export type FileEncoding = (typeof FILE_ENCODINGS)[number];

export type LineEnd = "\n" | "\r\n" | "\r";

/** Where a record begins: bytes of the text in UTF-8 without byte order mark, and its line. For Parquet: rows. */
export interface Place {
  readonly at: number;
  readonly line: number;
}

/** `json`: an object or a list. */
export type CellKind = "text" | "number" | "boolean" | "json";

/** What a file is, found by looking at its first MiB and, for Parquet, at its footer. It may be stored as JSON. */
export interface FileLook {
  readonly path: string;
  /** The size at the look: a file that grows is read up to here. */
  readonly bytes: number;
  readonly format: FileFormat;
  readonly gzip: boolean;
  readonly encoding: FileEncoding;
  readonly bom: boolean;
  /** Null: a single column, or no CSV. */
  readonly delimiter: string | null;
  readonly lineEnd: LineEnd;
  /** Unnamed: `column_1`; repeated: `name_2`. JSONL: the names in the sample; more may come. */
  readonly columns: readonly string[];
  /** Cells of the first records, in the order of `columns`. */
  readonly examples: readonly (readonly (string | null)[])[];
  /** For display. */
  readonly notes: readonly string[];
  /** Exact for Parquet, else null. */
  readonly rows: number | null;
  /** CSV: the header as it stands, with `sep=;` before it if that is there. */
  readonly head: string;
  /** Parquet: what the cells of each column are. */
  readonly kinds?: readonly CellKind[];
  /** The place of the first record. */
  readonly body: Place;
}

export interface LookOptions {
  readonly format?: FileFormat | undefined;
  /** One character. Null: a single column. */
  readonly delimiter?: string | null | undefined;
  readonly encoding?: FileEncoding | undefined;
  /** Where a Parquet file inside of gzip is unpacked. Default: the system's folder for temporary files. */
  readonly scratch?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

interface RecordPlace {
  /** Where it begins, from 1. For Parquet: the row. */
  readonly line: number;
  /** Its bytes in UTF-8 without line end. Null for Parquet, and for a record above RECORD_BYTES_MAX. */
  readonly raw: Buffer | null;
  /** Parquet: the values as stored, in the order of the columns, for a writer of Parquet. */
  readonly value?: readonly unknown[];
}

export interface GoodRecord extends RecordPlace {
  /** Text, whatever it looks like. JSONL: numbers as written, objects and lists as JSON; `null` and absent: null. */
  readonly cells: Readonly<Record<string, string | null>>;
}

/** A record that cannot be read; those after it can. */
export interface FailedRecord extends RecordPlace {
  /** Says what and how to fix it, without the place. */
  readonly problem: string;
  /** CSV: how many cells it has; 0 if that cannot be told. */
  readonly width?: number;
}

export type FileRecord = GoodRecord | FailedRecord;

export interface RecordPage {
  readonly records: readonly FileRecord[];
  /** Where the next page begins. */
  readonly place: Place;
}

export interface AnsweredRecord {
  readonly record: FileRecord;
  /** By field; null: no answer. */
  readonly answer: Readonly<Record<string, Json>> | null;
  readonly error: string | null;
}

export interface WriterOptions {
  /** Default: by the name of the output if it ends in one, else the input's. */
  readonly format?: FileFormat | undefined;
  /** Default: if the name of the output ends in `.gz`. */
  readonly gzip?: boolean | undefined;
  readonly answer: readonly AnswerColumn[];
  /** Adds a column for errors. */
  readonly errors: boolean;
  /** Puts ' before texts that a spreadsheet would run. */
  readonly escapeFormulas: boolean;
  /** Replaces a file that is there. */
  readonly overwrite: boolean;
  readonly scratch?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** Writes records with added columns. The output appears as a whole at `commit`, or never. */
export interface RecordWriter {
  readonly format: FileFormat;
  /** The columns that are added, by their names in the output, answers first. */
  readonly added: readonly string[];
  /** For display: a column that was renamed, a type that could not be kept. */
  readonly notes: readonly string[];
  write(records: readonly AnsweredRecord[]): Promise<void>;
  commit(): Promise<void>;
  discard(): Promise<void>;
}
