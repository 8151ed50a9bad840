/**
 * The JSON text of one answer while the demo model writes it, and what the writing has cost so far. Both are bounded, whatever the schema
 * asks for: an answer that reaches a bound ends there, as a real model's does at its output limit. Pure.
 */
import { cutText } from "./text.js";

/** A quarter of it is the output limit of gpt-4o-mini, 16,384 tokens. */
export const ANSWER_CHARS_MAX = 65_536;
/** One unit takes a few microseconds, the whole at most about a second. */
const ANSWER_WORK_MAX = 100_000;
const ANSWER_DEPTH_MAX = 64;
const CHARS_PER_WORK = 64;

/** Thrown by `AnswerText` at a bound; `writeAnswer` turns it into an answer that was cut. */
class AnswerBound extends Error {}

export interface WrittenAnswer {
  readonly text: string;
  /** False: it reached a bound, and `text` is its beginning. */
  readonly isWhole: boolean;
}

/** What `write` has written until it ended or reached a bound. */
export function writeAnswer(write: (out: AnswerText) => void): WrittenAnswer {
  const out = new AnswerText();
  try {
    write(out);
    return { text: out.since(0), isWhole: true };
  } catch (error) {
    if (error instanceof AnswerBound) return { text: out.since(0), isWhole: false };
    throw error;
  }
}

export class AnswerText {
  readonly #pieces: string[] = [];
  #charsLeft = ANSWER_CHARS_MAX;
  #workLeft = ANSWER_WORK_MAX;

  /** Where the next piece goes, for `since`. */
  get mark(): number {
    return this.#pieces.length;
  }

  since(mark: number): string {
    return this.#pieces.slice(mark).join("");
  }

  write(piece: string): void {
    this.#pieces.push(cutText(piece, this.#charsLeft));
    this.#charsLeft -= piece.length;
    if (this.#charsLeft < 0) throw new AnswerBound("characters");
  }

  /** Before `units` things are looked at. */
  spend(units: number): void {
    this.#workLeft -= units;
    if (this.#workLeft < 0) throw new AnswerBound("work");
  }

  /** Before a text is read. */
  spendOn(text: string): void {
    this.spend(1 + text.length / CHARS_PER_WORK);
  }

  /** Before a value is written inside of `depth` others. */
  enter(depth: number): void {
    if (depth > ANSWER_DEPTH_MAX) throw new AnswerBound("depth");
  }
}
