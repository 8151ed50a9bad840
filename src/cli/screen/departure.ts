/**
 * Owns how the process ends when others decide it: a signal before a command listens itself, a closed pipe, a closed
 * terminal. That loses nothing: the next worker continues from the database.
 */
import { closeSync } from "node:fs";
import { isatty } from "node:tty";
import { endAtSignals } from "./interruption.js";

/** 128 + SIGHUP: what a shell reports for a program whose terminal was closed. */
const TERMINAL_CLOSED_STATUS = 129;
const STANDARD_STREAMS = [0, 1, 2] as const;

/** To be called first of all: until then Node decides how the process ends. */
export function departInOrder(): void {
  const terminals = STANDARD_STREAMS.filter((stream) => isatty(stream));
  process.on("exit", () => closeDead(terminals));
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(statusOfUnreadable(error)));
  // A worker continues without its log.
  process.stderr.on("error", () => undefined);
  endAtSignals(() => process.stderr.write("Stopped.\n"));
}

/** The reader of our output is gone: a pipe (`| head`), or the terminal. */
function statusOfUnreadable({ code, message }: NodeJS.ErrnoException): number {
  if (code === "EPIPE") return 0;
  if (code === "EIO") return TERMINAL_CLOSED_STATUS;
  process.stderr.write(`rowmill: cannot write the output: ${message}\n`);
  return 1;
}

/** At its end Node 20 restores terminals, and aborts (SIGABRT, SIGSEGV) if one is gone. It skips closed descriptors. */
function closeDead(terminals: readonly number[]): void {
  for (const stream of terminals) if (!isatty(stream)) closeSync(stream);
}
