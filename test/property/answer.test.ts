import fc from "fast-check";
import { expect, test } from "vitest";
import { z } from "zod";
import { answerProblems, compileAnswer } from "../../src/model/answer.js";
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
    fc.constantFrom<z.ZodType>(
      z.string(),
      z.int(),
      z.number(),
      z.boolean(),
      z.string().max(5),
      z.int().min(3),
    ),
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
          Object.entries(fields).map(([key, [inner, optional]]) => [
            key,
            optional ? inner.optional() : inner,
          ]),
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
        Object.fromEntries(
          Object.entries(node.properties ?? {}).map(([key, child]) => [key, answerTo(child)]),
        ),
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
