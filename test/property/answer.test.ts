import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { answerProblems, compileAnswer, compileStored } from "../../src/model/answer/answer.js";
import { FREE_JSON } from "../../src/model/json/free-json.js";
import type { Json } from "../../src/model/pipeline.js";

type Strict = {
  type?: string | string[];
  enum?: Json[];
  anyOf?: Strict[];
  items?: Strict;
  properties?: Record<string, Strict>;
  required?: string[];
  additionalProperties?: boolean;
};

const name = fc.stringMatching(/^[a-z][a-z0-9_]{0,6}$/);
const words = fc.uniqueArray(name, { minLength: 1, maxLength: 4 });

const { field } = fc.letrec<{ field: z.ZodType; object: z.ZodType }>((tie) => ({
  field: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom<z.ZodType>(z.string(), z.int(), z.number(), z.boolean(), z.string().max(5), z.int().min(3)),
    words.map((values) => z.enum(values)),
    fc.oneof(name, fc.integer(), fc.boolean()).map((value) => z.literal(value)),
    tie("field").map((inner) => z.array(inner)),
    tie("field").map((inner) => inner.nullable()),
    tie("object"),
    fc.tuple(tie("field"), tie("field")).map((options) => z.union(options)),
  ),
  object: fc
    .dictionary(name, fc.tuple(tie("field"), fc.boolean()), { minKeys: 1, maxKeys: 4, depthIdentifier: "o" })
    .map((fields) =>
      z.object(
        Object.fromEntries(
          Object.entries(fields).map(([key, [inner, optional]]) => [key, optional ? inner.optional() : inner]),
        ),
      ),
    ),
}));

const schema = fc
  .dictionary(name, fc.tuple(field, fc.boolean()), { minKeys: 1, maxKeys: 5 })
  .map((fields) =>
    z.object(
      Object.fromEntries(
        Object.entries(fields).map(([key, [inner, optional]]) => [key, optional ? inner.optional() : inner]),
      ),
    ),
  )
  .filter((candidate) => answerProblems(candidate).length === 0);

/** Every object closed and complete, and no word that strict mode does not know. */
function expectStrict(node: Strict): void {
  const known =
    "type description enum anyOf items properties required additionalProperties minItems maxItems minimum maximum exclusiveMinimum exclusiveMaximum multipleOf format";
  for (const keyword of Object.keys(node)) expect(known.split(" ")).toContain(keyword);
  if (node.properties !== undefined) {
    expect(node.additionalProperties).toBe(false);
    expect(node.required).toEqual(Object.keys(node.properties));
  }
  for (const child of [
    ...Object.values(node.properties ?? {}),
    ...(node.anyOf ?? []),
    ...(node.items ? [node.items] : []),
  ]) {
    expectStrict(child);
  }
}

/** What a model in strict mode may write; numbers and texts that fit the bounds used above. */
function answerTo(node: Strict): fc.Arbitrary<Json> {
  if (node.enum !== undefined) return fc.constantFrom(...node.enum);
  if (node.anyOf !== undefined) return fc.oneof(...node.anyOf.map(answerTo));
  const types = Array.isArray(node.type) ? node.type : [node.type ?? "null"];
  return fc.oneof(...types.map((type) => answerOfType(type, node)));
}

function answerOfType(type: string, node: Strict): fc.Arbitrary<Json> {
  switch (type) {
    case "string":
      return fc.string({ maxLength: 5 }).filter((text) => !text.includes("\u0000"));
    case "integer":
      return fc.integer({ min: 3 });
    case "number":
      return fc.double({ noNaN: true, noDefaultInfinity: true });
    case "boolean":
      return fc.boolean();
    case "array":
      return fc.array(answerTo(node.items ?? {}), { maxLength: 3 });
    case "object":
      return fc.record(
        Object.fromEntries(Object.entries(node.properties ?? {}).map(([key, child]) => [key, answerTo(child)])),
      );
    default:
      return fc.constant(null);
  }
}

test("every schema without problems becomes a strict one", () => {
  fc.assert(
    fc.property(schema, (candidate) => {
      expectStrict(compileAnswer(candidate).schema?.schema as Strict);
    }),
  );
});

