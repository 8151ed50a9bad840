/**
 * Owns a pipeline's answer: its schema, compiled once, and `parse` for each answer. Pure; `parse` never throws, even
 * if the user's refinements do. find-answer.ts decides which part of what a model said is its answer.
 *
 * A null becomes "missing" if the field is optional and not nullable, because strict mode must send every field.
 * Integers beyond 2^53 are invalid, never rounded.
 */
import { z } from "zod";
import { acceptsNull, readSchema, strictSchema, type SchemaNode } from "./answer-schema.js";
import { answerColumns, TEXT_COLUMN, type AnswerColumn } from "./answer-columns.js";
import { restoredSchema, storedSchema } from "./stored-answer.js";
import { findAnswer, invalid, wordsOf, type ParsedAnswer } from "../json/find-answer.js";
import { textProblem } from "../words/storable-text.js";
import { thrownMessage } from "../words/thrown-message.js";
import type { ModelRequest, Said } from "../provider/outcome.js";
import {
  FREE_JSON,
  FREE_JSON_COLUMN,
  FREE_JSON_SCHEMA,
  FREE_JSON_STORED,
  isFreeJson,
  isStoredFreeJson,
  judgeFreeJson,
} from "../json/free-json.js";
import type { AnswerSpec, Json } from "../pipeline.js";

export { answerProblems } from "./answer-problems.js";

export interface CompiledAnswer {
  /** For the request; null: plain text. */
  readonly schema: ModelRequest["schema"];
  /** For the ledger, from which `compileStored` makes the same judge later; null: plain text. */
  readonly stored: Json;
  /** One per top-level field, in the schema's order. */
  readonly columns: readonly AnswerColumn[];
  /** `value` is for the user's `validate`; `cells` holds one JSON value per column's field, null for missing. */
  readonly parse: (text: string, beside?: Omit<Said, "text">) => ParsedAnswer;
}

/** Vendors require a name; it does not shape the answer. */
const SCHEMA_NAME = "answer";
const ISSUES_MAX = 5;

/** Null: the text goes into one column. @throws Error for a schema with `answerProblems` */
export function compileAnswer(answer: AnswerSpec | null): CompiledAnswer {
  if (answer === null) return { schema: null, stored: null, columns: [TEXT_COLUMN], parse: parseText };
  return isFreeJson(answer) ? compiledFreeJson : compileSchema(answer);
}

const compiledFreeJson: CompiledAnswer = {
  schema: FREE_JSON_SCHEMA,
  stored: FREE_JSON_STORED,
  columns: [FREE_JSON_COLUMN],
  parse: (text, beside) => findAnswer({ ...beside, text }, judgeFreeJson),
};

function compileSchema(schema: z.ZodType): CompiledAnswer {
  const input = readSchema(schema, "input");
  const columns = answerColumns(readSchema(schema, "output"));
  const judge = (json: unknown) => judgeObject(json, { schema, input, columns });
  return {
    schema: { name: SCHEMA_NAME, schema: strictSchema(input) },
    stored: storedSchema(schema),
    columns,
    parse: (text, beside) => findAnswer({ ...beside, text }, judge),
  };
}

/** Compiles a schema from the ledger. @throws Error for what `storedSchema` did not write */
export function compileStored(stored: Json): CompiledAnswer {
  if (stored === null) return compileAnswer(null);
  return compileAnswer(isStoredFreeJson(stored) ? FREE_JSON : restoredSchema(stored));
}

function parseText(text: string, beside: Omit<Said, "text"> = {}): ParsedAnswer {
  const words = wordsOf(text);
  if (words.trim() === "") return invalid(`the answer is blank${blankBecause({ ...beside, text })}`);
  const problem = textProblem(words);
  if (problem !== null) return invalid(`the answer ${problem}`);
  return { ok: true, value: words, cells: { [TEXT_COLUMN.field]: words } };
}

function blankBecause({ text, calls = [], reasoning }: Said): string {
  if (calls.length > 0) return ": the model called a tool instead";
  return text.trim() !== "" || reasoning !== undefined ? ": the model wrote only its reasoning" : "";
}

interface Compiled {
  readonly schema: z.ZodType;
  readonly input: SchemaNode;
  readonly columns: readonly AnswerColumn[];
}

