/** Owns the words for a file that answers cannot be delivered to. */
import { ConnectorError } from "../../../model/connector.js";
import { RowmillError } from "../../../model/errors.js";
import { hasCode, isSystemError } from "../../../model/file-errors.js";

/** Such a failure is never a row's. */
const RETRY_AFTER_MS = 10_000;
const FULL = ["ENOSPC", "EDQUOT", "EFBIG"] as const;
const FORBIDDEN = ["EACCES", "EPERM", "EROFS"] as const;

/** Of the file system, as a ConnectorError that says what to do; others as they are. */
export function explained(path: string, error: unknown): unknown {
  if (error instanceof ConnectorError) return error;
  const cause = error instanceof RowmillError && isSystemError(error.cause) ? error.cause : error;
  if (!isSystemError(cause) && !(error instanceof RowmillError)) return error;
  return again(`Answers cannot be written to ${path}: ${reasonOf(cause)}`, cause);
}

function reasonOf(error: unknown): string {
  if (hasCode(error, ...FULL)) return "there is no space left. Free some.";
  if (hasCode(error, ...FORBIDDEN)) return "you lack the permission to write into its folder.";
  if (hasCode(error, "ENOENT", "ENOTDIR")) return "its folder does not exist. Make it, or mount it.";
  return error instanceof Error ? error.message : String(error);
}

export function again(message: string, cause?: unknown): ConnectorError {
  return new ConnectorError("again", message, { cause, retryAfterMs: RETRY_AFTER_MS });
}
