/**
 * Owns the one base of all exceptions. Expected endings (a lost race, a refused line, an empty page) are values.
 *
 * A message says what happened, why, and what to do. It never holds a secret: build it from names and places, not from
 * connection strings or headers. What it quotes cannot forge a line: only `lines` makes line breaks.
 */
import { oneLine } from "./words/one-line.js";

/** Stable codes. The CLI maps them to exit statuses; scripts may test for them. */
export type ErrorCode =
  | "config_invalid"
  | "config_not_found"
  | "database_unreachable"
  | "database_refused"
  | "database_timeout"
  | "embedded_in_use"
  | "version_too_old"
  | "source_unsupported"
  | "target_unsupported"
  | "provider_unreachable"
  | "provider_refused"
  | "provider_account"
  | "connector_failed"
  | "spool_failed"
  | "not_found"
  | "refused"
  | "usage"
  | "interrupted"
  | "internal";

export interface RowmillErrorOptions {
  cause?: unknown;
  /** What you can do about it, one sentence each; printed below the message. */
  hints?: readonly string[];
  /** More lines of the message, printed indented. */
  lines?: readonly string[];
}

export class RowmillError extends Error {
  override readonly name: string = "RowmillError";
  readonly code: ErrorCode;
  readonly hints: readonly string[];

  constructor(code: ErrorCode, message: string, options: RowmillErrorOptions = {}) {
    const lines = (options.lines ?? []).map((line) => `  ${oneLine(line)}`);
    const text = [oneLine(message), ...lines].join("\n");
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hints = (options.hints ?? []).map(oneLine);
  }
}

/** The same error, with `words` before its message. */
export function prefixed(error: RowmillError, words: string): RowmillError {
  return again(error, { words });
}

/** The same error with one more hint, the first. */
export function withHint(error: RowmillError, hint: string): RowmillError {
  return again(error, { hints: [hint] });
}

function again(error: RowmillError, { words = "", hints = [] }: { words?: string; hints?: readonly string[] }) {
  const [first = "", ...lines] = error.message.split("\n");
  return new RowmillError(error.code, words + first, {
    cause: error,
    hints: [...hints, ...error.hints],
    lines: lines.map((line) => line.slice(2)),
  });
}

/** `refs` or `ref` is not what this adapter wrote. */
export function unreadableRefs(provider: string): RowmillError {
  return new RowmillError("internal", `The ledger's record of a batch was not written by the adapter "${provider}".`);
}
