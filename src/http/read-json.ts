/**
 * Reads a JSON body. Bytes, depth and values are bounded before it is parsed, and while it still arrives: two bytes may
 * take a hundred of memory, and deep nesting takes the stack of whatever reads it.
 */
import { JSON_DEPTH_MAX, JSON_VALUES_MAX } from "../model/json/json-values.js";
import { BodyRefused, malformed, tooDeep, tooManyValues, type BodyRefusal } from "./body-refusal.js";
import { bodyChunks, refusable, type BodyLimits, type Read } from "./read-body.js";

interface JsonLimits {
  /** Nested objects and lists. Default 500. */
  readonly depthMax?: number;
  /** Values in all: elements, members, objects and lists. Default 250,000. */
  readonly valuesMax?: number;
}

const QUOTE = 0x22;
const BACKSLASH = 0x5c;
const COMMA = 0x2c;
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d];

export interface JsonBody {
  readonly value: unknown;
  /** As it came, without a byte order mark: numbers keep all their digits here. */
  readonly text: string;
}

/** `null` for a body without any bytes. */
export async function readJson(request: Request, limits: BodyLimits & JsonLimits): Promise<Read<JsonBody | null>> {
  return refusable(async () => {
    const guard = new JsonGuard(limits);
    const chunks: Buffer[] = [];
    for await (const chunk of bodyChunks(request, limits)) {
      const refusal = guard.push(chunk);
      if (refusal !== null) throw new BodyRefused(refusal);
      chunks.push(chunk);
    }
    return chunks.length === 0 ? null : parseBody(Buffer.concat(chunks));
  });
}

function parseBody(bytes: Buffer): JsonBody {
  const text = textOf(bytes);
  try {
    return { value: JSON.parse(text) as unknown, text };
  } catch (error) {
    if (error instanceof SyntaxError) throw new BodyRefused(malformed("json_malformed"), error);
    throw error;
  }
}

function textOf(bytes: Buffer): string {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch (error) {
    if (error instanceof TypeError) throw new BodyRefused(malformed("body_not_utf8"), error);
    throw error;
  }
}

/** Looks at the bytes of a JSON text, piece by piece. Does not check that it is JSON. */
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
