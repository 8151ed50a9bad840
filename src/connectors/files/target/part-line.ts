/** Owns a line of a part: a change as JSON, of which key and fence can be read without the rest. Pure. */
import type { Change } from "../../../model/connector.js";
import type { Json } from "../../../model/pipeline.js";

export interface PartLine {
  readonly key: string;
  readonly fence: bigint;
  /** Without its line end. */
  readonly text: string;
}

const KEY_AT = '{"key":'.length;
/** Stands in no text inside of JSON, where its quotes would be escaped. */
const FENCE_MARK = ',"fence":"';
const FENCE = /^\d{1,19}$/;

export function partLine(change: Change): PartLine {
  const { key, fence } = change;
  const rest = "deleted" in change ? { deleted: true } : { cells: change.cells };
  return { key, fence: BigInt(fence), text: JSON.stringify({ key, fence, ...rest }) };
}

/** Null: it is none. */
export function readPartLine(text: string): PartLine | null {
  const mark = text.indexOf(FENCE_MARK);
  const fenceAt = mark + FENCE_MARK.length;
  const fence = text.slice(fenceAt, text.indexOf('"', fenceAt));
  if (mark < 0 || !FENCE.test(fence) || !text.endsWith("}")) return null;
  return { key: JSON.parse(text.slice(KEY_AT, mark)) as string, fence: BigInt(fence), text };
}

/** Null: the answer was deleted. */
export function cellsOf({ text }: PartLine): Readonly<Record<string, Json>> | null {
  const { cells = null } = JSON.parse(text) as { cells?: Readonly<Record<string, Json>> };
  return cells;
}

/** As in all files here, so that they can be merged. */
export function isBefore(a: PartLine, b: PartLine): boolean {
  return a.key < b.key;
}
