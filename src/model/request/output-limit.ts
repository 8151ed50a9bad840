/**
 * How many tokens an answer may have and is likely to have: learned from the definition's past answers, guessed from
 * its schema before there are any. Pure.
 *
 * The learned limit is what a request is sent with, so what is reserved for it stays a true cap. An answer that it cuts
 * off is sent again with twice the room, up to `request.maxOutputTokens`.
 */
import type { Json, PipelineConfig } from "../pipeline.js";
import type { ModelRequest } from "../provider/outcome.js";

/** Output tokens of a definition's last answers. */
export interface OutputSizes {
  /** How many answers were counted: at least 1. */
  readonly answers: number;
  readonly mean: number;
  /** 99 % of them have at most this many. */
  readonly p99: number;
}

/** Fewer answers say little about the next. */
const ANSWERS_MIN = 5;
/** Of the learned p99. */
const LIMIT_FACTOR = 2;
/**
 * Of fewer answers p99 is only the largest that came so far. Of 1,000 films, twice the largest of five cuts off up to
 * 20 %, three times none (docs/internals/performance.md).
 */
const FEW_ANSWERS = 20;
const FEW_FACTOR = 3;
/** Below this a short answer's own variance would cut it off. */
const LIMIT_MIN = 32;

/** Output tokens that the next request of the definition may have. `sizes`: null before its first answer. */
export function outputLimit(sizes: OutputSizes | null, { maxOutputTokens }: PipelineConfig["request"]): number {
  if (sizes === null || sizes.answers < ANSWERS_MIN) return maxOutputTokens;
  const factor = sizes.answers < FEW_ANSWERS ? FEW_FACTOR : LIMIT_FACTOR;
  return Math.min(maxOutputTokens, Math.max(LIMIT_MIN, Math.ceil(sizes.p99 * factor)));
}

const TEXT_TOKENS = 150;
const STRING_TOKENS = 30;
const SHORT_TOKENS = 4;
const LIST_ITEMS = 3;
/** Of a list, such as a label. */
const ITEM_TOKENS = 8;
/** Braces, quotes and a comma around a field, without its name. */
const FIELD_TOKENS = 4;
const CHARACTERS_PER_TOKEN = 4;
/** What a model may think before it answers, where the config asks it to. */
const REASONING_TOKENS = 1_000;

/** Output tokens of one answer. */
export function likelyOutput(
  sizes: OutputSizes | null,
  schema: ModelRequest["schema"],
  { maxOutputTokens, parameters }: PipelineConfig["request"],
): number {
  if (sizes !== null) return Math.min(maxOutputTokens, sizes.mean);
  const effort = parameters["reasoning_effort"];
  const thinks = effort !== undefined && effort !== null && effort !== "none" && effort !== "minimal";
  return Math.min(
    maxOutputTokens,
    (schema === null || schema.isFree === true ? TEXT_TOKENS : guess(schema.schema)) + (thinks ? REASONING_TOKENS : 0),
  );
}

function guess(schema: Json | undefined): number {
  if (schema === null || typeof schema !== "object" || Array.isArray(schema)) return STRING_TOKENS;
  const { properties, items, anyOf, type } = schema;
  if (Array.isArray(schema["enum"]) || "const" in schema) return SHORT_TOKENS;
  if (Array.isArray(anyOf)) return Math.max(...anyOf.map(guess));
  if (type === "array") return LIST_ITEMS * Math.min(ITEM_TOKENS, guess(items)) + FIELD_TOKENS;
  if (properties !== null && typeof properties === "object" && !Array.isArray(properties))
    return Object.entries(properties).reduce(
      (sum, [name, field]) => sum + Math.ceil(name.length / CHARACTERS_PER_TOKEN) + FIELD_TOKENS + guess(field),
      FIELD_TOKENS,
    );
  return type === "string" ? STRING_TOKENS : SHORT_TOKENS;
}
