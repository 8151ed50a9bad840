/** Owns the grammar of durations in the config: a whole number and a unit, as in `"200ms"`, `"10m"`, `"7d"`. Pure. */

const UNIT_MS = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

type Unit = keyof typeof UNIT_MS;

/** `bigint`, so that a fraction (`"1.5h"`) is red in the editor. */
export type Duration = `${bigint}${Unit}`;

const DURATION_PATTERN = /^(0|[1-9][0-9]{0,15})(ms|s|m|h|d)$/;

function isUnit(text: string | undefined): text is Unit {
  return text !== undefined && Object.hasOwn(UNIT_MS, text);
}

/** Milliseconds, or null if the text is not a duration or too large for a safe integer. */
export function parseDuration(text: string): number | null {
  const [, count, unit] = DURATION_PATTERN.exec(text) ?? [];
  if (count === undefined || !isUnit(unit)) return null;
  const ms = Number(count) * UNIT_MS[unit];
  return Number.isSafeInteger(ms) ? ms : null;
}

/** The shortest text that `parseDuration` reads back as the same whole number of milliseconds. */
export function formatDuration(ms: number): Duration {
  if (!Number.isSafeInteger(ms) || ms < 0)
    throw new RangeError(`A duration is a whole number of milliseconds, not ${ms}`);
  const largestFirst = ["d", "h", "m", "s"] as const;
  const unit = ms === 0 ? "s" : (largestFirst.find((candidate) => ms % UNIT_MS[candidate] === 0) ?? "ms");
  return `${BigInt(ms / UNIT_MS[unit])}${unit}`;
}
