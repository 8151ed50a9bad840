/** What was thrown, in words. A user's code may throw anything, even what has no text. Never throws itself. */
export function thrownMessage(thrown: unknown): string {
  try {
    const message: unknown = thrown instanceof Error ? thrown.message : thrown;
    return String(message);
  } catch {
    // An object without a prototype, or whose toString fails: there are no words in it.
    return `${typeof thrown === "function" ? "a function" : "an object"} without a message was thrown`;
  }
}
