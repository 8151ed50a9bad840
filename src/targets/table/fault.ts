/** What is wrong with a target for an answer, and how to fix it. Pure. */
import { RowmillError } from "../../model/errors.js";
import type { Json, PipelineConfig } from "../../model/pipeline.js";
import type { CatalogueColumn } from "../../sources/table/columns.js";
import type { TargetFacts } from "./catalogue.js";
import type { AnsweredRows, WantedColumn } from "./statements.js";

export interface Fault {
  /** `warning`: some answers may fail. `unknown`: it could not be checked. */
  readonly level: "problem" | "warning" | "unknown";
  /** `right`: a grant fixes it. */
  readonly kind: "shape" | "right";
  readonly text: string;
  readonly fixes: readonly string[];
  /** Each with its semicolon. */
  readonly sql: readonly string[];
}

type More = Partial<Pick<Fault, "level" | "kind" | "fixes" | "sql">>;

export function fault(text: string, more: More = {}): Fault {
  return { level: "problem", kind: "shape", text, fixes: [], sql: [], ...more };
}

/** One error for all problems. Null: there is none. */
export function refusalOf(faults: readonly Fault[]): RowmillError | null {
  const problems = faults.filter(({ level }) => level === "problem");
  const [first, ...others] = problems;
  if (first === undefined) return null;
  const hints = problems.flatMap(({ sql, fixes }) => [...sql, ...fixes]);
  return new RowmillError("target_unsupported", first.text, {
    hints: [...new Set(hints)],
    lines: others.map(({ text }) => text),
  });
}

export interface Judged {
  readonly config: PipelineConfig["target"];
  readonly facts: TargetFacts;
  readonly source: AnsweredRows;
  readonly wanted: readonly WantedColumn[];
  readonly isSource: boolean;
}

/** A column that an answer goes to. */
export interface Pair {
  readonly wanted: WantedColumn;
  readonly found: CatalogueColumn;
}

export function pairsOf({ facts, wanted }: Pick<Judged, "facts" | "wanted">): readonly Pair[] {
  return wanted.flatMap((column) => {
    const found = facts.columns.find(({ name }) => name === column.name);
    return found ? [{ wanted: column, found }] : [];
  });
}

const VALUES_NAMED_MAX = 10;

/** `"a", "b" and 3 more`. */
export function namedValues(values: readonly Json[]): string {
  const named = values.slice(0, VALUES_NAMED_MAX).map((value) => JSON.stringify(value));
  const more = values.length - named.length;
  return more > 0 ? `${named.join(", ")} and ${more} more` : named.join(", ");
}

export function textOfValue(value: Json): string {
  return typeof value === "string" ? value : JSON.stringify(value);
}
