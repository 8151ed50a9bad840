/** What a reading of the file found: how many records, which cannot be asked, and keys that name two of them. */
import { basename } from "node:path";
import type { FileRow, RowShape } from "../../connectors/files/file-row.js";
import type { FileFollower } from "../../connectors/files/source.js";
import type { FileLook, FileRecord } from "../../files/file-types.js";
import { ConnectorError } from "../../model/connector.js";
import { KnownKeys } from "../../connectors/files/known-keys.js";

const PROBLEMS_SHOWN = 3;

export interface LineProblem {
  readonly line: number;
  readonly problem: string;
}

export class FileReading implements FileFollower {
  records = 0;
  /** Of the records in UTF-8, without the ends of their lines. */
  bytes = 0;
  problems = 0;
  /** The first ones. */
  readonly examples: LineProblem[] = [];
  /** Why the file as a whole cannot be asked. */
  fault: ConnectorError | null = null;
  readonly #file: string;
  readonly #keyColumn: string | null;
  #keys: KnownKeys | null = null;

  constructor(file: string, { keyColumn }: Pick<RowShape, "keyColumn">) {
    this.#file = basename(file);
    this.#keyColumn = keyColumn;
    this.onBegin();
  }

  /** Again from the first record: the pass of a run that was killed is followed by another one. */
  onBegin(): void {
    [this.records, this.bytes, this.problems, this.examples.length] = [0, 0, 0, 0];
    this.#keys = this.#keyColumn === null ? null : new KnownKeys();
  }

  /** The part of the file that was read, from 0 to 1. Null: that is not known before its end. */
  partOf({ bytes, rows, gzip, encoding }: Pick<FileLook, "bytes" | "rows" | "gzip" | "encoding">): number | null {
    if (rows !== null) return Math.min(1, this.records / Math.max(1, rows));
    if (gzip || encoding !== "utf-8") return null;
    return Math.min(1, (this.bytes + this.records) / Math.max(1, bytes));
  }

  /** @throws ConnectorError where a key names two records that differ in what is asked */
  onRecord(record: FileRecord, row: FileRow): void {
    this.records += 1;
    this.bytes += record.raw?.length ?? 0;
    if ("problem" in row) {
      this.problems += 1;
      if (this.examples.length < PROBLEMS_SHOWN) this.examples.push({ line: record.line, problem: row.problem });
      return;
    }
    const earlier = this.#keys?.add(row.key, JSON.stringify(row.cells), record.line) ?? null;
    if (earlier === null) return;
    this.fault = new ConnectorError(
      "stop",
      `Lines ${earlier} and ${record.line} of ${this.#file} have the same ${this.#keyColumn ?? "key"}, ` +
        `${JSON.stringify(row.key.slice(0, 60))}, and are not equal.`,
      { hints: ["Name another column with --key, or leave it out: then a line's content names it."] },
    );
    throw this.fault;
  }
}
