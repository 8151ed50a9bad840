/**
 * Finds the answer in what a model said: behind its reasoning, in a fence, after a sentence, in a tool's arguments. Pure.
 *
 * Decisions: what counts is one value that fits the schema; several different ones are no answer, because nobody could say which is meant.
 * Reasoning is looked at only where nothing stands outside of it: a draft in it is not the answer, neither where that does not fit nor where
 * it is words. A value inside of another one is none.
 * Without a schema only reasoning at the very beginning is taken off: further on the words may be about such tags.
 */
import { isJsonObject, jsonObjectsIn } from "./json-scan.js";
import { isOverfull, JSON_VALUES_MAX } from "./json-values.js";
import type { Said } from "../provider/outcome.js";
import type { Json } from "../pipeline.js";
import { storableText } from "../words/storable-text.js";
import { thrownMessage } from "../words/thrown-message.js";

export type ParsedAnswer =
  | { readonly ok: true; readonly value: unknown; readonly cells: Readonly<Record<string, Json>> }
  /** For a person and for the next try: what was wrong and where; at most `MESSAGE_CHARACTERS_MAX`. */
  | { readonly ok: false; readonly message: string };

/** JSON objects in one answer: each is checked against the schema. */
export const CANDIDATES_MAX = 100;
const MESSAGE_CHARACTERS_MAX = 1_000;

/** `slash`: what stands before the name. Some models write `[THINK]`, or `◁think▷`. */
function reasoningTag(slash: "" | "/" | "/?"): string {
  return `(?:<${slash}(?:think|thinking|thought|reasoning)>|\\[${slash}think\\]|◁${slash}think▷)`;
}

const OPENED = new RegExp(`^\\s*${reasoningTag("")}`, "i");
const TAGS = new RegExp(reasoningTag("/?"), "gi");

/** Of JSON: what it says, which the judge may change, and as it is written. */
type Judge = (value: unknown, json: string) => ParsedAnswer;

/** The one object that `judge` takes. */
export function findAnswer(said: Said, judge: Judge): ParsedAnswer {
  const text = decoded(said.text);
  return judgeWhole(text.trim(), said, judge) ?? searchAnswer(text, said, judge);
}

/** The usual answer: one object and nothing else, which alone can count, whatever else a search would find. Null: it is not so. */
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
    if (candidates.length > CANDIDATES_MAX)
      return invalid(`the answer holds more than ${CANDIDATES_MAX} JSON objects`);
    const judged = candidates.map((candidate) => judgeBounded(candidate, judge));
    const fitting = new Map(judged.filter((one) => one.ok).map((one) => [JSON.stringify(one.value), one]));
    if (fitting.size > 1)
      return invalid(`the answer holds ${fitting.size} different JSON objects that fit; only one can count`);
    const [only] = fitting.values();
    if (only !== undefined) return only;
    const refused = refusalOf(judged);
    if (refused !== null) return refused;
  }
  return withoutCandidate(withoutReasoning(text).trim(), judge);
}

/** Where to look, in this order: at the whole, outside of the reasoning, in it. */
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
    : invalid(`none of the ${judged.length} JSON objects in the answer fits; the last one: ${last.message}`);
}

/** A number, a text, null, or nothing of JSON at all; or JSON that is nested deeper than anyone looks for. */
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

/** JSON that was written as a text of JSON, as some models do with a tool's arguments. */
function decoded(text: string): string {
  const bare = text.trim();
  if (!bare.startsWith('"')) return text;
  try {
    const inner: unknown = JSON.parse(bare);
    return typeof inner === "string" ? inner : text;
  } catch {
    // Words that begin with a quotation.
    return text;
  }
}

/** Without all that stands in such tags. A tag that is not closed goes to the end, one that was not opened began before the text. */
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

/** The words of an answer without a schema; blank when there is nothing but reasoning. */
export function wordsOf(text: string): string {
  if (!OPENED.test(text)) return text;
  const close = new RegExp(`${reasoningTag("/")}\\s*`, "i").exec(text);
  return close === null ? "" : text.slice(close.index + close[0].length);
}

/** For a person and for the next try; it may quote the answer, and is stored too. */
export function invalid(message: string): ParsedAnswer {
  const short =
    message.length > MESSAGE_CHARACTERS_MAX ? `${message.slice(0, MESSAGE_CHARACTERS_MAX - 1)}…` : message;
  return { ok: false, message: storableText(short) };
}
