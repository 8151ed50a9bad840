/** Times that an index is sorted by: ISO 8601 in UTC as text, or seconds or milliseconds since 1970. Pure. */
import type { KeyType } from "./attribute-values.js";

const ISO_UTC = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?Z$/;
/** Seconds are less until the year 5138, milliseconds are more since March 1973. */
const MILLISECONDS_MIN = 100_000_000_000;
const SECOND_CHARACTERS = "2026-11-27T23:00:00".length;

/** Null: it is no such time. */
export function msOf(text: string, type: KeyType): number | null {
  if (type === "S") {
    const ms = ISO_UTC.test(text) ? Date.parse(text) : NaN;
    return Number.isNaN(ms) ? null : ms;
  }
  const number = type === "N" ? Number(text) : NaN;
  if (!Number.isFinite(number) || number < 0) return null;
  return isSeconds(number) ? number * 1_000 : number;
}

function isSeconds(number: number): boolean {
  return number < MILLISECONDS_MIN;
}

/** Sorted before every value of this second, or after it. `like`: a value of the index. */
export function boundAt(
  ms: number,
  { side, like, type }: { side: "from" | "to"; like: string; type: KeyType },
): string {
  // A text without its end comes before it; "~" comes after all digits, "." and "Z".
  if (type === "S") return new Date(ms).toISOString().slice(0, SECOND_CHARACTERS) + (side === "to" ? "~" : "");
  const seconds = Math.floor(ms / 1_000);
  if (isSeconds(Number(like))) return side === "from" ? String(seconds) : `${seconds}.999999999`;
  return side === "from" ? String(seconds * 1_000) : `${seconds * 1_000 + 999}.999999`;
}
