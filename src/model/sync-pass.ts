/** Which pass over a source elsewhere is next, and when a share of its rows that vanishes needs a person. Pure. */

export interface PassFacts {
  readonly phase: "idle" | "reading" | "deleting";
  /** Changes can be read: an earlier pass left a mark. */
  readonly hasMark: boolean;
  /** Since the last completed pass over all rows began. Null: there was none. */
  readonly fullMs: number | null;
  /** That pass wrote the rows with all columns of today. */
  readonly isSameGeneration: boolean;
  /** A person asked for it. */
  readonly fullWanted: boolean;
}

export type NextPass = "goOn" | "full" | "changes";

export function nextPass(facts: PassFacts, fullEveryMs: number): NextPass {
  if (facts.phase !== "idle") return "goOn";
  const isFull =
    !facts.hasMark ||
    facts.fullWanted ||
    !facts.isSameGeneration ||
    facts.fullMs === null ||
    facts.fullMs >= fullEveryMs;
  return isFull ? "full" : "changes";
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
