/**
 * Finds what in a zod schema cannot be a strict JSON schema or a column, with its path and what to write instead.
 * What a provider refuses, its dialect finds. Pure; never throws. Reads the structure that all copies of zod 4 share
 * (`_zod.def`), never classes, so that your own zod works.
 */
import type { z } from "zod";
import { readSchema, type SchemaNode } from "./answer-schema.js";
import { textProblem } from "../words/storable-text.js";
import { thrownMessage } from "../words/thrown-message.js";

/** Wrappers, arrays and unions count too; only a schema without an end reaches it. */
const WALK_DEPTH_MAX = 100;
const PROBLEMS_MAX = 20;

interface Def extends Readonly<Record<string, unknown>> {
  readonly type: string;
}

interface Place {
  readonly path: string;
  readonly above: readonly unknown[];
}

/** Types without children that JSON schema and a column can both hold. */
const LEAVES = new Set(["string", "number", "boolean", "null", "enum", "template_literal"]);
const WRAPPERS = new Set(["nullable", "optional", "nonoptional", "default", "prefault", "catch", "readonly"]);

const REFUSED: Readonly<Record<string, string>> = {
  date: "a date, which JSON does not have; use z.iso.date() or z.iso.datetime(), which are text",
  bigint: "a bigint, which JSON does not have; use z.int() for whole numbers up to 2^53, or a string",
  transform:
    "a transform, but answers are stored as the model gave them; describe the form that you want, or use `validate`",
  pipe:
    "a transform, codec or pipe, but answers are stored as the model gave them; " +
    "use one schema without .transform(), .pipe(), z.preprocess() or z.stringbool()",
  record: "a record, but strict mode needs every field named; use z.array(z.object({ key: …, value: … }))",
  map: "a map; use z.array(z.object({ key: …, value: … }))",
  set: "a set; use z.array(…)",
  tuple: "a tuple, which strict mode does not have; use z.object with a name for each place, or z.array",
  intersection: "an intersection, which strict mode does not have; use .extend() to make one object",
  any: "anything, but strict mode needs a type",
  unknown: "anything, but strict mode needs a type",
  never: "a value that cannot exist",
  custom: "a custom type or z.instanceof(); use only JSON's types",
  function: "a function; use only JSON's types",
};

/**
 * What must be changed before a schema can be used as `answer`; empty when it is good.
 * Each sentence begins with the path of the field, such as `cast[].name`, or with `the answer`.
 */
export function answerProblems(schema: z.ZodType): readonly string[] {
  const root = topLevel(schema);
  if (typeof root === "string") return [root];
  const problems: string[] = [];
  walk(root, { path: "", above: [] }, problems);
  if (problems.length > 0) return problems.slice(0, PROBLEMS_MAX);
  try {
    return valueProblems(readSchema(schema, "input"), "").slice(0, PROBLEMS_MAX);
  } catch (error) {
    return [`the answer cannot be written as a JSON schema: ${thrownMessage(error)}`];
  }
}

function topLevel(schema: unknown): unknown {
  const def = defOf(schema);
  if (def === null)
    return 'the answer is not a zod 4 schema; write `answer: z.object({ … })` with z from "rowmill" or zod 4';
  if (def.type === "readonly") return topLevel(def["innerType"]);
  if (def.type !== "object") {
    return (
      `the answer is a zod "${def.type}" at the top level, but strict mode needs an object; ` +
      "put it into a field of z.object({ … })"
    );
  }
  if (Object.keys(def["shape"] as object).length === 0) return "the answer has no fields; name at least one";
  return schema;
}

