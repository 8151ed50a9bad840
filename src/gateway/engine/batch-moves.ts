/** Owns how a batch begins and what a new status changes. Pure. */
import type { Owner } from "../storage/api-keys.js";
import type { BatchRecord } from "../storage/batch-store.js";
import { newId, type BatchInputError, type BatchStatus } from "../protocol/wire.js";

/** OpenAI's only window, 24 h. */
const WINDOW_SECONDS = 86_400;

export interface NewBatch {
  readonly owner: Owner;
  readonly endpoint: string;
  readonly inputFileId: string;
  readonly metadata: Readonly<Record<string, string>> | null;
  readonly outputTtlSeconds: number | null;
}

export function newRecord(input: NewBatch, nowSeconds: number): Omit<BatchRecord, "sequence"> {
  return {
    owner: input.owner,
    batch: {
      id: newId("batch_"),
      object: "batch",
      endpoint: input.endpoint,
      model: null,
      errors: null,
      input_file_id: input.inputFileId,
      completion_window: "24h",
      status: "validating",
      output_file_id: null,
      error_file_id: null,
      created_at: nowSeconds,
      in_progress_at: null,
      expires_at: nowSeconds + WINDOW_SECONDS,
      finalizing_at: null,
      completed_at: null,
      failed_at: null,
      expired_at: null,
      cancelling_at: null,
      cancelled_at: null,
      request_counts: { total: 0, completed: 0, failed: 0 },
      usage: usageOf(0, 0),
      metadata: input.metadata === null ? null : { ...input.metadata },
    },
    outputFileId: newId("file-"),
    errorFileId: newId("file-"),
    outputTtlSeconds: input.outputTtlSeconds,
    enqueuedTokens: 0,
    stop: null,
    endedAfter: null,
  };
}

/** The batch's usage object. The demo model caches and reasons nothing. */
export function usageOf(inputTokens: number, outputTokens: number): BatchRecord["batch"]["usage"] {
  return {
    input_tokens: inputTokens,
    input_tokens_details: { cached_tokens: 0 },
    output_tokens: outputTokens,
    output_tokens_details: { reasoning_tokens: 0 },
    total_tokens: inputTokens + outputTokens,
  };
}

const TIMESTAMP_OF = {
  in_progress: "in_progress_at",
  finalizing: "finalizing_at",
  completed: "completed_at",
  failed: "failed_at",
  expired: "expired_at",
  cancelling: "cancelling_at",
  cancelled: "cancelled_at",
} as const satisfies Record<Exclude<BatchStatus, "validating">, string>;

/** Changes the record in memory; the caller saves it. */
export function moveTo(record: BatchRecord, status: keyof typeof TIMESTAMP_OF, nowSeconds: number): void {
  record.batch.status = status;
  record.batch[TIMESTAMP_OF[status]] = nowSeconds;
}

/** The input was refused: no request ran, all counts are zero. */
export function failWith(record: BatchRecord, errors: readonly BatchInputError[], nowSeconds: number): void {
  record.batch.errors = { object: "list", data: [...errors] };
  moveTo(record, "failed", nowSeconds);
}

export function missingFileError(fileId: string, organization: string): BatchInputError {
  return { code: "invalid_request", line: null, param: "file_id", message: missingFileMessage(fileId, organization) };
}

export function missingFileMessage(fileId: string, organization: string): string {
  return `Cannot find file ${fileId}, or organization ${organization} does not have access to it.`;
}
