/** The most tokens that a text can have, by its bytes and what a sample of such texts had. Pure. */
import { inputTokenBound } from "./tokens.js";

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
