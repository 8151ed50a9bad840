/** Owns how an error is told: what was wrong and what to do for the expected ones, the whole of it for our own mistakes. */
import { RowmillError } from "../../model/errors.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { Interrupted } from "./interruption.js";
import type { Terminal } from "./terminal.js";
import { indented } from "../words/text.js";

export function reportError(terminal: Terminal, error: unknown): void {
  terminal.endLive();
  if (error instanceof Interrupted) return terminal.note("Stopped.");
  if (error instanceof RowmillError && error.code !== "internal") return reportExpected(terminal, error);
  terminal.note(`rowmill: unexpected error: ${thrownMessage(error)}`);
  terminal.note("  This is a mistake in Rowmill. Please report it with what you did and the lines below.");
  noteStack(terminal, error);
}

function reportExpected(terminal: Terminal, error: RowmillError): void {
  noteMessage(terminal, error, "rowmill: ");
  if (terminal.debug) noteStack(terminal, error);
}

/** Each line of the message and each hint. */
export function noteMessage(terminal: Terminal, error: RowmillError, words = ""): void {
  for (const line of (words + error.message).split("\n")) terminal.note(line);
  for (const hint of error.hints) terminal.note(`  - ${hint}`);
}

function noteStack(terminal: Terminal, error: unknown): void {
  for (const line of indented(stackOf(error))) terminal.note(line);
}

function stackOf(error: unknown): string {
  if (!(error instanceof Error)) return thrownMessage(error);
  const cause = error.cause === undefined ? "" : `\ncaused by ${stackOf(error.cause)}`;
  return `${error.stack ?? error.message}${cause}`;
}
