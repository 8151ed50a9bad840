/** What is written by its fence, and what becomes of it. */
import type { RowCells } from "../../model/pipeline.js";
import type { TableColumn } from "../../sources/table/columns.js";
import type { TargetTable, WrittenResult } from "./table-target.js";

/** The table's columns include the fence. */
export interface FencedTable {
  readonly table: TargetTable;
  readonly fence: string;
  /** Of the source's own rows, into which answers are written back: what they were asked with. Null: other rows. */
  readonly content: readonly TableColumn[] | null;
}

export interface FencedResult {
  readonly key: string;
  /** Decimal digits of a bigint. */
  readonly fence: string;
  readonly cells: WrittenResult["cells"];
  /** Null: deleted. */
  readonly model: string | null;
  /** Where answers are written back: what the row was asked with. */
  readonly expect?: RowCells | null;
}

export interface FencedWrite {
  /** The table holds these answers, also from an earlier write. */
  readonly written: string[];
  readonly stale: { readonly key: string; readonly fence: string }[];
  /** Where answers are written back: rows that are not as they were asked. */
  readonly changed: string[];
  readonly busy: string[];
  readonly failed: { readonly key: string; readonly reason: string }[];
  /** Where answers are written back: the rows as this write leaves them. */
  readonly rows: { readonly key: string; readonly row: RowCells }[];
}

/** Why a row has no answer although the database reported no error. */
export const NOT_HELD = "a trigger or rule of the table did something else";

export function withFence(column: string): (result: FencedResult) => WrittenResult {
  return ({ key, fence, cells, model }) => ({ key, model, version: null, cells: { ...cells, [column]: fence } });
}
