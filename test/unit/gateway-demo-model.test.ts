import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { z } from "zod";
import type { ChatReply } from "../../src/gateway/engine/chat-model.js";
import { DEMO_FINGERPRINT, DEMO_OWNER } from "../../src/model/provider/outcome.js";
import { createDemoModel } from "../../src/gateway/demo-model/demo-model.js";
import { isJsonObject, type Json, type JsonObject } from "../../src/gateway/protocol/json.js";

const context = { id: "chatcmpl-1", nowSeconds: 1_000 };

interface Said {
  readonly content: string | null;
  readonly refusal: string | null;
  readonly finishReason: string;
}

function ask(text: string, extra: JsonObject = {}, onceSeen = new Set<string>()): ChatReply {
  const body = { model: "gpt-4o-mini", messages: [{ role: "user", content: text }], ...extra };
  const reply = createDemoModel({ onceSeen }).answer(body, context);
  if (reply instanceof Promise) throw new Error("The demo model answers at once.");
  return reply;
}

function at(value: unknown, ...path: readonly (string | number)[]): unknown {
  return path.reduce<unknown>((found, step) => {
    if (Array.isArray(found)) return found[Number(step)];
    return isJsonObject(found) ? found[step] : undefined;
  }, value);
}

function said(reply: ChatReply): Said {
  const message = at(reply.body, "choices", 0, "message");
  return {
    content: at(message, "content") as string | null,
    refusal: at(message, "refusal") as string | null,
    finishReason: String(at(reply.body, "choices", 0, "finish_reason")),
  };
}

function formatOf(schema: z.ZodType): JsonObject {
  const json = z.toJSONSchema(schema) as unknown as JsonObject;
  return { response_format: { type: "json_schema", json_schema: { name: "a", strict: true, schema: json } } };
}

/** The answer to a text under a schema, parsed. */
function answer<T extends z.ZodType>(text: string, schema: T): z.infer<T> {
  return schema.parse(JSON.parse(said(ask(text, formatOf(schema))).content ?? "")) as z.infer<T>;
}

const film = "A young detective and his partner hunt a serial killer who uses the seven deadly sins as his motives.";

const filmSummary = "A thriller about a young detective, his partner and a serial killer.";

