/** What differs between two versions of a pipeline's config, in words, as far as it shapes an answer. Pure. */
import { canonicalJson } from "../../model/json/canonical-json.js";
import type { Json } from "../../model/pipeline.js";
import type { KeptDefinition } from "../../store/pipelines/definitions.js";

const QUOTED_CHARACTERS_MAX = 60;
/** Of the words before and after what changed in a text. */
const AROUND_WORDS = 2;
/** Of the characters before it, where these words are long, as in scripts without spaces. */
const AROUND_CHARACTERS = 10;
/** Of a list, such as the choices of an enum. */
const VALUES_NAMED_MAX = 10;

/**
 * One text for each change, such as `categories: also "war"`. Never empty: a change in a function, of which the ledger
 * keeps no text, is said as such.
 */
export function versionChanges(before: KeptDefinition, after: KeptDefinition): string[] {
  const [a, b] = [asRecord(before.says), asRecord(after.says)];
  const sourceOf = (says: Record) => asRecord(says["source"]);
  const changes = [
    ...valueChange("provider", a["provider"], b["provider"]),
    ...valueChange("endpoint", a["endpoint"], b["endpoint"]),
    ...valueChange("model", a["model"], b["model"]),
    ...memberChanges(asRecord(a["parameters"]), asRecord(b["parameters"])),
    ...valueChange("maxOutputTokens", a["maxOutputTokens"], b["maxOutputTokens"]),
    ...messageChange("system", a["system"], b["system"]),
    ...messageChange("prompt", a["user"], b["user"]),
    ...answerChanges(a["answer"] ?? null, b["answer"] ?? null),
    ...orderChange(before, after),
    ...valueChange("table", sourceOf(a)["table"], sourceOf(b)["table"]),
    ...listChange("key", sourceOf(a)["key"], sourceOf(b)["key"]),
    ...listChange("columns", sourceOf(a)["columns"], sourceOf(b)["columns"]),
  ];
  return changes.length > 0 ? changes : ["a function of the prompt changed"];
}

type Record = Readonly<{ [name: string]: Json | undefined }>;

function asRecord(value: Json | undefined): Record {
  return typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Record) : {};
}

function asList(value: Json | undefined): readonly Json[] {
  return Array.isArray(value) ? value : [];
}

function isSame(a: Json | undefined, b: Json | undefined): boolean {
  return canonicalJson(a ?? null) === canonicalJson(b ?? null);
}

function valueChange(name: string, a: Json | undefined, b: Json | undefined): string[] {
  return isSame(a, b) ? [] : [`${name}: ${shown(a)} → ${shown(b)}`];
}

function memberChanges(a: Record, b: Record): string[] {
  return [...new Set([...Object.keys(a), ...Object.keys(b)])].flatMap((name) => valueChange(name, a[name], b[name]));
}

function shown(value: Json | undefined): string {
  if (value === undefined || value === null) return "none";
  return cut(typeof value === "string" ? value : JSON.stringify(value));
}

function cut(text: string): string {
  return text.length <= QUOTED_CHARACTERS_MAX ? text : `${text.slice(0, QUOTED_CHARACTERS_MAX - 1)}…`;
}

/** Null: there is none, or a function makes it. */
function messageChange(name: string, a: Json | undefined, b: Json | undefined): string[] {
  if (isSame(a, b)) return [];
  if (typeof a !== "string") return [`${name}: a new text, ${quoted(shown(b))}`];
  if (typeof b !== "string") return [`${name}: no text any more, or a function makes it`];
  const [before, after] = differingParts(a, b);
  if (before === after) return [`${name}: the same words with other spaces or line breaks`];
  const [was, is] = cut(before) === cut(after) ? fromDifference(before, after) : [before, after];
  return [`${name}: ${quoted(was)} → ${quoted(is)}`];
}

function quoted(text: string): string {
  return JSON.stringify(cut(text));
}

/** What lies between the words with which both begin and end, and a few of those around it. */
function differingParts(before: string, after: string): readonly [string, string] {
  const [a, b] = [wordsOf(before), wordsOf(after)];
  const shorter = Math.min(a.length, b.length);
  let start = 0;
  while (start < shorter && a[start] === b[start]) start++;
  let end = 0;
  while (end < shorter - start && a[a.length - 1 - end] === b[b.length - 1 - end]) end++;
  const from = Math.max(0, start - AROUND_WORDS);
  const part = (words: readonly string[]) => {
    const to = Math.min(words.length, words.length - end + AROUND_WORDS);
    return `${from > 0 ? "… " : ""}${words.slice(from, to).join(" ")}${to < words.length ? " …" : ""}`;
  };
  return [part(a), part(b)];
}

