/**
 * Batches: what is known of each, on disk and in memory. Owns `batches/`; knows nothing of how a batch runs.
 *
 * Each change of status is on disk before anything tells of it. Counts of a running batch are only in memory: after
 * a restart they come from its work file.
 */
import { join } from "node:path";
import { z } from "zod";
import { RowmillError } from "../../model/errors.js";
import { maySee, type Owner } from "./api-keys.js";
import { readJsonObjects, writeJsonAtomic } from "./state-dir.js";
import { BATCH_STATUSES, isTerminal, type BatchObject } from "../protocol/wire.js";

/** The records are held in memory, about 2 kB each. */
const BATCHES_MAX = 100_000;

const instant = z.number().int().nullable();
const inputErrorSchema = z.object({
  code: z.string(),
  line: z.number().int().nullable(),
  message: z.string(),
  param: z.string().nullable(),
});
const recordSchema = z.object({
  sequence: z.number().int(),
  /** Absent in what was written before there were owners. */
  owner: z.string().nullable().default(null),
  /** As the wire has it, with null for what is not there. */
  batch: z.object({
    id: z.string(),
    object: z.literal("batch"),
    endpoint: z.string(),
    model: z.string().nullable(),
    errors: z.object({ object: z.literal("list"), data: z.array(inputErrorSchema) }).nullable(),
    input_file_id: z.string(),
    completion_window: z.literal("24h"),
    status: z.enum(BATCH_STATUSES),
    output_file_id: z.string().nullable(),
    error_file_id: z.string().nullable(),
    created_at: z.number().int(),
    in_progress_at: instant,
    expires_at: z.number().int(),
    finalizing_at: instant,
    completed_at: instant,
    failed_at: instant,
    expired_at: instant,
    cancelling_at: instant,
    cancelled_at: instant,
    request_counts: z.object({ total: z.number(), completed: z.number(), failed: z.number() }),
    usage: z.object({
      input_tokens: z.number(),
      input_tokens_details: z.object({ cached_tokens: z.number() }),
      output_tokens: z.number(),
      output_tokens_details: z.object({ reasoning_tokens: z.number() }),
      total_tokens: z.number(),
    }),
    metadata: z.record(z.string(), z.string()).nullable(),
  }),
  /** Chosen before the files are written, so that a restart writes the same ones again. */
  outputFileId: z.string(),
  errorFileId: z.string(),
  outputTtlSeconds: z.number().int().nullable(),
  /** Prompt tokens by the gateway's own count; they occupy the model's queue until the batch has ended. */
  enqueuedTokens: z.number().int(),
  /** Set from the provider's side: how it is to end, after how many executed requests. */
  stop: z.object({ as: z.enum(["expired", "cancelled"]), afterRequests: z.number().int() }).nullable(),
  /** How many requests were executed when it was expired or cancelled; later lines only say why not. */
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

  /** Writes it to disk. Throws `refused` when there are too many. */
  add(record: Omit<BatchRecord, "sequence">): BatchRecord {
    if (this.#records.size >= BATCHES_MAX) {
      throw new RowmillError("refused", `The gateway already holds ${BATCHES_MAX} batches.`, {
        hints: ["Start with an empty data folder."],
      });
    }
    const numbered = { ...record, sequence: this.#nextSequence };
    this.save(numbered);
    this.#remember(numbered);
    return numbered;
  }

  /** Writes the record as it is now; forgets it as running when it has ended. */
  save(record: BatchRecord): void {
    writeJsonAtomic(join(this.#dir, `${record.batch.id}.json`), record);
    if (isTerminal(record.batch.status)) this.#running.delete(record);
  }

  /** Undefined when it is not there, or is another's. */
  get(id: string, caller: Owner): BatchRecord | undefined {
    const record = this.#records.get(id);
    return record !== undefined && maySee(caller, record.owner) ? record : undefined;
  }

  /** Oldest first, without those of others. */
  list(caller: Owner): BatchRecord[] {
    return [...this.#records.values()].filter(({ owner }) => maySee(caller, owner));
  }

  /** Gives what belongs to nobody to this owner. */
  adopt(owner: string): void {
    for (const record of this.#records.values()) {
      if (record.owner !== null) continue;
      record.owner = owner;
      this.save(record);
    }
  }

  /** Those that have not ended. */
  listRunning(): BatchRecord[] {
    return [...this.#running];
  }

  #remember(record: BatchRecord): void {
    this.#records.set(record.batch.id, record);
    if (!isTerminal(record.batch.status)) this.#running.add(record);
    this.#nextSequence = Math.max(this.#nextSequence, record.sequence + 1);
  }
}

/** The batch as replies have it, in the dialect that was set. */
export function wireForm(record: BatchRecord, absentFileIds: null | "absent" | ""): BatchObject {
  const { output_file_id: output, error_file_id: error, ...rest } = record.batch;
  const named = (name: string, id: string | null) => {
    if (id !== null) return { [name]: id };
    return absentFileIds === "absent" ? {} : { [name]: absentFileIds };
  };
  return { ...rest, ...named("output_file_id", output), ...named("error_file_id", error) };
}
