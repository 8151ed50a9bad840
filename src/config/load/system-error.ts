/** Whether an error comes from the operating system, with its code (`ENOENT`, `EACCES`). */
export function isSystemError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && "code" in error && typeof error.code === "string";
}
