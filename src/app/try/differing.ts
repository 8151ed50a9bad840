/** What differs between two answers to one row, field by field. Pure. */
import { canonicalJson } from "../../model/json/canonical-json.js";
import type { Json } from "../../model/pipeline.js";

export type Cells = Readonly<Record<string, Json>>;

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
