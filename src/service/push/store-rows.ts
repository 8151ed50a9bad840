/** Rows on their way into the database: those that it could not take are refused here, the others are stored. */
import { isConflict } from "../../postgres/database.js";
import * as pushes from "../../store/replicas/pushes.js";
import type { Pushed, RowProblem } from "../../store/replicas/pushes.js";

/** Rows that go to the database in one statement. */
export const CHUNK_ROWS = 2_000;
export const CHUNK_BYTES = 4 * 1024 * 1024;
const PROBLEMS_MAX = 100;
/** Two pushes of the same keys, or a lock that `up` holds. */
const CONFLICT_TRIES = 5;

/** Null: it was not UTF-8. */
export type SentRow = string | null;

/**
 * Pushes the rows that nothing speaks against, and maps places back to those among all rows. A row that is null must
 * have a reason. Null if `push` returns null.
 */
export async function storeGood<Row extends SentRow>(
  rows: readonly Row[],
  reasonAgainst: (row: Row) => string | null,
  push: (good: readonly string[]) => Promise<Pushed | null>,
): Promise<Pushed | null> {
  const bad: RowProblem[] = [];
  const good: string[] = [];
  const places: number[] = [];
  rows.forEach((sent, row) => {
    const reason = reasonAgainst(sent);
    if (reason !== null) bad.push({ row, key: null, reason });
    else {
      good.push(sent ?? "");
      places.push(row);
    }
  });
  const pushed = good.length === 0 ? pushes.NOTHING : await push(good);
  if (pushed === null || bad.length === 0) return pushed;
  const problems = pushed.problems.map((one) => ({ ...one, row: places[one.row] ?? one.row }));
  return {
    ...pushed,
    refused: pushed.refused + bad.length,
    problems: [...bad, ...problems].toSorted((a, b) => a.row - b.row).slice(0, PROBLEMS_MAX),
  };
}

/** What happened to some rows, and of those that follow, the first of which is row `from`. */
export function added(sum: Pushed, more: Pushed, from: number): Pushed {
  const problems = more.problems.map((one) => ({ ...one, row: one.row + from }));
  return {
    accepted: sum.accepted + more.accepted,
    unchanged: sum.unchanged + more.unchanged,
    older: sum.older + more.older,
    refused: sum.refused + more.refused,
    problems: [...sum.problems, ...problems].slice(0, PROBLEMS_MAX),
  };
}

export function* chunksOf(rows: readonly string[]): Generator<readonly string[]> {
  let start = 0;
  let length = 0;
  for (let at = 0; at < rows.length; at++) {
    const next = rows[at]?.length ?? 0;
    if (at > start && (at - start === CHUNK_ROWS || length + next > CHUNK_BYTES)) {
      yield rows.slice(start, at);
      [start, length] = [at, 0];
    }
    length += next;
  }
  if (start < rows.length) yield rows.slice(start);
}

/** Repeats it after a deadlock, as long as that may help. */
export async function retrying<T>(work: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries++) {
    try {
      return await work();
    } catch (error) {
      if (tries === CONFLICT_TRIES || !isConflict(error)) throw error;
    }
  }
}
