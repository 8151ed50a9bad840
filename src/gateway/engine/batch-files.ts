/**
 * Owns the files of a batch next to its record. While it runs: a link to its input, and its work file. A crash leaves
 * both, and the batch continues with them; they are removed when it has ended. At its end: the output and the error
 * file, whose ids were chosen with the batch, so writing them again after a crash replaces the previous ones.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as breathe } from "node:timers/promises";
import type { GatewaySettings } from "../settings.js";
import { AppendFile } from "../storage/append-file.js";
import type { BatchRecord } from "../storage/batch-store.js";
import type { FileStore } from "../storage/file-store.js";
import { WorkFile } from "../storage/work-file.js";
import { usageOf } from "./batch-moves.js";
import { countLines } from "./execution.js";

const LINES_PER_WRITE = 500;

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

interface OutputParts {
  readonly files: FileStore;
  readonly settings: GatewaySettings;
}

/** From the work file, in shuffled order and bounded memory. Returns their ids; null: the file would have no lines. */
export async function writeOutputFiles(
  record: BatchRecord,
  work: WorkFile,
  parts: OutputParts,
): Promise<{ output: string | null; error: string | null }> {
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
  readonly #record: BatchRecord;
  readonly #name: "output" | "error";
  readonly #parts: OutputParts;
  readonly #path: string;
  readonly #file: AppendFile;
  #pending: string[] = [];

  constructor(record: BatchRecord, name: "output" | "error", parts: OutputParts) {
    this.#record = record;
    this.#name = name;
    this.#parts = parts;
    this.#path = parts.files.temporaryPath();
    this.#file = new AppendFile(this.#path);
  }

  add(line: string): void {
    const place = { batchId: this.#record.batch.id, file: this.#name };
    this.#pending.push(...(this.#parts.settings.faults.transformOutput(line, place) ?? [line]));
  }

  flush(): void {
    if (this.#pending.length > 0) this.#file.append(this.#pending.map((line) => `${line}\n`).join(""));
    this.#pending = [];
  }

  finish(): string | null {
    if (this.#file.bytes === 0) return null;
    return this.#parts.files.add({
      id: this.#name === "output" ? this.#record.outputFileId : this.#record.errorFileId,
      owner: this.#record.owner,
      from: this.#path,
      filename: `${this.#record.batch.id}_${this.#name}.jsonl`,
      purpose: "batch_output",
      ttlSeconds: this.#record.outputTtlSeconds ?? this.#parts.settings.fileTtlSeconds,
    }).id;
  }

  close(): void {
    this.#file.close();
    rmSync(this.#path, { force: true });
  }
}

/** The numbers 0 … count - 1, shuffled by the seed, and so the same each time. In order if it is null. */
export function shuffledOrder(count: number, seed: number | null): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, index) => index);
  if (seed === null) return order;
  const next = mulberry32(seed);
  for (let last = count - 1; last > 0; last--) {
    const chosen = Math.floor(next() * (last + 1));
    const kept = order[last] ?? 0;
    order[last] = order[chosen] ?? 0;
    order[chosen] = kept;
  }
  return order;
}

/** Tommy Ettinger's Mulberry32, public domain: uniform in [0, 1). */
function mulberry32(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
