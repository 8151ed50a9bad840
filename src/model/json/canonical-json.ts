/** One text for equal JSON values, for hashing and comparing. Pure. */
import type { Json } from "../pipeline.js";

/** No white space, keys sorted by UTF-16 code units. Not for request bodies: a model writes in their order. */
export function canonicalJson(value: Json): string {
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(",")}]`;
  const members = Object.keys(value)
    .sort()
    .map((key) => `${JSON.stringify(key)}:${canonicalJson(value[key] ?? null)}`);
  return `{${members.join(",")}}`;
}
