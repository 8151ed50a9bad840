/**
 * Bounds tokens by bytes, from a sample that the provider's own tokenizer counted. Cannot be wrong in a way that loses data:
 * what was really used comes back with each answer. Pure.
 */
export interface TokenRatio {
  /** Tokens per byte over all samples together. */
  readonly mean: number;
  /** Tokens per byte of the densest sample. */
  readonly max: number;
}

/** Chat framing: three tokens a message and one for its role, three to open the answer. */
export const TOKENS_PER_MESSAGE = 4;
export const TOKENS_PER_REPLY = 3;

/** Of each sample: more would not say more. */
export const SAMPLE_CHARACTERS_MAX = 20_000;
/** A rule of thumb for English, where nothing was measured; no token is shorter than a byte. */
const RATIO_UNKNOWN: TokenRatio = { mean: 0.25, max: 1 };

/** Tokens per byte of UTF-8 of some texts that stand for many; without samples a rule of thumb. */
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

/** Tokens that so many bytes may have at a ratio, rounded up; never more than one a byte. */
export function inputTokenBound(bytes: number, ratio: number): number {
  return Math.min(bytes, Math.ceil(bytes * ratio));
}

/**
 * Of a text in parts, which are counted one by one: to put them together would cost more. Beyond ASCII a sample says little about a text:
 * a token a byte is the most that any text can need.
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
