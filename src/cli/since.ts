/** `--since`: a duration such as `7d`, or a day such as `2026-11-20` (UTC). */
import { InvalidArgumentError } from "commander";
import { parseDuration } from "../model/duration.js";

/** Milliseconds back from now. @throws InvalidArgumentError */
export function parseSince(text: string): number {
  const ms = parseDuration(text);
  if (ms !== null && ms > 0) return ms;
  const isDay = /^\d{4}-\d{2}-\d{2}$/.test(text);
  const agoMs = isDay ? Date.now() - Date.parse(`${text}T00:00:00Z`) : NaN;
  if (agoMs > 0) return agoMs;
  throw new InvalidArgumentError("Write a duration, such as 12h or 7d, or a past day, such as 2026-11-20.");
}

const LIMIT_MAX = 10_000;

/** `--limit` @throws InvalidArgumentError */
export function parseLimit(text: string): number {
  const limit = Number(text);
  if (/^[1-9]\d*$/.test(text) && limit <= LIMIT_MAX) return limit;
  throw new InvalidArgumentError(`Write a whole number from 1 to ${LIMIT_MAX.toLocaleString("en-US")}.`);
}