test("every answer that the strict schema allows is parsed into its columns", () => {
  fc.assert(
    fc.property(
      schema.chain((candidate) => {
        const compiled = compileAnswer(candidate);
        return fc.tuple(fc.constant(compiled), answerTo(compiled.schema?.schema as Strict));
      }),
      ([compiled, answer]) => {
        const parsed = compiled.parse(JSON.stringify(answer));
        expect(parsed).toMatchObject({ ok: true });
        if (!parsed.ok) return;
        expect(Object.keys(parsed.cells)).toEqual(compiled.columns.map((column) => column.field));
        for (const column of compiled.columns) {
          const cell = parsed.cells[column.field];
          if (!column.nullable) expect(cell).not.toBeNull();
          if (column.check !== null && cell !== null) expect(column.check).toContain(cell);
          if (column.type === "bigint" && cell !== null) expect(Number.isSafeInteger(cell)).toBe(true);
          if (column.type === "text[]" && cell !== null)
            expect((cell as Json[]).every((entry) => typeof entry === "string")).toBe(true);
        }
      },
    ),
  );
});

test("no text makes parse throw, and a refusal can be stored", () => {
  const compiled = compileAnswer(z.object({ a: z.string(), b: z.array(z.int()).optional() }));
  const nearly = fc.jsonValue().map((value) => JSON.stringify(value));
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: "binary" }), nearly), (text) => {
      const parsed = compiled.parse(text);
      if (!parsed.ok) expect(parsed.message).not.toMatch(/\u0000|\p{Surrogate}/u);
    }),
  );
});

/** Beyond `field`: what a stored schema has to keep although JSON schema has no word for it. */
const specials: readonly z.ZodType[] = [
  z.string().trim().min(2),
  z.string().toLowerCase(),
  z.string().regex(/^[ab]+$/i),
  z.string().startsWith("a").endsWith("b"),
  z.string().length(2),
  z.string().default("filled"),
  z.string().prefault(" in ").nullable(),
  z.string().catch("caught").nullable(),
  z.int().optional().catch(7),
  z.number().multipleOf(0.5).multipleOf(3).optional(),
  z.number().gt(1).lt(9),
  z.coerce.number(),
  z.coerce.string(),
  z.iso.date(),
  z.iso.datetime({ offset: true }),
  z.email(),
  z.url(),
  z.httpUrl(),
  z.ipv6(),
  z.base64(),
  z.jwt(),
  z.uuid(),
  z.enum({ one: 1, two: "two" }),
  z.literal([1, "a", null, true]),
  z.templateLiteral(["a", z.number()]),
  z.array(z.string()).min(1).max(2),
  z.array(z.string()).nonempty().readonly(),
  z.strictObject({ a: z.string() }),
  z.object({ a: z.string().default("x"), b: z.int().optional() }),
  z.xor([z.object({ a: z.string() }), z.object({ b: z.string() })]),
  z.discriminatedUnion("kind", [
    z.object({ kind: z.literal("a"), a: z.string() }),
    z.object({ kind: z.literal("b"), b: z.int().nullish() }),
  ]),
  z.lazy(() => z.boolean()),
  z.string().optional().nonoptional(),
];
const special = fc.constantFrom(...specials);

const specialSchema = fc
  .dictionary(name, fc.oneof(special, field), { minKeys: 1, maxKeys: 4 })
  .map((fields) => z.object(fields))
  .filter((candidate) => answerProblems(candidate).length === 0);

/** Each of them fits one schema or another. */
const values: readonly Json[] = [
  ..."a|ab|aB|AB|b| b |in|filled|two|a1|a1.5|2026-11-26|2026-11-26T00:00:00Z|2026-11-26T00:00:00+01:00|x@y.org".split(
    "|",
  ),
  ..."https://x.org|ftp://x.org/a b|::1|YWI=|YWI|eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.e30.x".split("|"),
  "00000000-0000-0000-0000-000000000000",
  "",
  "7",
  "true",
  0,
  1,
  1.5,
  3,
  7,
  2 ** 60,
  true,
  false,
  null,
];

/** Values that one schema or another takes, and some that none does. */
const near = fc.letrec<{ value: Json }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.constantFrom(...values),
    fc.string({ maxLength: 3 }),
    fc.array(tie("value"), { maxLength: 3 }) as fc.Arbitrary<Json>,
    fc.dictionary(fc.constantFrom("a", "b", "kind"), tie("value")) as fc.Arbitrary<Json>,
    fc.constantFrom<Json>({ kind: "a", a: "x" }, { kind: "b", b: null }, { a: "x", more: 1 }),
  ),
})).value;

