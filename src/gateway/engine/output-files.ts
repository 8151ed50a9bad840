/**
 * Makes the output and the error file of a batch from its work file, in shuffled order.
 *
 * Both files get the ids that were chosen with the batch: writing them again after a crash replaces the former ones.
 * Memory: five hundred lines, whatever the batch.
 */
import { rmSync } from "node:fs";
import { setImmediate as breathe } from "node:timers/promises";
import { AppendFile } from "../storage/append-file.js";
import type { BatchRecord } from "../storage/batch-store.js";
import type { FileStore } from "../storage/file-store.js";
import type { GatewaySettings } from "../settings.js";
import { shuffledOrder } from "./shuffle.js";
import type { WorkFile } from "../storage/work-file.js";

const LINES_PER_WRITE = 500;

export interface OutputParts {
  readonly files: FileStore;
  readonly settings: GatewaySettings;
}

/** Null stands for a file that would have no line. */
export interface OutputFileIds {
  readonly output: string | null;
  readonly error: string | null;
}

export async function writeOutputFiles(
  record: BatchRecord,
  work: WorkFile,
  parts: OutputParts,
): Promise<OutputFileIds> {
  const output = new OutputFile(record, "output", parts);
  const error = new OutputFile(record, "error", parts);
  const { shuffleSeed } = parts.settings;
  const order = shuffledOrder(work.lines, shuffleSeed === null ? null : shuffleSeed + record.sequence);
  try {
    for (let start = 0; start < order.length; start += LINES_PER_WRITE) {
      for (const index of order.subarray(start, start + LINES_PER_WRITE)) {
        const line = work.line(index);
        (line.ok ? output : error).add(line.text);
      }
      output.flush();
      error.flush();
      await breathe();
    }
    return { output: output.finish(), error: error.finish() };
  } finally {
    output.close();
    error.close();
  }
}

class OutputFile {
  private readonly record: BatchRecord;
  private readonly name: "output" | "error";
  private readonly parts: OutputParts;
  private readonly path: string;
  private readonly file: AppendFile;
  private pending: string[] = [];

  constructor(record: BatchRecord, name: "output" | "error", parts: OutputParts) {
    this.record = record;
    this.name = name;
    this.parts = parts;
    this.path = parts.files.temporaryPath();
    this.file = new AppendFile(this.path);
  }

  add(line: string): void {
    const place = { batchId: this.record.batch.id, file: this.name };
    this.pending.push(...(this.parts.settings.faults.transformOutput(line, place) ?? [line]));
  }

  flush(): void {
    if (this.pending.length > 0) this.file.append(this.pending.map((line) => `${line}\n`).join(""));
    this.pending = [];
  }

  finish(): string | null {
    if (this.file.bytes === 0) return null;
    const { record, name } = this;
    return this.parts.files.add({
      id: name === "output" ? record.outputFileId : record.errorFileId,
      owner: record.owner,
      from: this.path,
      filename: `${record.batch.id}_${name}.jsonl`,
      purpose: "batch_output",
      ttlSeconds: record.outputTtlSeconds ?? this.parts.settings.fileTtlSeconds,
    }).id;
  }

  close(): void {
    this.file.close();
    rmSync(this.path, { force: true });
  }
}
