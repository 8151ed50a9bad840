/** Owns telling Node's system errors apart. */
import { stat } from "node:fs/promises";

/** True for an error of the operating system, with its code (`ENOENT`, `EACCES`). */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}

export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return isSystemError(error) && codes.includes(error.code ?? "");
}

/** False only for ENOENT. @throws Error for another failure, such as a missing permission */
export async function exists(path: string): Promise<boolean> {
  return (await stat(path).catch(nullIfGone)) !== null;
}

/** What to do with an error: null where there is no such file. */
export function nullIfGone(error: unknown): null {
  if (hasCode(error, "ENOENT")) return null;
  throw error;
}