function judgeObject(json: unknown, { schema, input, columns }: Compiled): ParsedAnswer {
  dropAbsent(input, json);
  let checked: z.ZodSafeParseResult<unknown>;
  try {
    checked = z.safeParse(schema, json);
  } catch (error) {
    return invalid(`the schema's own check failed: ${thrownMessage(error)}`);
  }
  if (!checked.success) return invalid(issuesText(checked.error.issues));
  return cellsOf(checked.data, columns);
}

function cellsOf(value: unknown, columns: readonly AnswerColumn[]): ParsedAnswer {
  const fields = value as Readonly<Record<string, unknown>>;
  const cells: Record<string, Json> = {};
  for (const column of columns) {
    const stored = storable(fields[column.field] ?? null);
    if ("problem" in stored) return invalid(`${column.field}${stored.at}: ${stored.problem}`);
    if (stored.json === null && !column.nullable) return invalid(`${column.field}: missing`);
    cells[column.field] = stored.json;
  }
  return { ok: true, value, cells };
}

/** Removes, in place, the nulls that stand for missing optional fields. */
function dropAbsent(node: SchemaNode, value: unknown): void {
  if (node.kind === "choice") {
    const branch = node.of.find((choice) => fits(choice, value));
    if (branch !== undefined) dropAbsent(branch, value);
  } else if (node.kind === "array" && Array.isArray(value)) {
    for (const entry of value) dropAbsent(node.items, entry);
  } else if (node.kind === "object" && isRecord(value)) {
    for (const field of node.fields) {
      if (!Object.hasOwn(value, field.name)) continue;
      if (mayBeAbsent(field) && value[field.name] === null) delete value[field.name];
      else dropAbsent(field.node, value[field.name]);
    }
  }
}

/** Whether a value has the shape of a node: enough to tell the branches of a union apart. */
function fits(node: SchemaNode, value: unknown): boolean {
  switch (node.kind) {
    case "choice":
      return node.of.some((choice) => fits(choice, value));
    case "array":
      return Array.isArray(value) && value.every((entry) => fits(node.items, entry));
    case "object":
      return (
        isRecord(value) &&
        node.fields.every((field) => {
          const own = Object.hasOwn(value, field.name) ? value[field.name] : undefined;
          if (own === undefined) return field.optional;
          return (own === null && mayBeAbsent(field)) || fits(field.node, own);
        })
      );
    case "null":
      return value === null;
    default: {
      const type = node.kind === "integer" ? "number" : node.kind;
      return typeof value === type && (node.values === null || node.values.includes(value as Json));
    }
  }
}

function mayBeAbsent(field: { readonly node: SchemaNode; readonly optional: boolean }): boolean {
  return field.optional && !acceptsNull(field.node);
}

/** `at`: where, as a path from the value. */
type Storable = { readonly json: Json } | { readonly at: string; readonly problem: string };

/** A copy that JSON and PostgreSQL can hold, or what they cannot hold and where. */
function storable(value: unknown): Storable {
  if (typeof value === "string") {
    const problem = textProblem(value);
    return problem === null ? { json: value } : { at: "", problem };
  }
  if (value === null || typeof value === "boolean") return { json: value };
  if (typeof value === "number" && Number.isFinite(value)) return { json: value };
  if (Array.isArray(value)) return storableList(value);
  if (isRecord(value)) return storableRecord(value);
  const what = typeof value === "number" ? String(value) : `a ${typeof value}`;
  return { at: "", problem: `${what} cannot be stored` };
}

function storableList(values: readonly unknown[]): Storable {
  const list: Json[] = [];
  for (const entry of values) {
    const stored = storable(entry);
    if ("problem" in stored) return { ...stored, at: `[${list.length}]${stored.at}` };
    list.push(stored.json);
  }
  return { json: list };
}

function storableRecord(value: Record<string, unknown>): Storable {
  const record: Record<string, Json> = {};
  for (const [name, entry] of Object.entries(value)) {
    if (entry === undefined) continue;
    const stored = storable(entry);
    if ("problem" in stored) return { ...stored, at: `.${name}${stored.at}` };
    record[name] = stored.json;
  }
  return { json: record };
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function issuesText(issues: readonly z.core.$ZodIssue[]): string {
  const lines = issues.slice(0, ISSUES_MAX).map((issue) => {
    const path = issue.path.map(String).join(".");
    return path === "" ? issue.message : `${path}: ${issue.message}`;
  });
  const more = issues.length > ISSUES_MAX ? [`and ${issues.length - ISSUES_MAX} more`] : [];
  return [...lines, ...more].join("; ");
}
