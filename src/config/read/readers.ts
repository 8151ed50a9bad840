/**
 * Owns small readers of untrusted values. Each reads one place of the config, notes what is wrong, and always returns
 * a value of its type: after a mistake a placeholder, which no one uses, because a config with mistakes is refused.
 * Cross checks ask `Problems.clean` first.
 */
import { nearMatch } from "../../model/words/near-match.js";
import { formatDuration, parseDuration } from "../../model/duration.js";
import { thrownMessage } from "../../model/words/thrown-message.js";
import { childPath, describe, listWords, Problems } from "./problems.js";

export interface Place {
  readonly path: string;
  readonly value: unknown;
  readonly problems: Problems;
}

export type Reader<T> = (place: Place) => T;

/** Notes that the value at `place` is not what was expected. */
export function refuse(place: Place, expected: string, near: string | null = null): void {
  place.problems.add(place.path, expected, { found: describe(place.value), nearMatch: near });
}

export function isPlainObject(value: unknown): value is Readonly<Record<string, unknown>> {
  if (typeof value !== "object" || value === null) return false;
  const prototype: unknown = Object.getPrototypeOf(value);
  // A module's namespace has no prototype; an object of another realm has another Object.prototype.
  return prototype === null || Object.getPrototypeOf(prototype) === null;
}

/** The places of an object's keys. Unknown keys are refused; a value that is no object reads as an empty one. */
export function section<const Key extends string>(place: Place, keys: readonly Key[]): Readonly<Record<Key, Place>> {
  const opened = openObject(place, `an object with the keys ${keys.join(", ")}`);
  const object = opened ?? {};
  // What is missing inside a missing section is not a mistake of its own.
  const problems = opened === null ? new Problems() : place.problems;
  for (const key of Object.keys(object)) {
    if (keys.some((known) => known === key)) continue;
    const expected = `unknown key (known here: ${keys.join(", ")})`;
    place.problems.add(childPath(place.path, key), expected, { nearMatch: nearMatch(key, keys) });
  }
  return recordOf(
    keys.map((key): [Key, Place] => {
      const path = childPath(place.path, key);
      return [key, { path, value: valueAt({ path, value: object, problems }, key), problems }];
    }),
  );
}

/** The value under a key. A config is a program: a getter may throw, which is a mistake at `path`. */
function valueAt({ path, value, problems }: Place & { readonly value: object }, key: string): unknown {
  try {
    const found: unknown = Object.hasOwn(value, key) ? Reflect.get(value, key) : undefined;
    // The promise itself is the mistake; if it also rejects, Node would end the process with that instead.
    if (found instanceof Promise) found.catch(() => undefined);
    return found;
  } catch (error) {
    problems.add(path, `cannot be read: ${thrownMessage(error)}`);
    return undefined;
  }
}

function recordOf<Key extends string, T>(entries: readonly (readonly [Key, T])[]): Record<Key, T> {
  // Object.fromEntries forgets the names of the keys.
  return Object.fromEntries(entries) as Record<Key, T>;
}

/** The places of an object whose keys are the user's names. */
export function entries(place: Place, expected: string): readonly (Place & { readonly key: string })[] {
  const object = openObject(place, expected) ?? {};
  return Object.keys(object).map((key) => {
    const at = { path: childPath(place.path, key), problems: place.problems };
    return { ...at, value: valueAt({ ...at, value: object }, key), key };
  });
}

function openObject(place: Place, expected: string): Readonly<Record<string, unknown>> | null {
  try {
    if (isPlainObject(place.value)) {
      // A proxy may throw here.
      Object.keys(place.value);
      return place.value;
    }
  } catch (error) {
    place.problems.add(place.path, `cannot be read: ${thrownMessage(error)}`);
    return null;
  }
  refuse(place, expected);
  return null;
}

/** `fallback` where the key is absent, else what `read` makes of it. */
export function optional<T, F>(place: Place, read: Reader<T>, fallback: F): T | F {
  return place.value === undefined ? fallback : read(place);
}

