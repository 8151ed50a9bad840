/** Named values of one row on the screen, and what an answer that is no result is called. Pure. */
import { proseLine } from "../../model/words/one-line.js";

export function cellLines(cells: Readonly<Record<string, unknown>>): string[] {
  const named = Object.entries(cells).map(([name, value]) => [proseLine(name), value] as const);
  const width = Math.max(0, ...named.map(([name]) => name.length));
  return named.flatMap(([name, value]) =>
    labelled(name.padEnd(width), typeof value === "string" ? value : value === null ? "null" : JSON.stringify(value)),
  );
}

/** Further lines of a text are aligned below its first one. */
export function labelled(label: string, text: string): string[] {
  const [first = "", ...more] = text.split("\n").map(proseLine);
  return [`${label}  ${first}`, ...more.map((line) => `${" ".repeat(label.length)}  ${line}`)];
}

const ANSWER_NAMES: Readonly<Record<string, string>> = {
  invalid: "unusable answer",
  truncated: "answer cut off",
  cutShort: "answer cut off",
  refused: "refusal",
  stale: "answer to an earlier version of the row or config",
  gone: "answer for a deleted row",
  unwritable: "answer that could not be written",
};

/** An answer that is not in the target may still be a good one: its outcome says why. */
export function answerName(outcome: string | null): string {
  return ANSWER_NAMES[outcome ?? ""] ?? "answer";
}
