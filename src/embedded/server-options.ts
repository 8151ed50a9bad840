/** Owns the argument of an embedded server, one JSON object, and the lines that it sends to attached processes. */
export interface ServerOptions {
  readonly dataDir: string;
  /** How long the server stays after its last client. */
  readonly graceMs: number;
  readonly transactionIdleMs: number;
}

export const READY_LINE = "ready\n";
/** It ends on purpose: do not start it again. */
export const CLOSING_LINE = "closing\n";

export const SERVER_LOCK_NAME = "server";

export function parseServerOptions(text: string): ServerOptions {
  const value: unknown = JSON.parse(text);
  if (typeof value !== "object" || value === null) throw new TypeError("the server's options are not an object");
  if (!("dataDir" in value) || typeof value.dataDir !== "string") throw new TypeError("dataDir is missing");
  if (!("graceMs" in value) || typeof value.graceMs !== "number") throw new TypeError("graceMs is missing");
  if (!("transactionIdleMs" in value) || typeof value.transactionIdleMs !== "number") {
    throw new TypeError("transactionIdleMs is missing");
  }
  const { dataDir, graceMs, transactionIdleMs } = value;
  return { dataDir, graceMs, transactionIdleMs };
}