/** An answer by the field's names, some of them missing, and perhaps an unrequested one. */
function nearly(schema: z.ZodObject): fc.Arbitrary<Json> {
  const fields = Object.keys(schema.shape).map((key) => [key, fc.option(near, { nil: undefined })]);
  const record = fc.record({ ...Object.fromEntries(fields), unnamed: fc.option(near, { nil: undefined }) });
  return record.map((answer) => JSON.parse(JSON.stringify(answer)) as Json);
}

test.each([
  ["of every kind", schema],
  ["with rules that JSON schema has no word for", specialSchema],
])("a schema %s judges every answer alike when it comes back from the ledger", (_, schemas) => {
  let taken = 0;
  fc.assert(
    fc.property(
      schemas.chain((candidate) =>
        fc.tuple(
          fc.constant(candidate),
          fc.array(fc.oneof(nearly(candidate), answerTo(compileAnswer(candidate).schema?.schema as Strict)), {
            minLength: 5,
            maxLength: 10,
          }),
        ),
      ),
      ([candidate, answers]) => {
        const asked = compileAnswer(candidate);
        const restored = compileStored(JSON.parse(JSON.stringify(asked.stored)) as Json);
        expect(restored.columns).toEqual(asked.columns);
        for (const answer of answers) {
          const text = JSON.stringify(answer);
          const before = asked.parse(text);
          const after = restored.parse(text);
          expect({ ...after, message: null }).toEqual({ ...before, message: null });
          if (before.ok) taken++;
        }
      },
    ),
  );
  // Else it would say nothing about what is accepted.
  expect(taken).toBeGreaterThan(50);
});

test("a schema with any rule that JSON schema has no word for takes the same values when it comes back", () => {
  for (const rule of specials) {
    const asked = compileAnswer(z.object({ a: rule }));
    const restored = compileStored(JSON.parse(JSON.stringify(asked.stored)) as Json);
    for (const answer of [{}, ...values.map((value) => ({ a: value }))]) {
      const text = JSON.stringify(answer);
      const before = { ...asked.parse(text), message: null };
      expect({ text, ...restored.parse(text), message: null }).toEqual({ text, ...before });
    }
  }
});

test("a rule that is a function is all that a schema loses in the ledger", () => {
  const schema = z.object({
    a: z
      .string()
      .refine((text) => text === "x")
      .max(3),
  });
  const restored = compileStored(compileAnswer(schema).stored);
  expect(restored.parse('{"a":"y"}')).toMatchObject({ ok: true });
  expect(restored.parse('{"a":"yyyy"}')).toMatchObject({ ok: false });
});

test("a strict schema, which is all that an older version kept, judges the answers of strict mode", () => {
  const asked = compileAnswer(z.object({ a: z.string(), b: z.enum(["x", "y"]).optional(), c: z.array(z.int()) }));
  const restored = compileStored(asked.schema?.schema ?? null);
  for (const answer of [
    { a: "1", b: null, c: [1] },
    { a: "1", b: "y", c: [] },
  ])
    expect(restored.parse(JSON.stringify(answer))).toMatchObject({ ok: true, cells: answer });
  for (const answer of [
    { a: 1, b: null, c: [] },
    { a: "1", b: "z", c: [] },
    { a: "1", b: null, c: ["1"] },
  ])
    expect(restored.parse(JSON.stringify(answer))).toMatchObject({ ok: false });
});

/** JSON as it stands, broken in one place, or with words around it. */
const said = fc
  .tuple(
    fc.oneof(
      fc.json({ maxDepth: 2 }),
      fc.constantFrom('{"label":"x"}', '{"label":"</think>{"}', '{"label":1}', '{"label":"\\ud800"}'),
    ),
    fc.nat(),
    fc.constantFrom("", "", "", "{", "}", '"', "\\", "0", ",", "\u00a0", "<think>", '{"label":"y"}'),
  )
  .chain(([json, place, extra]) => {
    const at = place % (json.length + 1);
    return fc.constantFrom(
      json.slice(0, at) + extra + json.slice(at),
      json + extra,
      extra + json,
      JSON.stringify(json),
      ` \n${json}\ufeff`,
      json.slice(0, at) + json.slice(at + 1),
    );
  });

test("an answer that is one object is judged as a search for it would", () => {
  const answers = [compileAnswer(z.object({ label: z.string() })), compileAnswer(FREE_JSON)];
  fc.assert(
    fc.property(said, (text) => {
      for (const { parse } of answers) {
        // A call without an object in it adds nothing to find, but where there are calls all places are searched.
        expect(parse(text)).toEqual(parse(text, { calls: ["none"] }));
      }
    }),
    { numRuns: 2_000 },
  );
});
