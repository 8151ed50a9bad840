import { cp, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { z } from "zod";
import { answerProblems as ownProblems, compileAnswer } from "../../src/model/answer/answer.js";
import { schemaProblems } from "../../src/providers/openai/schema.js";

/** As a config for OpenAI judges it. */
function answerProblems(schema: z.ZodType): readonly string[] {
  const own = ownProblems(schema);
  return own.length > 0 ? own : schemaProblems(compileAnswer(schema).schema?.schema ?? null);
}

const parse = (schema: z.ZodType, answer: unknown) =>
  compileAnswer(schema).parse(typeof answer === "string" ? answer : JSON.stringify(answer));

const strict = (fields: z.core.$ZodLooseShape) => {
  const schema = compileAnswer(z.object(fields)).schema?.schema as { properties: Record<string, unknown> };
  return schema.properties;
};

describe("the strict schema", () => {
  test("requires all fields, allows no other, and keeps the user's order", () => {
    const { schema } = compileAnswer(z.object({ reasoning: z.string(), b: z.int().optional(), a: z.boolean() }));
    expect(schema).toEqual({
      name: "answer",
      schema: {
        type: "object",
        properties: {
          reasoning: { type: "string" },
          b: { type: ["integer", "null"] },
          a: { type: "boolean" },
        },
        required: ["reasoning", "b", "a"],
        additionalProperties: false,
      },
    });
    expect(Object.keys((schema?.schema as { properties: object }).properties)).toEqual(["reasoning", "b", "a"]);
  });

  test.each<[string, z.ZodType, object]>([
    ["a description", z.string().describe("one word"), { type: "string", description: "one word" }],
    [
      "lengths, described instead of enforced",
      z.string().min(2).max(9).describe("one word"),
      {
        type: "string",
        description: "one word (at least 2 characters, at most 9 characters)",
      },
    ],
    ["a regular expression, described", z.string().regex(/^a+$/), { type: "string", description: "(matching /^a+$/)" }],
    ["a format that strict mode knows", z.email(), { type: "string", format: "email" }],
    ["a format that it does not know", z.url(), { type: "string", description: "(in the format uri)" }],
    ["bounds of a number", z.number().min(0).max(1), { type: "number", minimum: 0, maximum: 1 }],
    ["no bounds of a plain integer", z.int(), { type: "integer" }],
    ["a list with a length", z.array(z.string()).max(4), { type: "array", items: { type: "string" }, maxItems: 4 }],
    ["an enum", z.enum(["a", "b"]), { type: "string", enum: ["a", "b"] }],
    ["an optional enum", z.enum(["a"]).optional(), { type: ["string", "null"], enum: ["a", null] }],
    ["a literal", z.literal("a"), { type: "string", enum: ["a"] }],
    ["a default", z.string().default("x").describe("d"), { type: ["string", "null"], description: "d" }],
    ["a nullable with a default", z.string().nullable().default("x"), { type: ["string", "null"] }],
    ["a catch, which asks for a value", z.string().catch("x"), { type: "string" }],
    [
      "a nested object",
      z.object({ a: z.string().optional() }),
      {
        type: "object",
        properties: { a: { type: ["string", "null"] } },
        required: ["a"],
        additionalProperties: false,
      },
    ],
    ["a union", z.union([z.string(), z.number()]), { anyOf: [{ type: "string" }, { type: "number" }] }],
    [
      "an optional union",
      z.union([z.string(), z.number()]).optional(),
      {
        anyOf: [{ type: "string" }, { type: "number" }, { type: "null" }],
      },
    ],
    ["a schema with an id, inline", z.string().meta({ id: "word", title: "t", examples: ["a"] }), { type: "string" }],
  ])("has %s", (_, field, expected) => {
    expect(strict({ field })["field"]).toEqual(expected);
  });

  test("says of each branch of a discriminated union what it must hold", () => {
    const field = z.discriminatedUnion("kind", [
      z.object({ kind: z.literal("film"), minutes: z.int() }),
      z.object({ kind: z.literal("series"), seasons: z.int().optional() }),
    ]);
    const branches = (strict({ field })["field"] as { anyOf: { required: string[] }[] }).anyOf;
    expect(branches.map(({ required }) => required)).toEqual([
      ["kind", "minutes"],
      ["kind", "seasons"],
    ]);
  });
});

describe("the columns", () => {
  test("have the type, null and check of their field", () => {
    const schema = z.object({
      words: z.string().max(9),
      count: z.int(),
      rating: z.number(),
      good: z.boolean(),
      genres: z.array(z.string()).describe("x"),
      moods: z.array(z.enum(["a"])).optional(),
      kind: z.enum(["film", "series"]).nullish(),
      one: z.literal("x"),
      either: z.union([z.literal("a"), z.literal("b")]),
      mixed: z.union([z.string(), z.number()]),
      year: z.literal([1999, 2001]),
      cast: z.array(z.object({ name: z.string() })),
      numbers: z.array(z.number()),
      author: z.object({ name: z.string() }).nullable(),
      filled: z.string().default("x"),
      maybe: z.string().nullable().default("x"),
      at: z.iso.datetime(),
    });
    expect(
      compileAnswer(schema).columns.map(({ field, type, nullable, check }) => [field, type, nullable, check]),
    ).toEqual([
      ["words", "text", false, null],
      ["count", "bigint", false, null],
      ["rating", "double precision", false, null],
      ["good", "boolean", false, null],
      ["genres", "text[]", false, null],
      ["moods", "text[]", true, null],
      ["kind", "text", true, ["film", "series"]],
      ["one", "text", false, ["x"]],
      ["either", "text", false, ["a", "b"]],
      ["mixed", "jsonb", false, null],
      ["year", "bigint", false, null],
      ["cast", "jsonb", false, null],
      ["numbers", "jsonb", false, null],
      ["author", "jsonb", true, null],
      ["filled", "text", false, null],
      ["maybe", "text", true, null],
      ["at", "text", false, null],
    ]);
  });

  test("without a schema are one, answer", () => {
    const { schema, columns, parse: read } = compileAnswer(null);
    expect(schema).toBeNull();
    expect(columns).toEqual([{ field: "answer", type: "text", nullable: false, check: null }]);
    expect(read(" any {words} ")).toEqual({
      ok: true,
      value: " any {words} ",
      cells: { answer: " any {words} " },
    });
    expect(read("a\u0000b")).toMatchObject({ ok: false, message: expect.stringContaining("U+0000") });
    expect(read("a\ud800b")).toMatchObject({ ok: false, message: expect.stringContaining("surrogate") });
  });
});

describe("parsing an answer", () => {
  const film = z.object({
    title: z.string(),
    year: z.int().optional(),
    tags: z.array(z.string()).default([]),
  });

  test.each<[string, z.ZodType, unknown, unknown]>([
    [
      "takes a good answer",
      film,
      { title: "Heat", year: 1995, tags: ["a"] },
      { title: "Heat", year: 1995, tags: ["a"] },
    ],
    [
      "takes null for a missing optional field",
      film,
      { title: "Heat", year: null, tags: null },
      { title: "Heat", year: null, tags: [] },
    ],
    ["takes a missing optional field", film, { title: "Heat" }, { title: "Heat", year: null, tags: [] }],
    [
      "drops fields that were not asked for",
      film,
      { title: "Heat", __proto__x: 1, extra: 2 },
      { title: "Heat", year: null, tags: [] },
    ],
    [
      "takes white space and a byte order mark",
      film,
      '\ufeff \n{"title":"Heat"}\n',
      { title: "Heat", year: null, tags: [] },
    ],
    [
      "takes a fence around everything",
      film,
      '```json\n{"title":"Heat"}\n```',
      { title: "Heat", year: null, tags: [] },
    ],
    ["takes a fence without a language", film, '```\n{"title":"Heat"}```', { title: "Heat", year: null, tags: [] }],
    [
      "keeps a null that the field takes itself",
      z.object({ a: z.string().nullable().default("x") }),
      { a: null },
      { a: null },
    ],
    ["fills a default only for what is missing", z.object({ a: z.string().nullable().default("x") }), {}, { a: "x" }],
    [
      "drops nulls deep inside",
      z.object({ cast: z.array(z.object({ name: z.string(), role: z.string().optional() })) }),
      { cast: [{ name: "n", role: null }] },
      { cast: [{ name: "n" }] },
    ],
    [
      "drops nulls in the branch that fits",
      z.object({
        x: z.union([
          z.object({ k: z.literal("a"), v: z.string().nullable() }),
          z.object({ k: z.literal("b"), v: z.string().optional() }),
        ]),
      }),
      { x: { k: "b", v: null } },
      { x: { k: "b" } },
    ],
    [
      "keeps nulls in the branch that fits",
      z.object({
        x: z.union([
          z.object({ k: z.literal("a"), v: z.string().nullable() }),
          z.object({ k: z.literal("b"), v: z.string().optional() }),
        ]),
      }),
      { x: { k: "a", v: null } },
      { x: { k: "a", v: null } },
    ],
    ["keeps the largest exact integer", z.object({ n: z.int() }), '{"n": 9007199254740991}', { n: 9007199254740991 }],
    ["keeps emoji and U+2028", z.object({ s: z.string() }), { s: "😀\u2028" }, { s: "😀\u2028" }],
    ["takes a caught value", z.object({ s: z.enum(["a", "b"]).catch("b") }), { s: "zzz" }, { s: "b" }],
  ])("%s", (_, schema, answer, cells) => {
    expect(parse(schema, answer)).toMatchObject({ ok: true, cells });
  });

  test.each<[string, z.ZodType, unknown, string]>([
    ["an empty text", film, "", "blank"],
    ["half an object", film, '{"title": "He', "not JSON"],
    ["a list", film, [], "expected object"],
    ["null", film, "null", "expected object"],
    ["a missing field", film, {}, "title: "],
    ["null for a required field", film, { title: null }, "title: "],
    ["a wrong type deep inside", film, { title: "x", tags: ["a", 1] }, "tags.1: "],
    ["an integer beyond 2^53", z.object({ n: z.int() }), '{"n": 9007199254740993}', "n: "],
    ["a fraction for an integer", z.object({ n: z.int() }), { n: 1.5 }, "n: "],
    ["a number that no double holds", z.object({ n: z.number() }), '{"n": 1e999}', "n: "],
    ["NaN", z.object({ n: z.number() }), '{"n": NaN}', "not JSON"],
    ["a word outside the enum", z.object({ k: z.enum(["a"]) }), { k: "b" }, "k: "],
    ["a text that is too long", z.object({ s: z.string().max(2) }), { s: "abc" }, "s: "],
    [
      "U+0000",
      z.object({ a: z.object({ b: z.array(z.string()) }) }),
      '{"a":{"b":["x","\\u0000"]}}',
      "a.b[1]: holds the character U+0000",
    ],
    ["half a surrogate pair", z.object({ s: z.string() }), '{"s":"\\ud83d"}', "s: holds half of a surrogate pair"],
    [
      "an answer that the user's own check throws on",
      z.object({
        s: z.string().refine(() => {
          throw new Error("boom");
        }),
      }),
      { s: "x" },
      "boom",
    ],
    [
      "an answer under a check that is async",
      z.object({ s: z.string().refine(async () => true) }),
      { s: "x" },
      "own check failed",
    ],
    ["a null that comes out of a catch", z.object({ s: z.string().catch(undefined as never) }), { s: 1 }, "s: missing"],
  ])("refuses %s", (_, schema, answer, message) => {
    expect(parse(schema, answer)).toEqual({ ok: false, message: expect.stringContaining(message) });
  });

  test("keeps its message short and storable", () => {
    const schema = z.strictObject({ a: z.string() });
    const answer = Object.fromEntries(Array.from({ length: 500 }, (_, i) => [`k${i}\u0000`, i]));
    const parsed = parse(schema, answer);
    expect(parsed.ok).toBe(false);
    const message = parsed.ok ? "" : parsed.message;
    expect(message.length).toBeLessThanOrEqual(1_000);
    expect(message).not.toContain("\u0000");
  });

  test("gives validate the value as zod made it", () => {
    expect(parse(film, { title: "x", year: null })).toMatchObject({
      ok: true,
      value: { title: "x", tags: [] },
    });
  });

  test("takes no answer that would fill the memory", () => {
    const schema = z.object({ title: z.string(), list: z.array(z.int()) });
    const full = `{"title":"[[[","list":[${"1,".repeat(250_000)}1]}`;
    expect(parse(schema, full)).toEqual({ ok: false, message: "the answer holds more than 250000 values" });
    const title = "[,{".repeat(100_000);
    expect(parse(schema, { title, list: [1] })).toMatchObject({ ok: true, value: { title } });
  });

  test("an answer cannot reach prototypes", () => {
    const parsed = parse(z.object({ a: z.object({ b: z.string().optional() }) }), '{"a":{"__proto__":{"b":"x"}}}');
    expect(parsed).toMatchObject({ ok: true, cells: { a: {} } });
    expect(({} as { b?: string }).b).toBeUndefined();
  });
});

describe("problems of a schema", () => {
  const self: z.ZodType = z.object({
    name: z.string(),
    get children() {
      return z.array(self);
    },
  });
  const deep = (levels: number): z.ZodType => (levels === 0 ? z.string() : z.object({ a: deep(levels - 1) }));
  const endless = (): z.ZodType => z.lazy(() => z.array(endless()));

  test.each<[string, z.ZodType, string]>([
    ["a string at the top", z.string(), "at the top level"],
    [
      "a union at the top",
      z.union([z.object({ a: z.string() }), z.object({ b: z.string() })]),
      '"union" at the top level',
    ],
    ["an optional top", z.object({ a: z.string() }).optional(), '"optional" at the top level'],
    ["a transformed top", z.object({ a: z.string() }).transform(() => 1), '"pipe" at the top level'],
    ["no fields", z.object({}), "no fields"],
    ["a date", z.object({ born: z.date() }), '"born" is a date'],
    ["a date deep inside", z.object({ a: z.array(z.object({ b: z.date().optional() })) }), '"a[].b" is a date'],
    ["a transform", z.object({ n: z.string().transform(Number) }), '"n" is a transform'],
    ["a preprocess", z.object({ n: z.preprocess(String, z.string()) }), '"n" is a transform'],
    ["a codec", z.object({ n: z.stringbool() }), '"n" is a transform'],
    ["a function", z.object({ f: z.custom<() => void>() }), '"f" is a custom type'],
    ["a record", z.object({ r: z.record(z.string(), z.string()) }), '"r" is a record'],
    ["a loose object", z.object({ o: z.looseObject({ a: z.string() }) }), '"o" allows fields that are not named'],
    ["a catch-all", z.object({ a: z.string() }).catchall(z.string()), "the answer allows fields"],
    ["recursion", self, '"children[]" contains itself'],
    ["endless lazies", z.object({ a: endless() }), "contains itself"],
    ["arbitrary JSON", z.object({ j: z.json() }), '"j'],
    ["too many levels", deep(11), "11 levels deep"],
    ["any", z.object({ a: z.any() }), '"a" is anything'],
    ["a tuple", z.object({ t: z.tuple([z.string()]) }), '"t" is a tuple'],
    ["a map", z.object({ m: z.map(z.string(), z.string()) }), '"m" is a map'],
    ["a bigint", z.object({ b: z.bigint() }), '"b" is a bigint'],
    ["a bigint literal", z.object({ b: z.literal(5n) }), '"b" is the literal 5'],
    [
      "an intersection",
      z.object({ i: z.intersection(z.object({ a: z.string() }), z.object({ b: z.string() })) }),
      '"i" is an intersection',
    ],
    [
      "undefined in a union",
      z.object({ u: z.union([z.string(), z.undefined()]) }),
      '"u" is of zod\'s type "undefined"',
    ],
    ["optional entries", z.object({ l: z.array(z.string().optional()) }), '"l" is a list with optional entries'],
    ["an empty enum", z.object({ e: z.enum([]) }), "cannot be written"],
    ["an empty name", z.object({ "": z.string() }), "cannot be stored"],
    [
      "too many enum values",
      z.object({ e: z.enum(Array.from({ length: 1001 }, (_, i) => `v${i}`)) }),
      "1001 enum values",
    ],
    [
      "too many fields",
      z.object(Object.fromEntries(Array.from({ length: 5001 }, (_, i) => [`f${i}`, z.int()]))),
      "5001 fields",
    ],
    ["an enum value with a double quote", z.object({ e: z.enum(["a", 'the "b"']) }), '"e" has the value "the'],
    ["a literal with a line break", z.object({ l: z.array(z.literal("a\nb")) }), '"l[]" has the value "a\\nb"'],
    ["a carriage return in a union", z.object({ u: z.union([z.literal("a\r"), z.int()]) }), '"u" has the value'],
    ["equal values", z.object({ e: z.literal(["a", "b", "a"]) }), '"e" has the value "a" twice'],
    ["equal numbers", z.object({ o: z.object({ e: z.literal([1, 2, 1]) }) }), '"o.e" has the value 1 twice'],
    [
      "over 250 values of over 15,000 characters",
      z.object({ e: z.enum(Array.from({ length: 251 }, (_, i) => `${i}`.padEnd(60, "x"))).nullable() }),
      '"e" has 251 values with 15060 characters in total',
    ],
    [
      "branches that begin alike",
      z.object({
        u: z.union([z.object({ name: z.string(), a: z.int() }), z.object({ name: z.string(), b: z.int() })]),
      }),
      '"u" is a union of objects that all begin with the field "name"',
    ],
    [
      "branches that begin alike, of a list, nullable, with one value in common",
      z.object({
        l: z.array(
          z
            .union([
              z.object({ kind: z.enum(["a", "b"]), a: z.int() }),
              z.object({ kind: z.enum(["b", "c"]), b: z.int() }),
              z.string(),
            ])
            .nullable(),
        ),
      }),
      '"l[]" is a union of objects that all begin with the field "kind"',
    ],
    ["something else than zod 4", { _def: { typeName: "ZodObject" } } as never, "not a zod 4 schema"],
  ])("names %s", (_, schema, message) => {
    expect(answerProblems(schema).join("\n")).toContain(message);
  });

  test("names all of them at once", () => {
    const problems = answerProblems(z.object({ a: z.date(), b: z.object({ c: z.map(z.string(), z.string()) }) }));
    expect(problems.map((problem) => problem.split(" ")[0])).toEqual(['"a"', '"b.c"']);
  });

  test.each<[string, z.ZodType]>([
    ["ten levels", deep(10)],
    ["a strict object", z.strictObject({ a: z.string() })],
    ["a read-only one", z.object({ a: z.string() }).readonly()],
    ["checks of its own", z.object({ a: z.string() }).refine(() => true)],
    ["trims and cases", z.object({ a: z.string().trim().toLowerCase() })],
    ["one schema used twice", z.object({ a: deep(2), b: deep(2) })],
    ["a lazy that ends", z.object({ a: z.lazy(() => z.string()) })],
  ])("finds none in a schema with %s", (_, schema) => {
    expect(answerProblems(schema)).toEqual([]);
    expect(compileAnswer(schema).columns.length).toBeGreaterThan(0);
  });
});

describe("a schema made with the user's own copy of zod", () => {
  let folder: string;
  let theirs: typeof z;

  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), "rowmill-zod-"));
    const ours = dirname(fileURLToPath(import.meta.resolve("zod/package.json")));
    await cp(ours, join(folder, "node_modules/zod"), { recursive: true });
    const entry = pathToFileURL(join(folder, "node_modules/zod/index.js")).href;
    theirs = ((await import(/* @vite-ignore */ entry)) as { z: typeof z }).z;
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  test("is another zod than ours", () => {
    expect(theirs.object).not.toBe(z.object);
  });

  test("works in all parts", () => {
    const schema = theirs.object({ a: theirs.string().describe("word"), b: theirs.enum(["x"]).optional() });
    expect(answerProblems(schema)).toEqual([]);
    const compiled = compileAnswer(schema);
    expect(compiled.schema?.schema).toMatchObject({
      properties: { a: { type: "string", description: "word" } },
    });
    expect(compiled.columns.map(({ check }) => check)).toEqual([null, ["x"]]);
    expect(compiled.parse('{"a":"w","b":null}')).toMatchObject({ ok: true, cells: { a: "w", b: null } });
    expect(compiled.parse('{"a":1}')).toMatchObject({ ok: false });
    expect(answerProblems(theirs.object({ d: theirs.date() }))).toHaveLength(1);
  });
});
