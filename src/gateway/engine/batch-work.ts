/**
 * What one running batch has on disk beside its record: a link to its input, and its work file. Both are removed when
 * the batch has ended.
 *
 * A crash leaves both; the batch goes on with them.
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

  /** The bytes stay readable under `inputPath` whatever becomes of the file. */
  keepInput(files: FileStore): void {
    files.link(this.#record.batch.input_file_id, this.inputPath);
  }

  /** Opened on first use with the lines that are journalled; counts and usage of the record then say what they hold. */
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
