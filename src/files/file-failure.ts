/** Owns the words for files that cannot be read or written. */
import { RowmillError } from "../model/errors.js";
import { hasCode, isSystemError } from "../model/file-errors.js";
import { thrownMessage } from "../model/words/thrown-message.js";

/** A file that is not what it must be: `what` follows its name. */
export function badFile(path: string, what: string, hint?: string, cause?: unknown): RowmillError {
  return new RowmillError("refused", `${path} ${what}`, {
    ...(hint === undefined ? {} : { hints: [hint] }),
    ...(cause === undefined ? {} : { cause }),
  });
}

export function readFailure(path: string, error: unknown): unknown {
  if (error instanceof RowmillError || !isSystemError(error)) return error;
  if (hasCode(error, "ENOENT", "ENOTDIR")) {
    return new RowmillError("not_found", `There is no file ${path}.`, { cause: error });
  }
  if (hasCode(error, "EACCES", "EPERM"))
    return badFile(path, "cannot be read: you lack the permission.", undefined, error);
  if (hasCode(error, "Z_BUF_ERROR")) {
    const hint = "Copy or download it again, and compare the sizes.";
    return badFile(path, "is cut off: its gzip data ends in the middle.", hint, error);
  }
  if (error.code?.startsWith("Z_") === true) {
    return badFile(path, `is damaged: its gzip data cannot be unpacked (${error.message}).`, undefined, error);
  }
  return badFile(path, `cannot be read: ${thrownMessage(error)}`, undefined, error);
}

/** EFBIG and EDQUOT: a limit of the file system, or of this user. */
const FULL = ["ENOSPC", "EDQUOT", "EFBIG"] as const;

export function writeFailure(path: string, error: unknown): unknown {
  if (error instanceof RowmillError || !isSystemError(error)) return error;
  const reasons = { EACCES: "you lack the permission", EPERM: "you lack the permission", EROFS: "it is read-only" };
  if (hasCode(error, ...FULL)) {
    const what = `cannot be written: there is no space left (${error.code}). No part of it was kept.`;
    return badFile(path, what, "Free some space, or write to another disk, and run the command again.", error);
  }
  if (hasCode(error, "ENOENT", "ENOTDIR"))
    return badFile(path, "cannot be written: its folder does not exist.", undefined, error);
  const reason = Object.entries(reasons).find(([code]) => hasCode(error, code))?.[1] ?? thrownMessage(error);
  return badFile(path, `cannot be written: ${reason}`, undefined, error);
}
