/** Owns how an error looks: an expected one as the problem and its fixes, a bug of ours with everything it carries. */
import { RowmillError } from "../../model/errors.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { Interrupted } from "./interruption.js";
import type { Terminal } from "./terminal.js";
import { indented } from "./text.js";

export function reportError(terminal: Terminal, error: unknown): void {
  terminal.endLive();
  if (error instanceof Interrupted) return terminal.note("Stopped.");
  const mark = markOf(terminal);
  const isExpected = error instanceof RowmillError && error.code !== "internal";
  if (isExpected) noteMessage(terminal, error, mark);
  else {
    terminal.note(`${mark}unexpected error: ${thrownMessage(error)}`);
    terminal.note("  This is a bug in Rowmill. Please report it with what you did and the lines below.");
  }
  if (!isExpected || terminal.debug) for (const line of indented(stackOf(error))) terminal.note(line);
}

/** Begins an error. A log holds lines of many programs, so it names this one. */
export function markOf({ drawsOver, logFormat }: Terminal): string {
  return drawsOver || logFormat === "json" ? "✗ " : "rowmill: ";
}

export function noteMessage(terminal: Terminal, error: RowmillError, mark = ""): void {
  for (const line of (mark + error.message).split("\n")) terminal.note(line);
  for (const hint of error.hints) terminal.note(`  Hint: ${hint}`);
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return thrownMessage(error);
  const cause = error.cause === undefined ? "" : `\ncaused by ${stackOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}
