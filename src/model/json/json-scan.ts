/** Finds JSON inside other words. Pure, and linear for any text: nothing is read twice. */

/** The objects of a text that are not inside another object or list, in order; at most `max`. */
export function jsonObjectsIn(text: string, max: number): readonly string[] {
  const found: string[] = [];
  const opening = /[[{]/g;
  while (found.length < max) {
    const start = opening.exec(text)?.index;
    if (start === undefined) break;
    const end = endOfValue(text, start);
    if (end > 0 && text[start] === "{") found.push(text.slice(start, end));
    // Not inside what broke off: a part of a cut object is not the answer.
    opening.lastIndex = end > 0 ? end : Math.max(start + 1, -end);
  }
  return found;
}

export function isJsonObject(text: string, depthMax = Infinity): boolean {
  return text.startsWith("{") && endOfValue(text, 0, depthMax) === text.length;
}

/** The numbers of a valid JSON text as written, outside of its strings. */
export function* numbersIn(json: string): Generator<string> {
  for (let at = 0; at < json.length;) {
    const end = json[at] === '"' ? endOfString(json, at) : skip(SCALAR, json, at);
    if (/[-\d]/.test(json[at] ?? "")) yield json.slice(at, end);
    at = Math.max(at + 1, end);
  }
}

/** The end of the object or list at `start`; if it is not JSON, or too deep, minus the place where that shows. */
export function endOfValue(text: string, start: number, depthMax = Infinity): number {
  const closers: string[] = [];
  let expected: "value" | "key" | "comma" = "value";
  let isFresh = false;
  for (let at = start; at < text.length;) {
    at = skipSpace(text, at);
    const character = text[at] ?? "";
    if (character === closers.at(-1) && (expected === "comma" || isFresh)) {
      closers.pop();
      at += 1;
      if (closers.length === 0) return at;
      [expected, isFresh] = ["comma", false];
    } else if (expected === "comma") {
      if (character !== ",") return -at;
      at += 1;
      expected = closers.at(-1) === "}" ? "key" : "value";
    } else if (expected === "value" && (character === "{" || character === "[")) {
      if (closers.length >= depthMax) return -at;
      closers.push(character === "{" ? "}" : "]");
      at += 1;
      [expected, isFresh] = [character === "{" ? "key" : "value", true];
    } else {
      const end = expected === "key" ? endOfKey(text, at) : endOfScalar(text, at);
      if (end < 0) return end;
      at = end;
      [expected, isFresh] = [expected === "key" ? "value" : "comma", false];
    }
  }
  return -text.length;
}

export const SCALAR = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y;
const ESCAPE = /\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})/y;

export function skipSpace(text: string, from: number): number {
  let at = from;
  for (; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code !== 0x20 && code !== 0x0a && code !== 0x0d && code !== 0x09) break;
  }
  return at;
}

/** The end of the match at this place, or the place itself. */
export function skip(pattern: RegExp, text: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(text) ? pattern.lastIndex : at;
}

function endOfKey(text: string, at: number): number {
  if (text[at] !== '"') return -at;
  const end = endOfString(text, at);
  if (end < 0) return end;
  const colon = skipSpace(text, end);
  return text[colon] === ":" ? colon + 1 : -colon;
}

function endOfScalar(text: string, at: number): number {
  if (text[at] === '"') return endOfString(text, at);
  const end = skip(SCALAR, text, at);
  return end > at ? end : -at;
}

/** Negative if it is not a string. A loop, because a regular expression would remember each character. */
export function endOfString(text: string, opened: number): number {
  for (let at = opened + 1; at < text.length; at++) {
    const code = text.charCodeAt(at);
    if (code === 0x22) return at + 1;
    if (code < 0x20) return -at;
    if (code !== 0x5c) continue;
    const end = skip(ESCAPE, text, at);
    if (end === at) return -at;
    at = end - 1;
  }
  return -text.length;
}
