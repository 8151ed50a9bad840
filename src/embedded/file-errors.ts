/** Owns telling Node's system errors apart. */
import { stat } from "node:fs/promises";

/** True for system errors of that code (`ENOENT`, `ECONNREFUSED`, …). */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}

/** Throws what is not a plain no, e.g. a missing permission. */
export async function exists(path: string): Promise<boolean> {
  try {
    await stat(path);
    return true;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return false;
    throw error;
  }
}
