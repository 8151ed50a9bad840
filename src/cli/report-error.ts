/** Owns how an error is told: what was wrong and what to do for the expected ones, the whole of it for our own mistakes. */
import { RowmillError } from "../model/errors.js";
import { thrownMessage } from "../model/thrown-message.js";
import { Interrupted } from "./interruption.js";
import type { Terminal } from "./terminal.js";

export function reportError(terminal: Terminal, error: unknown): void {
  terminal.endLive();
  if (error instanceof Interrupted) return terminal.note("Stopped.");
  if (error instanceof RowmillError && error.code !== "internal") return reportExpected(terminal, error);
  terminal.note(`rowmill: unexpected error: ${thrownMessage(error)}`);
  terminal.note("  This is a mistake in Rowmill. Please report it with what you did and the lines below.");
  terminal.note(stackOf(error));
}

function reportExpected(terminal: Terminal, error: RowmillError): void {
  terminal.note(`rowmill: ${error.message}`);
  for (const hint of error.hints) terminal.note(`  - ${hint}`);
  if (terminal.debug) terminal.note(stackOf(error));
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return thrownMessage(error);
  const cause = error.cause === undefined ? "" : `\ncaused by ${stackOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}
