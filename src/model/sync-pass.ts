/** Which pass over a source elsewhere is next, and when rows that vanished there need your consent. Pure. */

export interface PassFacts {
  readonly phase: "idle" | "reading" | "deleting";
  /** Since the rows that are deleted were found gone. */
  readonly goneMs: number | null;
  /** The pass that is under way, or the last one. */
  readonly isFull: boolean;
  /** Its last attempt failed. */
  readonly isFailing: boolean;
  /** Changes can be read: an earlier pass left a mark. */
  readonly hasMark: boolean;
  /** Since the last completed pass over all rows began. Null: there was none. */
  readonly fullMs: number | null;
  /** What is read, and into which columns, is what it was for that pass and its mark. */
  readonly isSame: boolean;
  /** You asked for it. */
  readonly fullWanted: boolean;
}

export type NextPass = "goOn" | "full" | "changes";

/** For how long what was found gone is deleted without another look. */
const GONE_MS_MAX = 3_600_000;

export function nextPass(facts: PassFacts, fullEveryMs: number): NextPass {
  const { phase, hasMark, isSame, fullMs, fullWanted, goneMs } = facts;
  if (!isSame) return "full";
  // Later they may be back, which only another reading of all rows tells.
  if (phase === "deleting") return goneMs !== null && goneMs < GONE_MS_MAX ? "goOn" : "full";
  const isFullDue = !hasMark || fullWanted || fullMs === null || fullMs >= fullEveryMs;
  if (phase === "reading" && !isGivenUp(facts, isFullDue)) return "goOn";
  return isFullDue ? "full" : "changes";
}

/**
 * Otherwise one that can get no further would be in the way of what you ask for; and one over changes never
 * ends where rows change faster than they are read.
 */
function isGivenUp({ isFull, isFailing, fullWanted }: PassFacts, isFullDue: boolean): boolean {
  return isFull ? fullWanted && isFailing : isFullDue;
}

/** Fewer rows may vanish at once, however small the source is. */
const GONE_ROWS_MAX = 100;
const GONE_SHARE_MAX = 0.1;
const HOURS = 24;

/** Hour since 1970 → rows. */
export type ByHour = Readonly<Record<string, number>>;

/** With the rows of this hour, and without what is older than a day. */
export function goneWith(before: ByHour, { hour, rows }: { readonly hour: number; readonly rows: number }): ByHour {
  const recent = Object.entries(before).filter(([at]) => Number(at) > hour - HOURS);
  const kept = Object.fromEntries(recent);
  return { ...kept, [hour]: (kept[hour] ?? 0) + rows };
}

/** `rowsBefore`: of the source, when the first of them was still there. */
export function needsPerson(gone: ByHour, rowsBefore: number): boolean {
  const rows = Object.values(gone).reduce((sum, one) => sum + one, 0);
  return rows > GONE_ROWS_MAX && rows > GONE_SHARE_MAX * rowsBefore;
}
