/** Owns how an error looks: an expected one as the problem and its fixes, a bug of ours with everything it carries. */
import { RowmillError } from "../../model/errors.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { Interrupted } from "./interruption.js";
import type { Terminal } from "./terminal.js";
import { indented } from "./text.js";

const CAUSES_MAX = 5;

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

/** With those of its causes. */
export function stackOf(error: unknown): string {
  return [error, ...causesOf(error)]
    .map((one) => (one instanceof Error ? (one.stack ?? one.message) : thrownMessage(one)))
    .join("\ncaused by ");
}

/** The outer ones first. They may go in a circle. */
export function causesOf(error: unknown): readonly unknown[] {
  const causes: unknown[] = [];
  for (let one = error; one instanceof Error && one.cause !== undefined && causes.length < CAUSES_MAX; one = one.cause)
    causes.push(one.cause);
  return causes;
}
