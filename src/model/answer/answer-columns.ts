/** Decides which column holds which field of an answer. Pure. */
import type { Json } from "../pipeline.js";
import { acceptsNull, type SchemaNode } from "./answer-schema.js";

export interface AnswerColumn {
  /** Top-level field of the answer; `answer` when there is no schema. */
  readonly field: string;
  readonly type: "text" | "bigint" | "double precision" | "boolean" | "text[]" | "jsonb";
  readonly nullable: boolean;
  /** The only allowed values of a text column, for a CHECK; null: any. */
  readonly check: readonly string[] | null;
  /** The cell is JSON as a text; the column gets its value. */
  readonly isJsonText?: true;
  /** Absent: nothing is known. */
  readonly limits?: ValueLimits;
}

/** The limits of each value of a column, or of each item of a list, as far as the schema sets them. */
export interface ValueLimits {
  /** All possible values; null: too many, or unknown. */
  readonly values: readonly Json[] | null;
  /** Characters of text; null: not known. */
  readonly lengthMax: number | null;
  /** Of numbers; null: not known. */
  readonly min: number | null;
  readonly max: number | null;
}

/** The column for the text if there is no schema. */
export const TEXT_COLUMN: AnswerColumn = { field: "answer", type: "text", nullable: false, check: null };

/** One column per top-level field, in the schema's order. `output` is what zod yields: a default is never null. */
export function answerColumns(output: SchemaNode): readonly AnswerColumn[] {
  if (output.kind !== "object") return [];
  return output.fields.map(({ name, node, optional }) => ({
    field: name,
    nullable: optional || acceptsNull(node),
    ...columnType(withoutNull(node)),
    limits: limitsOf(withoutNull(node)),
  }));
}

function columnType(node: SchemaNode): Pick<AnswerColumn, "type" | "check"> {
  switch (node.kind) {
    case "string":
      return { type: "text", check: node.values === null ? null : strings(node.values) };
    case "integer":
      return { type: "bigint", check: null };
    case "number":
      return { type: "double precision", check: null };
    case "boolean":
      return { type: "boolean", check: null };
    case "array":
      return { type: node.items.kind === "string" ? "text[]" : "jsonb", check: null };
    default:
      return choiceType(node);
  }
}

/** A union of literals of one kind is an enum; anything else nested or mixed is jsonb. */
function choiceType(node: SchemaNode): Pick<AnswerColumn, "type" | "check"> {
  const mixed = { type: "jsonb", check: null } as const;
  if (node.kind !== "choice") return mixed;
  const types = node.of.map(columnType);
  const first = types[0];
  if (first === undefined || types.some(({ type }) => type !== first.type)) return mixed;
  const checks = types.map(({ check }) => check);
  return { type: first.type, check: checks.includes(null) ? null : [...new Set(checks.flatMap((list) => list ?? []))] };
}

const UNLIMITED: ValueLimits = { values: null, lengthMax: null, min: null, max: null };

function limitsOf(node: SchemaNode): ValueLimits {
  switch (node.kind) {
    case "choice":
      return joined(node.of.map(limitsOf));
    case "array":
      return limitsOf(node.items);
    case "boolean":
      return { ...UNLIMITED, values: node.values ?? [true, false] };
    case "string": {
      const lengths = node.values === null ? [] : strings(node.values).map((text) => [...text].length);
      const lengthMax = node.values === null ? (node.lengthMax ?? null) : Math.max(0, ...lengths);
      return { ...UNLIMITED, values: node.values, lengthMax };
    }
    case "integer":
    case "number": {
      const values = node.values?.filter((value) => typeof value === "number") ?? null;
      if (values !== null) return { ...UNLIMITED, values, min: Math.min(...values), max: Math.max(...values) };
      return { ...UNLIMITED, min: boundOf(node, "minimum", 1), max: boundOf(node, "maximum", -1) };
    }
    default:
      return UNLIMITED;
  }
}

/** Of fractional numbers an exclusive bound has no nearest value, so it is unknown. */
function boundOf(
  node: Extract<SchemaNode, { kind: string; keywords: unknown; values: unknown }>,
  name: "minimum" | "maximum",
  inwards: number,
): number | null {
  const included = node.keywords[name];
  if (typeof included === "number") return included;
  const excluded = node.keywords[name === "minimum" ? "exclusiveMinimum" : "exclusiveMaximum"];
  return node.kind === "integer" && typeof excluded === "number" ? excluded + inwards : null;
}

function joined(all: readonly ValueLimits[]): ValueLimits {
  const known = <T>(parts: readonly (T | null)[]): T[] | null =>
    parts.includes(null) ? null : parts.filter((part) => part !== null);
  const lengths = known(all.map(({ lengthMax }) => lengthMax));
  const mins = known(all.map(({ min }) => min));
  const maxs = known(all.map(({ max }) => max));
  return {
    values: known(all.map(({ values }) => values))?.flat() ?? null,
    lengthMax: lengths === null ? null : Math.max(...lengths),
    min: mins === null ? null : Math.min(...mins),
    max: maxs === null ? null : Math.max(...maxs),
  };
}

function withoutNull(node: SchemaNode): SchemaNode {
  if (node.kind !== "choice") return node;
  const others = node.of.map(withoutNull).filter((choice) => choice.kind !== "null");
  return others.length === 1 && others[0] !== undefined ? others[0] : { ...node, of: others };
}

function strings(values: readonly Json[]): readonly string[] {
  return values.filter((value) => typeof value === "string");
}
