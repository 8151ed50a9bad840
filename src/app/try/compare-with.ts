/** What the answers of a try are compared with: the row's answer in an earlier try, else the one in the target. */
import type { Database } from "../../postgres/database.js";
import type { PipelineConfig } from "../../model/pipeline.js";
import type { SourceTable } from "../../sources/table/inspection.js";
import * as tries from "../../store/tries/tries.js";
import type { TryAnswer } from "../../store/tries/tries.js";
import { STAMP_COLUMNS } from "../../targets/table/statements.js";
import { keyParts } from "../story/row-key.js";
import { readResult } from "../story/row-story.js";
import type { Cells } from "./differing.js";

export interface Before {
  /** The number of a try, or the target. */
  readonly from: number | "target";
  readonly cells: Cells;
}

/** By key; without those that have neither. The target is read only as far as its owner is trusted. */
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
