/** What differs between answers to the same rows: of two tries, or of a try and what the row had before. Only reads. */
import { canonicalJson } from "../../model/json/canonical-json.js";
import type { PipelineConfig, Json } from "../../model/pipeline.js";
import type { Database } from "../../postgres/database.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import * as tries from "../../store/tries/tries.js";
import type { TryAnswer } from "../../store/tries/tries.js";
import { STAMP_COLUMNS } from "../../targets/table/statements.js";
import { keyParts } from "../story/row-key.js";
import { readResult } from "../story/row-story.js";

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

/** The rows that both asked. Pure. */
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

export interface Before {
  /** The number of a try, or the target. */
  readonly from: number | "target";
  readonly cells: Cells;
}

/**
 * By key: the answer of an earlier try, else the one in the target; without those that have neither. The target is read
 * only as far as its owner is trusted.
 */
export async function answersBefore(
  database: Database,
  { config, table }: { readonly config: PipelineConfig; readonly table: SourceTable },
  answers: readonly TryAnswer[],
): Promise<ReadonlyMap<string, Before>> {
  const keys = answers.map(({ key }) => key);
  const [first] = answers;
  if (first === undefined) return new Map();
  const earlier = await tries.previousAnswers(database, { pipeline: config.name, before: first.try, keys });
  const before = new Map(
    earlier.flatMap(({ key, cells, ...answer }): [string, Before][] =>
      cells === null ? [] : [[key, { from: answer.try, cells }]],
    ),
  );
  const stored = keys.filter((key) => !before.has(key));
  await database.transaction(async (tx) => {
    for (const key of stored) {
      const parts = keyParts([key], table.key.length);
      const result = await readResult(tx, { table, config, parts });
      // What one row meets (no table, an owner who is not trusted) all others meet.
      if (result.state === "unknown") return;
      if (result.state === "present") before.set(key, { from: "target", cells: byField(config, result.cells) });
    }
  });
  return before;
}

/** From the target's columns to the answer's fields, without Rowmill's own columns. */
function byField({ target }: PipelineConfig, cells: Cells): Cells {
  const fields = new Map(Object.entries(target.columns ?? {}).map(([field, column]) => [column, field]));
  const own = Object.entries(cells).filter(([name]) => !STAMP_COLUMNS.some((stamp) => stamp.name === name));
  return Object.fromEntries(own.map(([name, value]) => [fields.get(name) ?? name, value]));
}

type Cells = Readonly<Record<string, Json>>;

export interface Difference {
  readonly field: string;
  readonly before: Json;
  readonly after: Json;
}

/** In the order of the fields of `after`, then those that only `before` has. A missing field is null. */
export function differing(before: Cells, after: Cells): Difference[] {
  const fields = [...new Set([...Object.keys(after), ...Object.keys(before)])];
  return fields
    .map((field) => ({ field, before: before[field] ?? null, after: after[field] ?? null }))
    .filter((one) => canonicalJson(one.before) !== canonicalJson(one.after));
}
