/** Bounds tokens by bytes, from a counted sample. An error loses no data: each answer brings its true usage. Pure. */
export interface TokenRatio {
  /** Tokens per byte over all samples together. */
  readonly mean: number;
  /** Tokens per byte of the densest sample. */
  readonly max: number;
}

/** Chat framing: three tokens a message and one for its role, three to open the answer. */
export const TOKENS_PER_MESSAGE = 4;
export const TOKENS_PER_REPLY = 3;

/** Of each sample; more would not change the ratio. */
export const SAMPLE_CHARACTERS_MAX = 20_000;
/** Without samples: a rule of thumb for English; no token is shorter than a byte. */
const RATIO_UNKNOWN: TokenRatio = { mean: 0.25, max: 1 };

/** Tokens per UTF-8 byte, by sample texts. */
export function tokensPerByte(samples: readonly string[], count: (text: string) => number): TokenRatio {
  let tokensSum = 0;
  let bytesSum = 0;
  let max = 0;
  for (const sample of samples) {
    const text = sample.slice(0, SAMPLE_CHARACTERS_MAX);
    const bytes = Buffer.byteLength(text);
    if (bytes === 0) continue;
    const tokens = count(text);
    tokensSum += tokens;
    bytesSum += bytes;
    max = Math.max(max, tokens / bytes);
  }
  return bytesSum === 0 ? RATIO_UNKNOWN : { mean: tokensSum / bytesSum, max };
}

/** The tokens that these bytes may have at a ratio, rounded up; never more than one per byte. */
export function inputTokenBound(bytes: number, ratio: number): number {
  return Math.min(bytes, Math.ceil(bytes * ratio));
}

/**
 * Bounds a text given in parts, as joining them would cost more. For bytes beyond ASCII a sample tells little: they
 * count one token each, the most that any text can need.
 */
export function boundTokens(parts: readonly string[], tokensPerByte: number): number {
  let [bytes, ascii] = [0, 0];
  for (const part of parts) {
    const own = Buffer.byteLength(part);
    bytes += own;
    ascii += own === part.length ? own : asciiCharacters(part);
  }
  return inputTokenBound(ascii, tokensPerByte) + bytes - ascii;
}

function asciiCharacters(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) < 0x80) count++;
  return count;
}
