/** Two tries side by side: the rows that both asked, and what differs. Pure. */
import type { TryAnswer } from "../../store/tries/tries.js";
import { differing, type Difference } from "./differing.js";

export interface ComparedRow {
  readonly key: string;
  readonly a: TryAnswer;
  readonly b: TryAnswer;
  /** Fields that differ; null: one of them has no usable answer. */
  readonly differences: readonly Difference[] | null;
}

export interface ComparedTries {
  /** In the order of the second. */
  readonly rows: readonly ComparedRow[];
  readonly same: number;
  /** Rows of one try alone. */
  readonly onlyA: number;
  readonly onlyB: number;
  /** Over the rows of both. */
  readonly a: Totals;
  readonly b: Totals;
}

export interface Totals {
  readonly failed: number;
  readonly inputTokens: number;
  readonly outputTokens: number;
  readonly costNanoUsd: number;
  /** Null: no call ended. */
  readonly meanLatencyMs: number | null;
}

export function compareTries(a: readonly TryAnswer[], b: readonly TryAnswer[]): ComparedTries {
  const first = new Map(a.map((answer) => [answer.key, answer]));
  const rows = b.flatMap((after): ComparedRow[] => {
    const before = first.get(after.key);
    if (before === undefined) return [];
    const isBoth = before.cells !== null && after.cells !== null;
    const differences = isBoth ? differing(before.cells, after.cells) : null;
    return [{ key: after.key, a: before, b: after, differences }];
  });
  return {
    rows,
    same: rows.filter(({ differences }) => differences?.length === 0).length,
    onlyA: a.length - rows.length,
    onlyB: b.length - rows.length,
    a: totals(rows.map((row) => row.a)),
    b: totals(rows.map((row) => row.b)),
  };
}

function totals(answers: readonly TryAnswer[]): Totals {
  const sum = (of: (answer: TryAnswer) => number) => answers.reduce((all, answer) => all + of(answer), 0);
  const timed = answers.filter(({ latencyMs }) => latencyMs !== null);
  return {
    failed: answers.filter(({ outcome }) => outcome !== "answered").length,
    inputTokens: sum(({ inputTokens }) => inputTokens),
    outputTokens: sum(({ outputTokens }) => outputTokens),
    costNanoUsd: sum(({ costNanoUsd, reservedNanoUsd }) => (costNanoUsd ?? 0) + reservedNanoUsd),
    meanLatencyMs: timed.length === 0 ? null : Math.round(sum(({ latencyMs }) => latencyMs ?? 0) / timed.length),
  };
}
