/** Counts the values of a JSON text before it is parsed: two bytes of text may take a hundred of memory. Pure. */

/** A whole page of 1,000 files has 10,000. */
export const JSON_VALUES_MAX = 250_000;
/** For a line of a provider's file: with `logprobs`, each token of an answer takes a hundred values. */
export const LINE_VALUES_MAX = 1_000_000;
/** Nested objects and lists. PostgreSQL's own parser fails somewhere above, by the size of its stack. */
export const JSON_DEPTH_MAX = 500;

const [QUOTE, COMMA, BRACKET, BRACE, BACKSLASH] = [0x22, 0x2c, 0x5b, 0x7b, 0x5c];

/** Takes a text as characters or bytes of UTF-8, and counts what begins or separates values outside of strings. */
export class ValueCounter {
  #values = 0;
  #isInString = false;
  #isEscaped = false;
  readonly #max: number;

  constructor(max = JSON_VALUES_MAX) {
    this.#max = max;
  }

  get isOverfull(): boolean {
    return this.#values > this.#max;
  }

  add(code: number): void {
    if (!this.#isInString) {
      if (code === QUOTE) this.#isInString = true;
      else if (code === COMMA || code === BRACKET || code === BRACE) this.#values += 1;
    } else if (this.#isEscaped) this.#isEscaped = false;
    else if (code === BACKSLASH) this.#isEscaped = true;
    else if (code === QUOTE) this.#isInString = false;
  }
}

/** The text would fill the memory if it were parsed. */
export function isOverfull(text: string, max = JSON_VALUES_MAX): boolean {
  if (text.length <= max) return false;
  const counter = new ValueCounter(max);
  for (let at = 0; at < text.length && !counter.isOverfull; at++) counter.add(text.charCodeAt(at));
  return counter.isOverfull;
}
