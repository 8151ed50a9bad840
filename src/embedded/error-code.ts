/** True for Node's system errors of that code (`ENOENT`, `ECONNREFUSED`, …). */
export function hasCode(error: unknown, ...codes: readonly string[]): boolean {
  return error instanceof Error && "code" in error && codes.includes(String(error.code));
}
