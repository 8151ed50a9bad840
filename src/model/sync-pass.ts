/** Which pass over a source elsewhere is next, and when rows that vanished there need your consent. Pure. */

export interface PassFacts {
  readonly phase: "idle" | "reading" | "deleting";
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

export function nextPass(facts: PassFacts, fullEveryMs: number): NextPass {
  const { phase, hasMark, isSame, fullMs, fullWanted } = facts;
  if (!isSame) return "full";
  if (phase === "deleting" || (phase === "reading" && !isGivenUp(facts))) return "goOn";
  return !hasMark || fullWanted || fullMs === null || fullMs >= fullEveryMs ? "full" : "changes";
}

/** Otherwise one that can get no further would be in the way of what you ask for. */
function isGivenUp({ isFull, isFailing, fullWanted }: PassFacts): boolean {
  return fullWanted && (isFailing || !isFull);
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