function fromDifference(before: string, after: string): readonly [string, string] {
  const [a, b] = [[...before], [...after]];
  const from = a.findIndex((character, at) => character !== b[at]);
  const start = Math.max(0, (from < 0 ? a.length : from) - AROUND_CHARACTERS);
  const part = (characters: readonly string[]) => `…${characters.slice(start).join("")}`;
  return [part(a), part(b)];
}

/** A tag of a template is one word. */
function wordsOf(text: string): readonly string[] {
  return text.match(/\{\{.*?\}\}|\S+/gs) ?? [];
}

function listChange(name: string, a: Json | undefined, b: Json | undefined): string[] {
  if (isSame(a, b)) return [];
  const words = alsoAndWithout(asList(a), asList(b), shown);
  return [`${name}: ${words === "" ? "another order" : words}`];
}

/** Empty: the same values. */
function alsoAndWithout(a: readonly Json[], b: readonly Json[], text: (value: Json) => string): string {
  const [before, after] = [new Set(a.map(canonicalJson)), new Set(b.map(canonicalJson))];
  const added = b.filter((value) => !before.has(canonicalJson(value)));
  const removed = a.filter((value) => !after.has(canonicalJson(value)));
  const named = (values: readonly Json[]) => {
    const more = values.length - VALUES_NAMED_MAX;
    const shown = values.slice(0, VALUES_NAMED_MAX).map((value) => cut(text(value)));
    return `${shown.join(", ")}${more > 0 ? ` and ${more} more` : ""}`;
  };
  return [
    ...(added.length === 0 ? [] : [`also ${named(added)}`]),
    ...(removed.length === 0 ? [] : [`no longer ${named(removed)}`]),
  ].join("; ");
}

/** Strict JSON schemas of an object; null: a plain text. */
function answerChanges(a: Json, b: Json): string[] {
  // A strict schema requires every field, in their order.
  if (isSame({ ...asRecord(a), required: null }, { ...asRecord(b), required: null })) return [];
  if (a === null) return ["answer: fields instead of a text"];
  if (b === null) return ["answer: a text instead of fields"];
  const [before, after] = [asRecord(asRecord(a)["properties"]), asRecord(asRecord(b)["properties"])];
  const names = [...new Set([...Object.keys(after), ...Object.keys(before)])];
  const changes = names.flatMap((name) => fieldChange(name, before[name], after[name]));
  return changes.length > 0 ? changes : ["answer: another schema"];
}

/** Of the same fields: it counts, because a model writes in it. */
function orderChange(before: KeptDefinition, after: KeptDefinition): string[] {
  const [a, b] = [before, after].map(({ answer }) => Object.keys(asRecord(asRecord(answer)["properties"])));
  const isOther = String(a) !== String(b) && String(a?.toSorted()) === String(b?.toSorted());
  return isOther ? [`answer: its fields in the order ${b?.join(", ")}`] : [];
}

function fieldChange(name: string, a: Json | undefined, b: Json | undefined): string[] {
  if (a === undefined) return [`answer: new field ${name}`];
  if (b === undefined) return [`answer: no longer ${name}`];
  if (isSame(a, b)) return [];
  const [before, after] = [choicesOf(a), choicesOf(b)];
  if (before !== null && after !== null && isSame(withoutChoices(a), withoutChoices(b))) {
    const words = alsoAndWithout(before, after, (value) => JSON.stringify(value));
    return [`${name}: ${words === "" ? "another order of its choices" : words}`];
  }
  const [was, is] = [typeText(a), typeText(b)];
  return [was === is ? `${name}: another schema` : `${name}: ${was} → ${is}`];
}

/** Of a field, or of the items of its list. */
function choicesOf(schema: Json): readonly Json[] | null {
  const { enum: choices, items } = asRecord(schema);
  if (choices !== undefined) return asList(choices);
  return items === undefined ? null : choicesOf(items);
}

function withoutChoices(schema: Json): Json {
  const { enum: _choices, items, ...rest } = asRecord(schema);
  return { ...(rest as { [name: string]: Json }), items: items === undefined ? null : withoutChoices(items) };
}

/** As TypeScript writes it: `string`, `string[]`, `object`, `string | null`, `"dark" | "light"`. */
function typeText(schema: Json): string {
  const { type, items, anyOf, enum: choices } = asRecord(schema);
  if (choices !== undefined) return cut(oneOf(asList(choices).map((value) => JSON.stringify(value))));
  if (anyOf !== undefined) return oneOf(asList(anyOf).map(typeText));
  if (type === "array") return `${items === undefined ? "" : bracketed(typeText(items))}[]`;
  return Array.isArray(type) ? oneOf(type.map(String)) : typeof type === "string" ? type : "any";
}

function oneOf(types: readonly string[]): string {
  return types.join(" | ");
}

function bracketed(type: string): string {
  return type.includes(" ") ? `(${type})` : type;
}
