/**
 * Looks at the bytes of a JSON text before it is parsed, piece by piece: two bytes may take a hundred of memory, and
 * deep nesting takes the stack of whatever reads it. Does not check that it is JSON.
 */
import { JSON_DEPTH_MAX, JSON_VALUES_MAX } from "../model/json/json-values.js";
import { tooDeep, tooManyValues, type BodyRefusal } from "./body-refusal.js";

export interface JsonLimits {
  /** Nested objects and lists. Default 500. */
  readonly depthMax?: number;
  /** Values in all: elements, members, objects and lists. Default 250,000. */
  readonly valuesMax?: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

export class JsonGuard {
  readonly #depthMax: number;
  readonly #valuesMax: number;
  #depth = 0;
  #values = 0;
  #isInString = false;
  #isEscaped = false;

  constructor({ depthMax = JSON_DEPTH_MAX, valuesMax = JSON_VALUES_MAX }: JsonLimits = {}) {
    this.#depthMax = depthMax;
    this.#valuesMax = valuesMax;
  }

  /** The reason to refuse the text, known with this piece, or null. Bytes of UTF-8; a character may be split. */
  push(bytes: Uint8Array): BodyRefusal | null {
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at] ?? 0;
      if (this.#isInString) this.#passString(byte);
      else if (byte === QUOTE) this.#isInString = true;
      else if (byte === COMMA) this.#values += 1;
      else if (byte === OPEN_LIST || byte === OPEN_OBJECT) {
        this.#values += 1;
        this.#depth += 1;
        if (this.#depth > this.#depthMax) return tooDeep(this.#depthMax);
      } else if (byte === CLOSE_LIST || byte === CLOSE_OBJECT) this.#depth -= 1;
      if (this.#values > this.#valuesMax) return tooManyValues(this.#valuesMax);
    }
    return null;
  }

  #passString(byte: number): void {
    if (this.#isEscaped) this.#isEscaped = false;
    else if (byte === BACKSLASH) this.#isEscaped = true;
    else if (byte === QUOTE) this.#isInString = false;
  }
}
