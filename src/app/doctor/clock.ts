/** Whether a clock agrees with this machine's. Pure. */
import { ok, warning, type Finding } from "./check.js";

/** Less does no harm: what has to be exact goes by the database's clock alone. */
const APART_MS_MAX = 60_000;

export function judgeClock(whose: string, seen: { aheadMs: number; unsureMs: number }): Finding {
  const apartMs = Math.abs(seen.aheadMs) - seen.unsureMs;
  if (apartMs <= APART_MS_MAX) return ok(`${whose} agrees with this machine's`);
  const seconds = Math.round(Math.abs(seen.aheadMs) / 1_000);
  const way = seen.aheadMs > 0 ? "ahead of" : "behind";
  return warning(`${capital(whose)} is ${seconds} s ${way} this machine's.`, {
    mends: [
      "Let both go by a time server (timedatectl set-ntp true): else times in logs mislead, and a lost batch may be looked for in the wrong hours.",
    ],
  });
}

function capital(text: string): string {
  return text.charAt(0).toUpperCase() + text.slice(1);
}
