/**
 * Owns what a gateway forgets by itself: expired files, and batches that ended long ago with their output files. A few
 * at a time, so that calls need not wait. A crash in the middle leaves a batch without its files; the next round
 * deletes it.
 */
import type { BatchRecord, BatchStore } from "../storage/batch-store.js";
import type { CallLog } from "../storage/call-log.js";
import type { FileStore } from "../storage/file-store.js";
import { nowSeconds, type GatewaySettings } from "../settings.js";

const ROUND_MS = 60_000;
/** Of batches, and of files, in one round. */
const DELETIONS_MAX = 1_000;

export interface RetentionParts {
  readonly settings: GatewaySettings;
  readonly files: FileStore;
  readonly batches: BatchStore;
  readonly calls: CallLog;
}

/** One round now and one each minute. Returns how to stop. */
export function startRetention(parts: RetentionParts): () => void {
  const round = (): void => {
    try {
      forgetOld(parts);
      parts.calls.flush();
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      parts.settings.log(`old files and batches could not be deleted, and will be in a minute: ${reason}`);
    }
  };
  round();
  const timer = setInterval(round, ROUND_MS).unref();
  return () => clearInterval(timer);
}

/** Repeatable. */
function forgetOld({ settings, files, batches }: RetentionParts): void {
  files.deleteExpired(DELETIONS_MAX);
  const before = nowSeconds(settings.clock) - settings.retention.batchSeconds;
  const old = batches.list(null).filter((record) => (endedAt(record) ?? Infinity) < before);
  for (const record of old.slice(0, DELETIONS_MAX)) {
    files.delete(record.outputFileId);
    files.delete(record.errorFileId);
    batches.delete(record.batch.id);
  }
}

/** Null for a batch that has not ended. */
function endedAt({ batch }: BatchRecord): number | null {
  return batch.completed_at ?? batch.failed_at ?? batch.expired_at ?? batch.cancelled_at;
}
