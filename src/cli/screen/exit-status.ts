/** What the process's exit status says. docs/cli.md has the same table; scripts depend on it, so a number never changes its meaning. */
import { RowmillError, type ErrorCode } from "../../model/errors.js";
import { Interrupted } from "./interruption.js";

export const exitStatus = {
  ok: 0,
  /** Anything that has no status of its own; the same command may succeed later. */
  error: 1,
  /** The command or the config has to be changed, or what was named is not there. */
  usage: 2,
  /** `up --until-idle`: some rows failed for good. */
  rowsFailed: 3,
  /** Something is paused, or waits for a person's decision. */
  blocked: 4,
} as const;

const byCode: Readonly<Partial<Record<ErrorCode, number>>> = {
  usage: exitStatus.usage,
  config_invalid: exitStatus.usage,
  config_not_found: exitStatus.usage,
  source_unsupported: exitStatus.usage,
  target_unsupported: exitStatus.usage,
  not_found: exitStatus.usage,
  refused: exitStatus.blocked,
};

export function exitStatusOf(error: unknown): number {
  if (error instanceof Interrupted) return error.exitStatus;
  return error instanceof RowmillError ? (byCode[error.code] ?? exitStatus.error) : exitStatus.error;
}
