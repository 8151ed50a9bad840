/** Knows which JavaScript strings PostgreSQL cannot hold. Pure; cannot fail. */

/**
 * Why a text cannot be stored or sent as UTF-8, or null if it can. PostgreSQL refuses U+0000 and half surrogate
 * pairs in text and jsonb; one such value would fail a whole statement of a thousand rows.
 */
export function textProblem(text: string): string | null {
  if (text.includes("\u0000")) return "holds the character U+0000, which PostgreSQL cannot store";
  if (!text.isWellFormed()) return "holds half of a surrogate pair, which is not a character";
  return null;
}

/** The text with U+FFFD in place of what cannot be stored. */
export function storableText(text: string): string {
  return text.replaceAll("\u0000", "\uFFFD").toWellFormed();
}

/** JSON whose texts can all be stored. */
export function storableJson(value: unknown): string {
  return JSON.stringify(value, (_, inner: unknown) => (typeof inner === "string" ? storableText(inner) : inner));
}
