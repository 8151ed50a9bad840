/** The exit statuses. docs/cli.md has the same table; scripts depend on them, so a number never changes its meaning. */
import { RowmillError, type ErrorCode } from "../../model/errors.js";
import { Interrupted } from "./interruption.js";

export const EXIT_STATUS = {
  ok: 0,
  /** Anything without a status of its own; the same command may succeed later. */
  error: 1,
  /** The command or the config has to change, or something named does not exist. */
  usage: 2,
  /** `up --until-idle`: some rows failed for good. */
  rowsFailed: 3,
  /** Something is paused, or waits for your decision. */
  blocked: 4,
} as const;

const BY_CODE: Readonly<Partial<Record<ErrorCode, number>>> = {
  usage: EXIT_STATUS.usage,
  config_invalid: EXIT_STATUS.usage,
  config_not_found: EXIT_STATUS.usage,
  source_unsupported: EXIT_STATUS.usage,
  target_unsupported: EXIT_STATUS.usage,
  not_found: EXIT_STATUS.usage,
  refused: EXIT_STATUS.blocked,
};

export function exitStatusOf(error: unknown): number {
  if (error instanceof Interrupted) return error.exitStatus;
  return error instanceof RowmillError ? (BY_CODE[error.code] ?? EXIT_STATUS.error) : EXIT_STATUS.error;
}
