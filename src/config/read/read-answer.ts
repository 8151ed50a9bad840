/**
 * Reads `answer`: a zod 4 schema or `json()`, in a JSON config a JSON Schema or `"json"`. Schemas are recognized by
 * their shape, never by `instanceof`, so that a config may bring its own zod 4.
 */
import { z } from "zod";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { answerProblems, compileAnswer } from "../../model/answer/answer.js";
import { FREE_JSON, isFreeJson } from "../../model/json/free-json.js";
import type { AnswerSpec } from "../../model/pipeline.js";
import { isPlainObject, refuse, type Place } from "./readers.js";

export type ConfigLanguage = "script" | "json";

const ZOD4 = 'a zod 4 schema (`import { z } from "rowmill"`), or json() for any JSON object';

/** Null after a mistake. A schema is user code: its getters may throw. */
export function readAnswer(place: Place, language: ConfigLanguage): AnswerSpec | null {
  if (isFreeJson(place.value) || (language === "json" && place.value === "json")) return FREE_JSON;
  try {
    return readUsable(place, language);
  } catch (error) {
    place.problems.add(place.path, `this schema cannot be read: ${thrownMessage(error)}`);
    return null;
  }
}

function readUsable(place: Place, language: ConfigLanguage): z.ZodType | null {
  const schema = readSchema(place, language);
  if (schema === null) return null;
  const mistakes = answerProblems(schema);
  for (const mistake of mistakes) place.problems.add(place.path, mistake);
  return mistakes.length === 0 || canBeWritten(schema) ? schema : null;
}

/** If so, the provider's rules find what else is wrong with it. */
function canBeWritten(schema: z.ZodType): boolean {
  try {
    return compileAnswer(schema).schema !== null;
  } catch {
    // The reason is among the mistakes already.
    return false;
  }
}

function readSchema(place: Place, language: ConfigLanguage): z.ZodType | null {
  if (isZodSchema(place.value)) return place.value;
  if (language === "json" && isPlainObject(place.value)) return fromJsonSchema(place, place.value);
  if (isZod3Schema(place.value)) place.problems.add(place.path, ZOD4, { found: "a zod 3 schema" });
  else refuse(place, language === "json" ? 'a JSON Schema, or "json" for any JSON object' : ZOD4);
  return null;
}

function isZodSchema(value: unknown): value is z.ZodType {
  return typeof value === "object" && value !== null && "_zod" in value;
}

function isZod3Schema(value: unknown): boolean {
  return typeof value === "object" && value !== null && "_def" in value;
}

function fromJsonSchema(place: Place, schema: Readonly<Record<string, unknown>>): z.ZodType | null {
  try {
    return z.fromJSONSchema(closed(schema));
  } catch (error) {
    place.problems.add(place.path, `this JSON Schema cannot be used: ${thrownMessage(error)}`);
    return null;
  }
}

/** Objects without `additionalProperties` have no further fields, as in `z.object`: strict mode needs that. */
function closed(schema: Readonly<Record<string, unknown>>): Record<string, unknown> {
  const members = Object.entries(schema).map(([key, value]): [string, unknown] => [key, closedInside(value)]);
  const isOpen = isPlainObject(schema["properties"]) && schema["additionalProperties"] === undefined;
  return Object.fromEntries(isOpen ? [...members, ["additionalProperties", false]] : members);
}

function closedInside(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((element: unknown) => closedInside(element));
  return isPlainObject(value) ? closed(value) : value;
}

/** The fields of the answer, each of which gets a column; without a schema the one name `answer`. */
export function answerFields(answer: AnswerSpec | null): readonly string[] {
  return compileAnswer(answer).columns.map((column) => column.field);
}
