/** Owns the cells of an answer as text, for CSV and JSONL. Pure. */
import type { AnswerColumn } from "../model/answer/answer-columns.js";
import type { Json } from "../model/pipeline.js";

/** What a spreadsheet takes for a formula, or drops and then takes for one. */
const FORMULA = /^[=+\-@\t\r\n\uff0b\uff0d\uff1d\uff20]/;

export function withoutFormula(text: string): string {
  return FORMULA.test(text) ? `'${text}` : text;
}

const NUMBER = /^-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?$/;

function isNumeric({ type }: AnswerColumn): boolean {
  return type === "bigint" || type === "double precision";
}

/** For CSV: lists and objects as JSON. A number is no formula, also if it is negative. */
export function answerText(column: AnswerColumn, value: Json, escapeFormulas: boolean): string | null {
  if (value === null) return null;
  if (typeof value !== "string") return JSON.stringify(value);
  const isNumber = isNumeric(column) && NUMBER.test(value);
  return escapeFormulas && !isNumber ? withoutFormula(value) : value;
}

/** For JSONL. A number that came as text keeps its digits. */
export function answerJson(column: AnswerColumn, value: Json): string {
  if (typeof value !== "string") return JSON.stringify(value);
  if (isNumeric(column) && NUMBER.test(value)) return value;
  return column.isJsonText === true && isJson(value) ? value.replaceAll(/[\r\n]/g, " ") : JSON.stringify(value);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    // The model's text, kept as text.
    return false;
  }
}
