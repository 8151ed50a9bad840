/**
 * What the fuzz tests share: how many cases each of them makes, the seed of the run, and text that breaks careless
 * code. A failure prints its own seed and path; ROWMILL_FUZZ_SEED=<seed> makes all cases of a run again.
 */
import { randomInt } from "node:crypto";
import fc from "fast-check";
import { textProblem } from "../../src/model/words/storable-text.js";

/** Cases by kind. Each test makes as many as stand here, and prints it. */
export const fuzzCases = {
  configPlaces: 1_000,
  configValues: 1_000,
  configTexts: 800,
  answerSchemas: 700,
  templates: 1_500,
  messages: 1_500,
  customIds: 1_000,
  providerLines: 2_500,
  providerObjects: 1_500,
  providerFiles: 500,
  rows: 2_000,
} as const;

/** fast-check's seeds are whole numbers of 32 bits. */
export const fuzzSeed = Number(process.env["ROWMILL_FUZZ_SEED"] ?? randomInt(2 ** 31));

/** Settings for `fc.assert`; says on the way what runs, so that a report can name it. */
export function fuzz(kind: keyof typeof fuzzCases): { numRuns: number; seed: number } {
  const all = Object.values(fuzzCases).reduce((sum, count) => sum + count, 0);
  process.stdout.write(`fuzz: ${kind}: ${fuzzCases[kind]} of ${all} cases, ROWMILL_FUZZ_SEED=${fuzzSeed}\n`);
  return { numRuns: fuzzCases[kind], seed: fuzzSeed };
}

export const oddTexts = [
  "\u0000",
  "a\u0000b",
  "\ud800",
  "\udc00 half",
  "\u2028",
  "\u2029\u0085",
  "\ufeff",
  "{{",
  "{{ body }}",
  "{% raw %}",
  "'; drop table notes; --",
  '"',
  "\\u0000",
  "\\",
  "a\r\nb",
  "😀",
  "__proto__",
  "constructor",
  "null",
  "NaN",
  "",
  " ",
  "x".repeat(5_000),
] as const;

/** Any text, the odd ones often. */
export const oddText = fc.oneof(
  fc.constantFrom(...oddTexts),
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.string({ unit: "grapheme", maxLength: 30 }),
  fc.array(fc.constantFrom(...oddTexts), { maxLength: 4 }).map((texts) => texts.join("")),
);

const oddNumber = fc.constantFrom(0, -1, 1, 0.5, 2 ** 31, 2 ** 53, -(2 ** 53), 1e308, 200, 429, 500);

/** What JSON can say, odd places included. */
export const oddJson: fc.Arbitrary<unknown> = fc.oneof(
  oddText,
  oddNumber,
  fc.constantFrom(null, true, false, [], {}),
  fc.jsonValue({ maxDepth: 3 }),
  fc.dictionary(oddText, oddText, { maxKeys: 3 }),
  fc.integer({ min: 100, max: 3_000 }).map(deep),
);

/** Lists in lists: a recursive walk overflows the stack. */
function deep(levels: number): unknown {
  let value: unknown = [];
  for (let level = 1; level < levels; level++) value = [value];
  return value;
}

type Key = string | number;

/** Every place inside of a plain value, the whole included. */
export function placesIn(value: unknown, above: readonly Key[] = []): (readonly Key[])[] {
  if (typeof value !== "object" || value === null) return [above];
  const inside = Object.entries(value).flatMap(([key, entry]) =>
    placesIn(entry, [...above, Array.isArray(value) ? Number(key) : key]),
  );
  return [above, ...inside];
}

/** A copy of a plain value with something else at one place. */
export function changed(value: unknown, place: readonly Key[], to: unknown): unknown {
  const [key, ...below] = place;
  if (key === undefined) return to;
  if (Array.isArray(value)) {
    return value.map((entry: unknown, index) => (index === key ? changed(entry, below, to) : entry));
  }
  const entries = Object.entries(value ?? {}).map(([name, entry]): [string, unknown] => [
    name,
    name === key ? changed(entry, below, to) : entry,
  ]);
  return Object.fromEntries(entries);
}

/** The value with some of its places changed to odd JSON. */
export function mutated(value: unknown): fc.Arbitrary<unknown> {
  const places = placesIn(value);
  const change = fc.record({ place: fc.constantFrom(...places), to: oddJson });
  return fc
    .array(change, { minLength: 1, maxLength: 3 })
    .map((changes) => changes.reduce<unknown>((now, { place, to }) => changed(now, place, to), value));
}

/** A text with some of its characters gone, doubled or replaced; or cut off. */
export function torn(text: string): fc.Arbitrary<string> {
  const tear = fc.record({
    at: fc.nat(text.length),
    length: fc.nat(8),
    by: fc.oneof(oddText, fc.constantFrom("{", "}", "[", "]", ",", ":", '"', "\n")),
  });
  return fc
    .array(tear, { minLength: 1, maxLength: 3 })
    .map((tears) => tears.reduce((now, { at, length, by }) => now.slice(0, at) + by + now.slice(at + length), text));
}

/** Where text stands in a plain value that PostgreSQL cannot store; empty: nowhere. */
export function unstorable(value: unknown): string[] {
  const found: string[] = [];
  const open: unknown[] = [value];
  for (let next = open.pop(); open.length > 0 || next !== undefined; next = open.pop()) {
    if (typeof next === "string" && textProblem(next) !== null) found.push(JSON.stringify(next));
    if (typeof next === "object" && next !== null) open.push(...Object.entries(next).flat());
  }
  return found;
}

/** The promises that failed unhandled while `step` ran. */
export async function unhandledDuring(step: () => void | Promise<void>): Promise<unknown[]> {
  const seen: unknown[] = [];
  const note = (reason: unknown) => void seen.push(reason);
  process.on("unhandledRejection", note);
  try {
    await step();
    // Node reports them after the microtasks of this turn.
    await new Promise((resolve) => setImmediate(resolve));
  } finally {
    process.off("unhandledRejection", note);
  }
  return seen;
}
