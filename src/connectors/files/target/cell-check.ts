/** Whether the cells of an answer can be written in the types of their columns, which Parquet needs. Pure. */
import type { AnswerColumn } from "../../../model/answer/answer-columns.js";
import type { Json } from "../../../model/pipeline.js";

const INTEGER = /^-?\d{1,19}$/;
const [INT64_MIN, INT64_MAX] = [-(2n ** 63n), 2n ** 63n - 1n];

/** Null: they can. */
export function whyRefused(
  cells: Readonly<Record<string, Json>>,
  fields: readonly Pick<AnswerColumn, "field" | "type">[],
): string | null {
  const wrong = fields.find(({ field, type }) => !fits(cells[field] ?? null, type));
  return wrong === undefined ? null : `its "${wrong.field}" is not of the type ${wrong.type}`;
}

function fits(value: Json, type: AnswerColumn["type"]): boolean {
  if (value === null) return true;
  switch (type) {
    case "bigint":
      return isInt64(value);
    case "double precision":
      return typeof value === "number" || (typeof value === "string" && value !== "" && !Number.isNaN(Number(value)));
    case "boolean":
      return typeof value === "boolean" || value === "true" || value === "false";
    case "text[]":
      return Array.isArray(value);
    default:
      return true;
  }
}

function isInt64(value: Json): boolean {
  if (typeof value === "number") return Number.isSafeInteger(value);
  if (typeof value !== "string" || !INTEGER.test(value)) return false;
  const whole = BigInt(value);
  return whole >= INT64_MIN && whole <= INT64_MAX;
}
