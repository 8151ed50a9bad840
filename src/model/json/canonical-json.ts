/** One text for equal JSON values, whatever the order of their keys. Pure; for hashing and comparing only. */
import type { Json } from "../pipeline.js";

/**
 * JSON without white space, keys sorted by UTF-16 code units at every level; arrays keep their order.
 * Not for request bodies: a model writes its fields in the order of the schema's properties.
 */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] ?? null)}`);
  return `{${members.join(",")}}`;
}
