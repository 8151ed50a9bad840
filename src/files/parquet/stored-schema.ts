/**
 * Owns the schema that a Parquet file is read with: it leaves values as they are stored, because hyparquet would turn
 * decimals and timestamps into doubles and lose digits. Pure.
 */
import type { SchemaElement } from "hyparquet";
import type { CellKind } from "../file-types.js";

export interface StoredColumn {
  readonly element: SchemaElement;
  readonly children: readonly StoredColumn[];
}

/** The columns at the top, with what is inside of them. @throws Error if the schema is broken */
export function storedColumns(schema: readonly SchemaElement[]): readonly StoredColumn[] {
  let at = 0;
  const next = (): StoredColumn => {
    const element = schema[at++];
    if (element === undefined) throw new Error("the schema ends in the middle");
    const count = element.num_children ?? 0;
    return { element, children: Array.from({ length: Math.min(count, schema.length) }, next) };
  };
  return next().children;
}

/** Texts stay texts, and lists, maps and variants keep their shape; all else is what the bytes say. */
export function asStored(element: SchemaElement): SchemaElement {
  const { converted_type: _, logical_type: logical, ...rest } = element;
  const group = containerOf(element);
  if (group !== null) return { ...rest, converted_type: group };
  if (logical?.type === "VARIANT") return { ...rest, logical_type: logical };
  return isText(element) ? { ...rest, converted_type: "UTF8" } : rest;
}

export function containerOf({ converted_type, logical_type }: SchemaElement): "LIST" | "MAP" | null {
  if (converted_type === "LIST" || logical_type?.type === "LIST") return "LIST";
  const isMap = converted_type === "MAP" || converted_type === "MAP_KEY_VALUE" || logical_type?.type === "MAP";
  return isMap ? "MAP" : null;
}

export function isText({ type, converted_type, logical_type }: SchemaElement): boolean {
  const names = ["UTF8", "ENUM", "JSON", "STRING"];
  return type === "BYTE_ARRAY" && (names.includes(converted_type ?? "") || names.includes(logical_type?.type ?? ""));
}

export function isJson({ converted_type, logical_type }: SchemaElement): boolean {
  return converted_type === "JSON" || logical_type?.type === "JSON";
}

const NUMBERS: readonly (string | undefined)[] = ["INT32", "INT64", "FLOAT", "DOUBLE"];
const NUMBER_NAMES = /^(?:U?INT_\d+|INTEGER|DECIMAL|FLOAT16)$/;

export function kindOf({ element, children }: StoredColumn): CellKind {
  const { type, converted_type, logical_type, repetition_type } = element;
  if (children.length > 0 || repetition_type === "REPEATED" || isJson(element)) return "json";
  if (type === "BOOLEAN") return "boolean";
  const name = logical_type?.type ?? converted_type;
  if (name === undefined || name === "NULL") return NUMBERS.includes(type) ? "number" : "text";
  return NUMBER_NAMES.test(name) ? "number" : "text";
}
