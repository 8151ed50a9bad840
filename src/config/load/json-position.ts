/**
 * Finds where a JSON text goes wrong. `JSON.parse` names no position for some mistakes, and quotes the text around
 * others, which in a config may be a password. Pure.
 */

const STRING = String.raw`"(?:[ !#-[\]-\uFFFF]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"`;
const NUMBER = String.raw`-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?(?![\w.])`;
const LITERAL = String.raw`${STRING}|${NUMBER}|(?:true|false|null)(?!\w)`;
const TOKEN_PATTERN = new RegExp(String.raw`[ \t\n\r]*(?:([{}[\]:,])|(${LITERAL}))`, "y");

interface Token {
  /** A mark, or `string` or `value` for literals, or `end`, or `other` for what is no JSON at all. */
  readonly kind: string;
  readonly index: number;
}

/** 1-based; `expected` in words. */
export interface JsonMistake {
  readonly line: number;
  readonly column: number;
  readonly expected: string;
}

/** The first mistake, or null when the text is JSON. Uses no recursion: deep nesting cannot exhaust the stack. */
export function findJsonMistake(text: string): JsonMistake | null {
  const open: ("{" | "[")[] = [];
  let state: State = "value";
  let position = 0;
  for (;;) {
    const token = nextToken(text, position);
    const step = advance(state, token.kind, open);
    if (step === "done") return null;
    if (!isState(step)) return { ...lineAndColumn(text, token.index), expected: step.expected };
    state = step;
    position = TOKEN_PATTERN.lastIndex;
  }
}

type State = "value" | "firstElement" | "firstKey" | "key" | "colon" | "afterValue";

function isState(step: State | { expected: string }): step is State {
  return typeof step === "string";
}

function nextToken(text: string, from: number): Token {
  TOKEN_PATTERN.lastIndex = from;
  const match = TOKEN_PATTERN.exec(text);
  if (match === null) {
    const index = from + (/^[ \t\n\r]*/.exec(text.slice(from))?.[0].length ?? 0);
    return { kind: index === text.length ? "end" : "other", index };
  }
  const literal = match[2];
  const kind = match[1] ?? (literal?.startsWith('"') === true ? "string" : "value");
  return { kind, index: TOKEN_PATTERN.lastIndex - (match[1] ?? literal ?? "").length };
}

function advance(state: State, kind: string, open: ("{" | "[")[]): State | "done" | { expected: string } {
  switch (state) {
    case "firstElement":
    case "value":
      if (kind === "{" || kind === "[") {
        open.push(kind);
        return kind === "{" ? "firstKey" : "firstElement";
      }
      if (kind === "string" || kind === "value") return "afterValue";
      return state === "firstElement" && kind === "]" ? close(open) : { expected: "a value" };
    case "firstKey":
    case "key":
      if (kind === "string") return "colon";
      return state === "firstKey" && kind === "}" ? close(open) : { expected: "a key in double quotes" };
    case "colon":
      return kind === ":" ? "value" : { expected: "a colon" };
    case "afterValue":
      return afterValue(kind, open);
  }
}

function afterValue(kind: string, open: ("{" | "[")[]): State | "done" | { expected: string } {
  const innermost = open.at(-1);
  if (innermost === undefined) return kind === "end" ? "done" : { expected: "the end of the file" };
  if (kind === ",") return innermost === "{" ? "key" : "value";
  const closing = innermost === "{" ? "}" : "]";
  return kind === closing ? close(open) : { expected: `a comma or ${closing}` };
}

function close(open: ("{" | "[")[]): State {
  open.pop();
  return "afterValue";
}

function lineAndColumn(text: string, index: number): { line: number; column: number } {
  const before = text.slice(0, index);
  return { line: before.split("\n").length, column: index - before.lastIndexOf("\n") };
}