function walk(schema: unknown, place: Place, problems: string[]): void {
  if (problems.length >= PROBLEMS_MAX) return;
  const def = defOf(schema);
  if (def === null) return void problems.push(`${at(place)} is not a zod 4 schema`);
  if (place.above.includes(schema) || place.above.length >= WALK_DEPTH_MAX) {
    return void problems.push(`${at(place)} contains itself, but a column needs an end; write each level out`);
  }
  const inside = { ...place, above: [...place.above, schema] };
  if (LEAVES.has(def.type)) return;
  if (WRAPPERS.has(def.type)) return walk(def["innerType"], inside, problems);
  switch (def.type) {
    case "object":
      return walkObject(def, inside, problems);
    case "array":
      return walkArray(def, inside, problems);
    case "union":
      for (const option of def["options"] as readonly unknown[]) walk(option, inside, problems);
      return;
    case "literal":
      return walkLiteral(def, place, problems);
    case "lazy":
      return walkLazy(def, inside, problems);
    default:
      problems.push(`${at(place)} is ${REFUSED[def.type] ?? `of zod's type "${def.type}", which JSON does not have`}`);
  }
}

function walkObject(def: Def, place: Place, problems: string[]): void {
  const rest = def["catchall"] === undefined ? null : defOf(def["catchall"]);
  if (rest !== null && rest.type !== "never") {
    problems.push(
      `${at(place)} allows fields that are not named (z.looseObject, .loose() or .catchall()), ` +
        "but strict mode needs every field named",
    );
  }
  for (const [name, field] of Object.entries(def["shape"] as Record<string, unknown>)) {
    const path = place.path === "" ? name : `${place.path}.${name}`;
    const unusable = name === "" || name === "__proto__" || textProblem(name) !== null;
    if (unusable) problems.push(`the field ${JSON.stringify(path)} has a name that cannot be stored; use another`);
    walk(field, { ...place, path }, problems);
  }
}

function walkArray(def: Def, place: Place, problems: string[]): void {
  const element = defOf(def["element"]);
  if (element?.type === "optional") {
    problems.push(`${at(place)} is a list with optional entries, which JSON does not have; use .nullable()`);
  }
  walk(def["element"], { ...place, path: `${place.path}[]` }, problems);
}

function walkLiteral(def: Def, place: Place, problems: string[]): void {
  const values = def["values"] as readonly unknown[];
  const bad = values.filter(
    (value) => !["string", "boolean"].includes(typeof value) && value !== null && !Number.isFinite(value),
  );
  if (bad.length > 0) problems.push(`${at(place)} is the literal ${String(bad[0])}, which JSON does not have`);
}

function walkLazy(def: Def, place: Place, problems: string[]): void {
  const getter = def["getter"];
  if (typeof getter !== "function") return void problems.push(`${at(place)} is a z.lazy() without a function`);
  let inner: unknown;
  try {
    inner = getter();
  } catch (error) {
    return void problems.push(`${at(place)} is a z.lazy() whose function failed: ${thrownMessage(error)}`);
  }
  walk(inner, place, problems);
}

/** Mistakes that only the finished schema shows: the values of its enums. */
function valueProblems(node: SchemaNode, path: string): readonly string[] {
  switch (node.kind) {
    case "object":
      return node.fields.flatMap((field) =>
        valueProblems(field.node, path === "" ? field.name : `${path}.${field.name}`),
      );
    case "array":
      return valueProblems(node.items, `${path}[]`);
    case "choice":
      return node.of.flatMap((choice) => valueProblems(choice, path));
    default:
      return node.values === null ? [] : enumProblems(node.values, path);
  }
}

function enumProblems(values: readonly unknown[], path: string): string[] {
  const twice = values.find((value, index) => values.indexOf(value) < index);
  if (values.length === 0) return [`"${path}" has no value to choose from; name at least one`];
  return twice === undefined ? [] : [`"${path}" has the value ${shownValue(twice)} twice; name it once`];
}

const VALUE_CHARACTERS_MAX = 60;

/** In a message about a schema. */
export function shownValue(value: unknown): string {
  const text = JSON.stringify(value);
  return text.length > VALUE_CHARACTERS_MAX ? `${text.slice(0, VALUE_CHARACTERS_MAX)}…` : text;
}

function defOf(schema: unknown): Def | null {
  if (typeof schema !== "object" || schema === null || !("_zod" in schema)) return null;
  const inner = schema._zod;
  if (typeof inner !== "object" || inner === null || !("def" in inner)) return null;
  const def = inner.def;
  if (typeof def !== "object" || def === null || !("type" in def) || typeof def.type !== "string") return null;
  return def as Def;
}

function at(place: Place): string {
  return place.path === "" ? "the answer" : `"${place.path}"`;
}
