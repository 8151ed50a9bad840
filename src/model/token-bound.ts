/** The most tokens that a text can have, by its bytes and what a sample of such texts had. Pure. */
import { inputTokenBound } from "./tokens.js";

/** Beyond ASCII a sample says little about a text: a token a byte is the most that any text can need. */
export function boundTokens(text: string, tokensPerByte: number): number {
  const bytes = Buffer.byteLength(text);
  const ascii = bytes === text.length ? bytes : asciiCharacters(text);
  return inputTokenBound(ascii, tokensPerByte) + bytes - ascii;
}

function asciiCharacters(text: string): number {
  let count = 0;
  for (let index = 0; index < text.length; index++) if (text.charCodeAt(index) < 0x80) count++;
  return count;
}