describe("an answer", () => {
  test("names the genres that the words of the text speak for, and sums it up", () => {
    const schema = z.object({ categories: z.array(z.string()).describe("at most two"), summary: z.string() });
    const ride = "A sheriff and a cowboy hunt a gang of outlaws and thieves on the frontier.";
    const { categories, summary } = answer(ride, schema);
    expect(categories[0]).toBe("western");
    expect(categories).toHaveLength(2);
    expect(summary).toBe("A western about a sheriff, a cowboy and a gang.");
  });

  test("repeats no sentence of a text that tells a story", () => {
    const { summary } = answer(`Night Shift\n\n${film}`, z.object({ summary: z.string() }));
    expect(summary).toBe(filmSummary);
  });

  test("sums up a text that names no one in its most central sentence, shortened", () => {
    const summary = answer(
      "It was raining. The harbor keeps the gold of the harbor town, and every ship that came for the gold of the harbor has sunk so far, which is why the town sends its boats. Tea was served.",
      z.object({ summary: z.string() }),
    ).summary;
    expect(summary).toMatch(/^The harbor keeps the gold of the harbor town.*\.$/);
    expect(summary.length).toBeLessThanOrEqual(170);
  });

  test.each<[string, z.ZodType, unknown]>([
    [
      "Great film, I love it!",
      z.object({ sentiment: z.enum(["positive", "negative", "neutral"]) }),
      { sentiment: "positive" },
    ],
    ["A terrible, boring mess.", z.object({ sentiment: z.string() }), { sentiment: "negative" }],
    ["Der Film ist nicht gut und die Musik ist laut.", z.object({ language: z.string() }), { language: "German" }],
    ["Le film est une histoire pour les enfants.", z.object({ languageCode: z.string() }), { languageCode: "fr" }],
    ["Released in 1994 with 3 stars.", z.object({ year: z.int() }), { year: 1994 }],
    ["A tale of four friends.", z.object({ friends: z.int().nullable() }), { friends: 4 }],
    ["No number here.", z.object({ year: z.int().nullable() }), { year: null }],
    [
      "Title: Blue Night\nDirector: Ann Lee\nA story.",
      z.object({ title: z.string(), director: z.string() }),
      { title: "Blue Night", director: "Ann Lee" },
    ],
    ["Write to ann@example.org today.", z.object({ email: z.string() }), { email: "ann@example.org" }],
    [
      "There is violence but no romance in it.",
      z.object({ has_violence: z.boolean(), has_romance: z.boolean() }),
      { has_violence: true, has_romance: false },
    ],
    ["A cowboy meets a sheriff.", z.object({ genre: z.enum(["Western", "Sci-Fi"]) }), { genre: "Western" }],
    ["Nothing of the kind.", z.object({ size: z.enum(["big", "small", "unknown"]) }), { size: "unknown" }],
  ])("to %j is filled by the names of its fields", (text, schema, expected) => {
    expect(answer(text, schema)).toEqual(expected);
  });

  test("without a schema is one sentence of the text", () => {
    expect(said(ask(`${film} He is tired.`)).content).toBe(film);
  });

  test("as a JSON object without a schema has categories and a summary", () => {
    const reply = said(ask(`${film} Answer in JSON.`, { response_format: { type: "json_object" } }));
    expect(JSON.parse(reply.content ?? "")).toMatchObject({ summary: filmSummary });
    const refused = ask(film, { response_format: { type: "json_object" } });
    expect(refused.status).toBe(400);
    expect(JSON.stringify(refused.body)).toContain("must contain the word 'json'");
  });

  test("is the same each time, and does not depend on the system prompt", () => {
    const messages = [
      { role: "system", content: "Say something else." },
      { role: "user", content: [{ type: "text", text: film }] },
    ];
    expect(said(ask(film, { messages })).content).toBe(said(ask(film)).content);
  });

  test("says that no language model made it", () => {
    expect(at(ask(film).body, "system_fingerprint")).toBe("rowmill-demo-no-language-model");
    expect(at(ask("[[demo:error 500]]").body, "system_fingerprint")).toBe(DEMO_FINGERPRINT);
    expect(at(ask(film, { messages: [] }).body, "system_fingerprint")).toBe(DEMO_FINGERPRINT);
    expect(createDemoModel({ onceSeen: new Set() }).ownedBy.startsWith(DEMO_OWNER)).toBe(true);
  });

  test("reports a quarter of the characters as tokens", () => {
    const reply = ask(film);
    const output = Math.ceil((said(reply).content ?? "").length / 4);
    expect(reply.usage).toEqual({ inputTokens: 4 + Math.ceil(film.length / 4), outputTokens: output });
    expect(at(reply.body, "usage")).toMatchObject({ total_tokens: 4 + Math.ceil(film.length / 4) + output });
  });

  test.each(["max_completion_tokens", "max_tokens"])("ends at %s, and reports that as the reason", (name) => {
    const reply = ask(film, { [name]: 5 });
    expect(said(reply)).toMatchObject({ content: film.slice(0, 20), finishReason: "length" });
    expect(reply.usage?.outputTokens).toBe(5);
  });

  test("is never cut within a character", () => {
    const reply = ask("🎬".repeat(40), { max_tokens: 3 });
    expect(Buffer.from(said(reply).content ?? "").toString()).not.toContain("\uFFFD");
  });

  test.each([[{ messages: [] }], [{ max_tokens: 0 }]])("to a wrong request %j is a refusal", (extra) => {
    expect(ask(film, extra)).toMatchObject({ status: 400, usage: null });
  });
});

describe("a special text", () => {
  const schema = z.object({ summary: z.string() });
  const format = formatOf(schema);

  test.each<[string, Partial<Said>]>([
    ["refuse", { content: null, refusal: expect.stringContaining("can't help") as string, finishReason: "stop" }],
    ["empty", { content: "", finishReason: "stop" }],
    ["filter", { finishReason: "content_filter" }],
    ["truncate", { finishReason: "length" }],
  ])("[[demo:%s]] ends so", (ending, expected) => {
    expect(said(ask(`${film} [[demo:${ending}]]`, format))).toMatchObject(expected);
  });

  test("makes the answer no JSON, or JSON of another shape", () => {
    const invalid = said(ask(`[[demo:invalid]] ${film}`, format)).content ?? "";
    expect(() => JSON.parse(invalid) as unknown).toThrow(SyntaxError);
    const mismatch = JSON.parse(said(ask(`[[demo:mismatch]] ${film}`, format)).content ?? "") as Json;
    expect(schema.safeParse(mismatch).success).toBe(false);
    expect(() => JSON.parse(said(ask(`[[demo:truncate]] ${film}`, format)).content ?? "") as unknown).toThrow();
  });

  test("leaves no choice at all", () => {
    expect(at(ask("[[demo:no-choices]]").body, "choices")).toEqual([]);
  });

  test("puts a NUL into texts that stay valid JSON", () => {
    const { summary } = schema.parse(JSON.parse(said(ask(`[[demo:nul]] ${film}`, format)).content ?? ""));
    expect(summary).toBe(`${filmSummary}\u0000`);
  });

  test.each([
    ["error", 500],
    ["error 400", 400],
    ["error 429", 429],
    ["error 503", 503],
  ])("[[demo:%s]] answers with that status, and costs nothing", (text, status) => {
    expect(ask(`[[demo:${text}]]`)).toMatchObject({ status, usage: null, behaviour: text });
  });

  test("with -once has its effect the first time that the message is seen, each message for itself", () => {
    const seen = new Set<string>();
    const statuses = ["A", "A", "B", "A", "B"].map((name) => ask(`[[demo:error-once 500]] ${name}.`, {}, seen).status);
    expect(statuses).toEqual([500, 200, 500, 200, 200]);
  });

  test("does not show up in the answer, and an unknown one is text", () => {
    expect(said(ask(`${film} [[demo:invalid-once]]`, {}, new Set())).content).toContain("Here is");
    expect(said(ask(`[[demo:nul]] ${film}`)).content).toBe(`${film}\u0000`);
    expect(said(ask("[[demo:lunch]] is served."))).toMatchObject({ content: "[[demo:lunch]] is served." });
  });
});

