/** Answers that go into the source's own rows, in a system elsewhere. Pure. */
import type { AnswerColumn } from "./answer/answer-columns.js";
import type { KeyColumn, PrepareOptions } from "./connector.js";
import type { PipelineConfig, RowCells } from "./pipeline.js";

/** Source and target say the same address. */
export function writesBack({ source, target }: Pick<PipelineConfig, "source" | "target">): boolean {
  const address = source.replica?.sync?.connector.address ?? null;
  return address !== null && address === target.elsewhere?.address;
}

/** What a target learns of the pipeline whose answers it gets. */
export function preparing(
  config: PipelineConfig,
  fields: readonly AnswerColumn[],
  keyColumns?: readonly KeyColumn[],
): Omit<PrepareOptions, "signal"> {
  const { key, columns } = config.source;
  const named = keyColumns ?? key.map((name) => ({ name, type: "text" }));
  return { pipeline: config.name, fields, key: named, ...(writesBack(config) ? { source: { key, columns } } : {}) };
}

/** A row of the source, which is locked. */
export interface LockedRow {
  /** The source's columns, as the texts that a reading gives. */
  readonly cells: RowCells;
  /** "0": it has none. */
  readonly fence: string;
}

/** `written`: it has this answer from an earlier write, or there is nothing to delete. */
export function fateOf(
  answer: { readonly fence: string; readonly model: string | null; readonly expect?: RowCells | null },
  row: LockedRow | undefined,
): "write" | "written" | "stale" | "changed" {
  const { fence, model, expect = null } = answer;
  const isDeletion = model === null;
  if (row === undefined) return isDeletion ? "written" : "changed";
  const [theirs, ours] = [BigInt(row.fence), BigInt(fence)];
  if (theirs > ours) return "stale";
  if (theirs === ours) return "written";
  const isAsAsked = Object.entries(row.cells).every(([name, text]) => text === expect?.[name]);
  return isDeletion || isAsAsked ? "write" : "changed";
}
