/**
 * The JSON text of one answer as the demo model writes it, and the work spent on it. Both have a bound, whatever the
 * schema asks for: an answer ends there, as a real model's answer ends at its output limit. Pure.
 */
import { cutText } from "./text.js";

/** A quarter of it is the output limit of gpt-4o-mini, 16,384 tokens. */
export const ANSWER_CHARS_MAX = 65_536;
/** A unit takes a few microseconds, so an answer takes at most about a second. */
const ANSWER_WORK_MAX = 100_000;
const ANSWER_DEPTH_MAX = 64;
const CHARS_PER_WORK = 64;

/** `writeAnswer` turns it into an answer that is cut off. */
class AnswerBound extends Error {}

export interface WrittenAnswer {
  readonly text: string;
  /** False: the answer reached a bound, and `text` is its beginning. */
  readonly isWhole: boolean;
}

/** Runs `write` until it ends or reaches a bound. */
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

  /** The position of the next piece, for `since`. */
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

  /** Call it before you read `units` things. */
  spend(units: number): void {
    this.#workLeft -= units;
    if (this.#workLeft < 0) throw new AnswerBound("work");
  }

  /** Call it before you read a text. */
  spendOn(text: string): void {
    this.spend(1 + text.length / CHARS_PER_WORK);
  }

  /** Call it before you write a value inside `depth` others. */
  enter(depth: number): void {
    if (depth > ANSWER_DEPTH_MAX) throw new AnswerBound("depth");
  }
}
