/**
 * Owns `batches/`: the records of batches, on disk and in memory. Each change of status is on disk before anyone can
 * see it. Counts of a running batch are only in memory; after a restart they come from its work file.
 */
import { rmSync } from "node:fs";
import { join } from "node:path";
import { z } from "zod";
import { RowmillError } from "../../model/errors.js";
import { maySee, type Owner } from "./api-keys.js";
import { readJsonObjects, writeJsonAtomic } from "./state-dir.js";
import { batchSchema, isTerminal, type BatchObject } from "../protocol/wire.js";

/** About 2 kB of memory each. */
const BATCHES_MAX = 100_000;

const recordSchema = z.object({
  sequence: z.number().int(),
  /** Absent in old records. */
  owner: z.string().nullable().default(null),
  batch: batchSchema,
  /** Chosen before the files are written, so that a restart writes the same ones. */
  outputFileId: z.string(),
  errorFileId: z.string(),
  outputTtlSeconds: z.number().int().nullable(),
  /** Prompt tokens by the gateway's count; they occupy the model's queue until the batch has ended. */
  enqueuedTokens: z.number().int(),
  /** The ending that a test has set, after how many executed requests. */
  stop: z.object({ as: z.enum(["expired", "cancelled"]), afterRequests: z.number().int() }).nullable(),
  /** The requests executed when it expired or was cancelled; later lines only have the reason. */
  endedAfter: z.number().int().nullable(),
});
export type BatchRecord = z.infer<typeof recordSchema>;

export class BatchStore {
  readonly #records = new Map<string, BatchRecord>();
  readonly #running = new Set<BatchRecord>();
  readonly #dir: string;
  #nextSequence = 1;

  constructor(dir: string) {
    this.#dir = dir;
    const stored = readJsonObjects(dir).map((value) => recordSchema.parse(value));
    for (const record of stored.sort((a, b) => a.sequence - b.sequence)) this.#remember(record);
  }

  /** Writes it to disk. @throws RowmillError `refused` if there are too many */
  add(record: Omit<BatchRecord, "sequence">): BatchRecord {
    if (this.isFull) {
      throw new RowmillError("refused", `The gateway already holds ${BATCHES_MAX} batches.`, {
        hints: ["Keep ended batches for fewer days, or start the gateway with an empty data folder."],
      });
    }
    const numbered = { ...record, sequence: this.#nextSequence };
    this.save(numbered);
    this.#remember(numbered);
    return numbered;
  }

  save(record: BatchRecord): void {
    writeJsonAtomic(join(this.#dir, `${record.batch.id}.json`), record);
    if (isTerminal(record.batch.status)) this.#running.delete(record);
  }

  get isFull(): boolean {
    return this.#records.size >= BATCHES_MAX;
  }

  /** Of a batch that has ended. */
  delete(id: string): void {
    rmSync(join(this.#dir, `${id}.json`), { force: true });
    this.#records.delete(id);
  }

  /** Undefined if it does not exist, or belongs to another owner. */
  get(id: string, caller: Owner): BatchRecord | undefined {
    const record = this.#records.get(id);
    return record !== undefined && maySee(caller, record.owner) ? record : undefined;
  }

  /** Oldest first, without those of other owners. */
  list(caller: Owner): BatchRecord[] {
    return [...this.#records.values()].filter(({ owner }) => maySee(caller, owner));
  }

  /** Gives what has no owner to this one. */
  adopt(owner: string): void {
    for (const record of this.#records.values()) {
      if (record.owner !== null) continue;
      record.owner = owner;
      this.save(record);
    }
  }

  listRunning(): BatchRecord[] {
    return [...this.#running];
  }

  #remember(record: BatchRecord): void {
    this.#records.set(record.batch.id, record);
    if (!isTerminal(record.batch.status)) this.#running.add(record);
    this.#nextSequence = Math.max(this.#nextSequence, record.sequence + 1);
  }
}

/** The batch in replies, in the dialect that was set. */
export function wireForm(record: BatchRecord, absentFileIds: null | "absent" | ""): BatchObject {
  const { output_file_id: output, error_file_id: error, ...rest } = record.batch;
  const named = (name: string, id: string | null) => {
    if (id !== null) return { [name]: id };
    return absentFileIds === "absent" ? {} : { [name]: absentFileIds };
  };
  return { ...rest, ...named("output_file_id", output), ...named("error_file_id", error) };
}
