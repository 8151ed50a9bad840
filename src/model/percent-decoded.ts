/** A part of a URL as it was meant: malformed percent-encoding is text. Pure. */
export function percentDecoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
