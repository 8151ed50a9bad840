/**
 * Owns a running batch's files next to its record: a link to its input, and its work file. A crash leaves both, and the
 * batch continues with them. They are removed when it has ended.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import type { BatchRecord } from "../storage/batch-store.js";
import { usageOf } from "./batch-moves.js";
import { countLines } from "./execution.js";
import type { FileStore } from "../storage/file-store.js";
import { WorkFile } from "../storage/work-file.js";

export class BatchWork {
  readonly inputPath: string;
  readonly #workPath: string;
  readonly #record: BatchRecord;
  #open: WorkFile | null = null;
  /** How many of its lines the journal has as executed. */
  journalled: number;

  constructor(record: BatchRecord, workDir: string, journalled: number) {
    this.#record = record;
    this.journalled = journalled;
    this.inputPath = join(workDir, `${record.batch.id}.input`);
    this.#workPath = join(workDir, `${record.batch.id}.work`);
  }

  /** The bytes stay readable at `inputPath`, even if the file is deleted. */
  keepInput(files: FileStore): void {
    files.link(this.#record.batch.input_file_id, this.inputPath);
  }

  /** Opened at the first use with its journalled lines, from which the record gets counts and usage. */
  async file(): Promise<WorkFile> {
    if (this.#open !== null) return this.#open;
    const { work, tokens } = await WorkFile.open(this.#workPath, this.#record.endedAfter ?? this.journalled);
    this.#record.batch.usage = usageOf(tokens.input, tokens.output);
    countLines(this.#record, work);
    this.#open = work;
    return work;
  }

  close(): void {
    this.#open?.close();
    this.#open = null;
  }

  remove(): void {
    this.close();
    rmSync(this.inputPath, { force: true });
    rmSync(this.#workPath, { force: true });
  }
}
