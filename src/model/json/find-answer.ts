/**
 * Finds the answer in what a model said: after its reasoning, in a fence, after a sentence, in a tool's arguments.
 * Pure.
 *
 * Exactly one value must fit the schema: of several different ones, no one can say which is meant. Reasoning counts
 * only if nothing stands outside it, because a draft is not the answer. A value inside another value does not count.
 * Without a schema, only reasoning at the very beginning is removed: later text may be about such tags.
 */
import { isJsonObject, jsonObjectsIn } from "./json-scan.js";
import { isOverfull, JSON_VALUES_MAX } from "./json-values.js";
import type { Said } from "../provider/outcome.js";
import type { Json } from "../pipeline.js";
import { storableText } from "../words/storable-text.js";
import { thrownMessage } from "../words/thrown-message.js";

export type ParsedAnswer =
  | { readonly ok: true; readonly value: unknown; readonly cells: Readonly<Record<string, Json>> }
  /** What was wrong and where, for you and for the next try; at most `MESSAGE_CHARACTERS_MAX`. */
  | { readonly ok: false; readonly message: string };

/** JSON objects in one answer: each is checked against the schema. */
export const CANDIDATES_MAX = 100;
const MESSAGE_CHARACTERS_MAX = 1_000;

/** `slash`: before the name. Some models write `[THINK]`, or `◁think▷`. */
function reasoningTag(slash: "" | "/" | "/?"): string {
  return `(?:<${slash}(?:think|thinking|thought|reasoning)>|\\[${slash}think\\]|◁${slash}think▷)`;
}

const OPENED = new RegExp(`^\\s*${reasoningTag("")}`, "i");
const TAGS = new RegExp(reasoningTag("/?"), "gi");

/** `value`: the parsed `json`, which the judge may change. */
type Judge = (value: unknown, json: string) => ParsedAnswer;

export function findAnswer(said: Said, judge: Judge): ParsedAnswer {
  const text = decoded(said.text);
  return judgeWhole(text.trim(), said, judge) ?? searchAnswer(text, said, judge);
}

/** The usual answer: one object and nothing else. Null if it is not. */
function judgeWhole(bare: string, { calls = [] }: Said, judge: Judge): ParsedAnswer | null {
  if (calls.length > 0 || !bare.startsWith("{") || !bare.endsWith("}") || isOverfull(bare)) return null;
  let value: unknown;
  try {
    value = JSON.parse(bare);
  } catch {
    // Words in braces, or several objects.
    return null;
  }
  return judge(value, bare);
}

function searchAnswer(text: string, said: Said, judge: Judge): ParsedAnswer {
  for (const place of placesOf(text, said)) {
    const candidates = place.flatMap((part) => jsonObjectsIn(part, CANDIDATES_MAX + 1));
    if (candidates.length > CANDIDATES_MAX) return invalid(`the answer holds more than ${CANDIDATES_MAX} JSON objects`);
    const judged = candidates.map((candidate) => judgeBounded(candidate, judge));
    const fitting = new Map(judged.filter((one) => one.ok).map((one) => [JSON.stringify(one.value), one]));
    if (fitting.size > 1)
      return invalid(`the answer holds ${fitting.size} different JSON objects that fit, but only one can count`);
    const [only] = fitting.values();
    if (only !== undefined) return only;
    const refused = refusalOf(judged);
    if (refused !== null) return refused;
  }
  return withoutCandidate(withoutReasoning(text).trim(), judge);
}

/** Where to search, in this order: the whole, outside of the reasoning, inside it. */
function placesOf(text: string, { calls = [], reasoning }: Said): readonly (readonly string[])[] {
  const bare = text.trim();
  const visible = withoutReasoning(text);
  const given = calls.map(decoded);
  const isReasoningAlone = visible.trim() === "";
  return [
    isJsonObject(bare) ? [bare, ...given] : [],
    [visible, ...given],
    isReasoningAlone ? [text, reasoning ?? ""] : [],
  ];
}

function refusalOf(judged: readonly ParsedAnswer[]): ParsedAnswer | null {
  const last = judged.at(-1);
  if (last === undefined || last.ok) return null;
  return judged.length === 1
    ? last
    : invalid(`none of the ${judged.length} JSON objects in the answer fits. The last one: ${last.message}`);
}

/** A number, a text, null, no JSON at all, or JSON that is nested too deep. */
function withoutCandidate(bare: string, judge: Judge): ParsedAnswer {
  if (bare.trim() === "") return invalid("the answer is blank");
  try {
    if (!isOverfull(bare)) JSON.parse(bare);
  } catch (error) {
    return invalid(`the answer is not JSON: ${thrownMessage(error)}`);
  }
  return judgeBounded(bare, judge);
}

function judgeBounded(json: string, judge: Judge): ParsedAnswer {
  return isOverfull(json)
    ? invalid(`the answer holds more than ${JSON_VALUES_MAX} values`)
    : judge(JSON.parse(json), json);
}

/** JSON inside a JSON string, as some models write a tool's arguments. */
function decoded(text: string): string {
  const bare = text.trim();
  if (!bare.startsWith('"')) return text;
  try {
    const inner: unknown = JSON.parse(bare);
    return typeof inner === "string" ? inner : text;
  } catch {
    // Words that begin with a quotation mark.
    return text;
  }
}

/** The text without tagged parts. An unclosed tag runs to the end; an unopened one began before the text. */
function withoutReasoning(text: string): string {
  let kept = "";
  let from = 0;
  let isInside = false;
  for (const tag of text.matchAll(TAGS)) {
    const closes = tag[0][1] === "/";
    if (!closes && !isInside) kept += text.slice(from, tag.index);
    if (closes && !isInside) kept = "";
    isInside = !closes;
    from = tag.index + tag[0].length;
  }
  return isInside ? kept : kept + text.slice(from);
}

/** The words of an answer without a schema; blank if there is only reasoning. */
export function wordsOf(text: string): string {
  if (!OPENED.test(text)) return text;
  const close = new RegExp(`${reasoningTag("/")}\\s*`, "i").exec(text);
  return close === null ? "" : text.slice(close.index + close[0].length);
}

/** The message may quote the answer, and is stored. */
export function invalid(message: string): ParsedAnswer {
  const short = message.length > MESSAGE_CHARACTERS_MAX ? `${message.slice(0, MESSAGE_CHARACTERS_MAX - 1)}…` : message;
  return { ok: false, message: storableText(short) };
}
