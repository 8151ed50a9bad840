/** What happens to a change after its target was told of it. Pure. */
import { backoffMs } from "./batch/schedule.js";
import type { Written } from "./connector.js";
import { storableText } from "./words/storable-text.js";

/** Refusals of one change, after which it has failed: about 20 minutes with the waits between them. */
export const REFUSALS_MAX = 8;
const REFUSED_BASE_MS = 5_000;
const REFUSED_MS_MAX = 3_600_000;
/** The ledger counts no more. */
const FAILURES_COUNTED_MAX = 30_000;
const BUSY_MS = 1_000;
/** What the row is now may wait for you, so it counts as no work. */
const UNSEEN_MS = 10_000;
/** Between two tries of a target that is down, unless it asks for more. */
const DOWN_BASE_MS = 500;
const DOWN_MS_MAX = 300_000;
/** The longest that a target may ask for. */
const RETRY_AFTER_MS_MAX = 3_600_000;
const REASON_CHARACTERS = 1_000;

export interface ChangeOutcome {
  readonly state: "waiting" | "delivered" | "stale" | "failed" | "dropped";
  readonly failures: number;
  readonly reason: string | null;
  /** Until the next try, where it waits. */
  readonly waitMs: number;
}

/** A change as it was delivered. */
export interface Told {
  readonly key: string;
  readonly fence: string;
  /** Refusals before this one. */
  readonly failures: number;
  /** Of an answer that is written back: what the ledger knows of its row. Left out: it does not matter. */
  readonly row?: "asAsked" | "changed" | "unseen";
}

const CHANGED = "The row that it belongs to has changed in the meantime, or is gone.";

/** In the order of `told`. What a target says of other keys is ignored; of one that it names twice the worse counts. */
export function outcomesOf(told: readonly Told[], written: Written, chance: number): readonly ChangeOutcome[] {
  const failed = new Map(written.failed.map(({ key, reason }) => [key, reason]));
  const stale = new Map(written.stale.map(({ key, fence }) => [key, fence]));
  const [changed, busy, done] = [new Set(written.changed), new Set(written.busy), new Set(written.written)];
  return told.map(({ key, fence, failures, row }) => {
    const reason = failed.get(key);
    if (reason !== undefined) return refused(reason, failures, chance);
    // Until the source is read: the row may be again as it was, and then it is not sent again.
    if (changed.has(key) && row === "asAsked") return putOff(CHANGED, failures, chance);
    if (changed.has(key)) return ended(row === "changed" ? "dropped" : "stale", CHANGED);
    if (stale.has(key)) return staleOutcome(fence, stale.get(key) ?? null);
    if (busy.has(key))
      return { state: "waiting", failures, reason: null, waitMs: row === "unseen" ? UNSEEN_MS : BUSY_MS };
    if (done.has(key)) return ended("delivered", null);
    return refused("The target did not report what happened to it.", failures, chance);
  });
}

/** Of rows that make a write throw. */
export function refusalsOf(
  rows: readonly (Told & { readonly reason: string })[],
  chance: number,
): readonly (Told & ChangeOutcome)[] {
  return rows.map((row) => ({ ...row, ...refused(row.reason, row.failures, chance) }));
}

/** Equal: the target has this very change, from a delivery whose confirmation was lost. */
function staleOutcome(fence: string, found: string | null): ChangeOutcome {
  if (found === fence) return ended("delivered", null);
  const which = found === null ? "" : ` (fence ${found})`;
  return ended("stale", `The target holds a newer answer${which}.`);
}

function ended(state: ChangeOutcome["state"], reason: string | null): ChangeOutcome {
  return { state, failures: 0, reason, waitMs: 0 };
}

function refused(text: string, before: number, chance: number): ChangeOutcome {
  const outcome = putOff(reasonText(text), before, chance);
  return outcome.failures >= REFUSALS_MAX ? { ...outcome, state: "failed", waitMs: 0 } : outcome;
}

function putOff(reason: string, before: number, chance: number): ChangeOutcome {
  const failures = Math.min(before + 1, FAILURES_COUNTED_MAX);
  const waitMs = Math.min(REFUSED_MS_MAX, backoffMs(failures, REFUSED_BASE_MS, chance));
  return { state: "waiting", failures, reason, waitMs };
}

/** As it is kept. */
export function reasonText(text: string): string {
  return storableText(text.slice(0, REASON_CHARACTERS));
}

/** Until the next write to a target that failed as a whole. `failures`: in a row, this one included. */
export function downMs(failures: number, retryAfterMs: number | null, chance: number): number {
  const waitMs = Math.min(DOWN_MS_MAX, backoffMs(failures, DOWN_BASE_MS, chance));
  return Math.max(waitMs, Math.min(RETRY_AFTER_MS_MAX, retryAfterMs ?? 0));
}

/** Keys of which the target holds a fence that this ledger never gave, with that fence. */
export function foreignFences(
  { stale }: Written,
  newest: ReadonlyMap<string, string>,
): readonly { readonly key: string; readonly fence: string }[] {
  return stale.flatMap(({ key, fence }) => {
    const ours = newest.get(key);
    return fence !== null && ours !== undefined && isNewer(fence, ours) ? [{ key, fence }] : [];
  });
}

/** Decimal texts of integers. What is no number is not newer. */
function isNewer(a: string, b: string): boolean {
  return /^\d{1,30}$/.test(a) && BigInt(a) > BigInt(b);
}