/** A section that may be absent: then each of its keys is. */
export function orEmpty(place: Place): Place {
  return place.value === undefined ? { ...place, value: {} } : place;
}

/** Text that PostgreSQL and JSON can both carry: no NUL, no half of a surrogate pair. */
export function text(expected: string): Reader<string> {
  return (place) => {
    if (typeof place.value !== "string" || place.value === "") {
      refuse(place, expected);
      return "";
    }
    if (/\0|\p{Surrogate}/u.test(place.value))
      refuse(place, `${expected}, without NUL characters or broken surrogate pairs`);
    return place.value;
  };
}

export interface Range {
  readonly min: number;
  readonly max: number;
  /** True: `min` itself is not allowed. */
  readonly above?: boolean;
}

export function number(range: Range, unit = ""): Reader<number> {
  const lower = () => (range.above === true ? `above ${count(range.min)}` : `from ${count(range.min)}`);
  return within(range, () => `a number ${lower()} to ${count(range.max)}${unit}`, Number.isFinite);
}

export function integer(range: Range, unit = ""): Reader<number> {
  return within(
    range,
    () => `a whole number from ${count(range.min)} to ${count(range.max)}${unit}`,
    Number.isSafeInteger,
  );
}

/** `expected` is a function because the first number that Node formats costs 17 ms. */
function within(range: Range, expected: () => string, fits: (value: number) => boolean): Reader<number> {
  return (place) => {
    const value = place.value;
    const aboveMin = (n: number) => (range.above === true ? n > range.min : n >= range.min);
    if (typeof value === "number" && fits(value) && aboveMin(value) && value <= range.max) return value;
    refuse(place, expected());
    return range.max;
  };
}

function count(value: number): string {
  return value.toLocaleString("en-US");
}

export const boolean: Reader<boolean> = (place) => {
  if (typeof place.value === "boolean") return place.value;
  refuse(place, "true or false");
  return false;
};

export function oneOf<const Word extends string>(words: readonly [Word, ...Word[]]): Reader<Word> {
  return (place) => {
    const known = words.find((word) => word === place.value);
    if (known !== undefined) return known;
    const near = typeof place.value === "string" ? nearMatch(place.value, words) : null;
    refuse(place, listWords(words), near);
    return words[0];
  };
}

/** Milliseconds. */
export function duration(range: Range): Reader<number> {
  const expected = `a duration such as "200ms", "15s", "10m", "24h" or "7d", from ${JSON.stringify(
    formatDuration(range.min),
  )} to ${JSON.stringify(formatDuration(range.max))}`;
  return (place) => {
    const ms = typeof place.value === "string" ? parseDuration(place.value) : null;
    if (ms !== null && ms >= range.min && ms <= range.max) return ms;
    refuse(place, expected);
    return range.max;
  };
}

/** A table of PostgreSQL has at most 1,600 columns. */
const LIST_MAX = 2_000;

/** A non-empty list without repetitions; each element's place is `path[index]`. */
export function uniqueList(place: Place, read: Reader<string>, expected: string): readonly string[] {
  if (!Array.isArray(place.value) || place.value.length === 0) {
    refuse(place, expected);
    return [];
  }
  if (place.value.length > LIST_MAX) {
    place.problems.add(place.path, `${expected}, of at most ${LIST_MAX}`, {
      found: `a list of ${place.value.length}`,
    });
    return [];
  }
  const seen = new Set<string>();
  // By index, because a hole in a list is a mistake too.
  for (let index = 0; index < place.value.length; index++) {
    const at = { path: `${place.path}[${index}]`, problems: place.problems };
    const element = { ...at, value: valueAt({ ...at, value: place.value }, String(index)) };
    const name = read(element);
    if (seen.has(name) && place.problems.clean(element.path)) refuse(element, "each name only once");
    seen.add(name);
  }
  return [...seen];
}