/** Schemas of the kinds that strict structured outputs allow, with bounds; each with its own zod type to check by. */
const { schema: schemas } = fc.letrec<{ schema: z.ZodType; object: z.ZodType }>((tie) => {
  const name = fc.constantFrom(
    "categories",
    "summary",
    "year",
    "isFunny",
    "sentiment",
    "score",
    "tags",
    "x",
    "titleText",
    "people",
  );
  const bounds = fc.tuple(fc.integer({ min: -50, max: 50 }), fc.nat({ max: 60 }));
  const leaf = fc.oneof(
    fc.constant(z.boolean()),
    fc.constant(z.string()),
    fc.constant(z.null()),
    fc.constant(z.literal(["a", 3, true])),
    fc
      .constantFrom("date", "email", "url", "uuid")
      .map((kind) => ({ date: z.iso.date(), email: z.email(), url: z.url(), uuid: z.uuid() })[kind] ?? z.string()),
    bounds.map(([low, span]) =>
      z
        .int()
        .min(low)
        .max(low + span),
    ),
    bounds.map(([low, span]) =>
      z
        .number()
        .gt(low)
        .lt(low + span + 1),
    ),
    bounds.map(([low, span]) =>
      z
        .number()
        .min(low)
        .max(low + span),
    ),
    bounds.map(([low]) => z.int().gt(low)),
    bounds.map(([low]) => z.number().max(low)),
    fc.integer({ min: 2, max: 9 }).map((step) => z.int().multipleOf(step).min(1)),
    fc.tuple(fc.nat({ max: 30 }), fc.nat({ max: 40 })).map(([min, span]) =>
      z
        .string()
        .min(min)
        .max(min + span),
    ),
    fc
      .uniqueArray(fc.string({ minLength: 1 }), { minLength: 1, maxLength: 6 })
      .map((options) => z.enum(options as [string, ...string[]])),
  );
  return {
    object: fc
      .tuple(fc.dictionary(name, tie("schema"), { maxKeys: 4 }), fc.lorem())
      .map(([shape, text]) => z.strictObject(shape).describe(text)),
    schema: fc.oneof(
      { depthSize: "small", withCrossShrink: true },
      leaf,
      fc.tuple(leaf, fc.nat({ max: 4 }), fc.nat({ max: 4 })).map(([item, min, span]) =>
        z
          .array(item)
          .min(min)
          .max(min + span),
      ),
      leaf.map((inner) => inner.nullable()),
      tie("object"),
      tie("object").map((inner) => z.array(inner)),
    ),
  };
});

describe("for any schema", () => {
  test("the answer fits it, whatever the text says", () => {
    fc.assert(
      fc.property(
        schemas,
        fc.oneof(fc.constant(film), fc.lorem({ mode: "sentences" }), fc.string({ unit: "grapheme" })),
        (inner, text) => {
          const schema = z.strictObject({ value: inner });
          const result = schema.safeParse(JSON.parse(said(ask(text, formatOf(schema))).content ?? ""));
          expect(result.error?.issues ?? []).toEqual([]);
        },
      ),
      { numRuns: 1_000 },
    );
  });

  test("that refers to itself the answer ends", () => {
    const tree = z.strictObject({
      title: z.string(),
      get children() {
        return z.array(tree);
      },
    });
    expect(answer(film, tree).title).not.toBe("");
  });
});
