/**
 * Owns how the process ends when somebody else decides it: a signal before a command listens itself, a reader who has seen enough,
 * a terminal that was closed. Nothing is in hand then, or it is picked up from the database by the next worker.
 */
import { closeSync } from "node:fs";
import { isatty } from "node:tty";
import { endAtSignals } from "./interruption.js";

/** 128 and the number of SIGHUP: what a shell says of a program whose terminal was closed. */
const TERMINAL_CLOSED_STATUS = 129;
const STANDARD_STREAMS = [0, 1, 2] as const;

/** To be called first of all: what comes before it ends as Node likes it. */
export function departInOrder(): void {
  const terminals = STANDARD_STREAMS.filter((stream) => isatty(stream));
  process.on("exit", () => closeDead(terminals));
  process.stdout.on("error", (error: NodeJS.ErrnoException) => process.exit(statusOfUnreadable(error)));
  // A worker without its log goes on.
  process.stderr.on("error", () => undefined);
  endAtSignals(() => process.stderr.write("Stopped.\n"));
}

/** Whoever read our output has seen enough (`| head`), or went away with the terminal. */
function statusOfUnreadable({ code, message }: NodeJS.ErrnoException): number {
  if (code === "EPIPE") return 0;
  if (code === "EIO") return TERMINAL_CLOSED_STATUS;
  process.stderr.write(`rowmill: what was asked for cannot be written: ${message}\n`);
  return 1;
}

/**
 * At its end Node gives terminals their settings back, and aborts (SIGABRT, SIGSEGV) where that fails because the terminal is gone
 * (seen: Node 20). A descriptor that is closed it leaves alone.
 */
function closeDead(terminals: readonly number[]): void {
  for (const stream of terminals) if (!isatty(stream)) closeSync(stream);
}
