import { describe, expect, test } from "vitest";
import { z as zod3 } from "zod/v3";
import { ConfigError, type ConfigProblem } from "../../src/config/read/problems.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { defineConfig, openai, pipeline, z } from "../../src/index.js";
import type { ProjectConfig } from "../../src/model/pipeline.js";
import { ADAPTERS } from "../../src/providers/adapters.js";

const origin = { file: "/project/rowmill.config.ts", language: "script", databaseUrl: null } as const;

const minimal = {
  source: { table: "films", key: "id", columns: ["Title", "Description"] },
  request: { model: "gpt-4o-mini", user: "{{ Description }}" },
  target: { table: "labels" },
};

const answer = z.object({ genre: z.string(), year: z.int() });

function validate(films: unknown): ProjectConfig {
  return validateConfig({ database: "embedded", pipelines: { films } }, origin);
}

function mistakesOf(load: () => unknown): ConfigError {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigError) return error;
    throw error;
  }
  throw new Error("there was no mistake");
}

/** The mistakes of a pipeline, with paths below `pipelines.films`. */
function problemsOf(films: unknown): readonly ConfigProblem[] {
  const { problems } = mistakesOf(() => validate(films));
  return problems.map((problem) => ({ ...problem, path: problem.path.replace(/^pipelines\.films\.?/, "") }));
}

describe("a correct config", () => {
  test("may copy a pipeline and change it", () => {
    const films = pipeline({ ...minimal, answer, limit: 9 });
    const [copy] = validateConfig(
      { database: "embedded", pipelines: { copy: { ...films, limit: 5 } } },
      origin,
    ).pipelines;
    expect(copy).toMatchObject({ name: "copy", limit: 5, source: { table: "films" } });
    expect(problemsOf({ ...films, limits: 5 })).toEqual([
      expect.objectContaining({ path: "limits", nearMatch: "limit" }),
    ]);
  });

  test("gets every default of the documentation", () => {
    expect(validate(minimal).pipelines[0]).toEqual({
      name: "films",
      provider: ADAPTERS[0].choice,
      source: {
        kind: "table",
        table: "films",
        key: ["id"],
        columns: ["Title", "Description"],
        where: null,
        existing: "include",
        onGone: "drop",
        replica: null,
      },
      when: { rows: 1000, maxWaitMs: 600_000 },
      batch: { requestsMax: null, bytesMax: null },
      request: {
        model: "gpt-4o-mini",
        parameters: {},
        system: null,
        user: { kind: "template", text: "{{ Description }}" },
        maxOutputTokens: 1024,
        price: null,
      },
      answer: null,
      validate: null,
      attempts: 3,
      target: {
        table: "labels",
        columns: null,
        access: "private",
        addColumns: false,
        trustOwner: false,
        elsewhere: null,
      },
      budget: null,
      approveAboveUsd: 1,
      onChange: "ask",
      dedupe: false,
      limit: null,
      polling: { minMs: 15_000, maxMs: 300_000 },
      files: { keep: false },
      reconcile: { windowMs: 120_000, unknown: null },
    });
  });

  test("carries every key that is written", () => {
    const user = (row: { readonly Title: string | null }) => row.Title;
    const check = () => null;
    const provider = openai({ organization: "org" });
    const films = pipeline({
      provider,
      source: {
        table: "public.films",
        key: ["id", "lang"],
        columns: ["Title"],
        where: "id > 1",
        existing: "skip",
        onGone: "keepAnswer",
      },
      when: { rows: 5, maxWait: "200ms" },
      batch: { maxRequests: 10, maxBytes: 2048 },
      request: {
        model: "my-own-model",
        system: "Be {{ Title }}",
        user,
        maxOutputTokens: 5,
        temperature: 0.1,
        topP: 0.9,
        seed: -3,
        stop: ["a", "b"],
        presencePenalty: -2,
        frequencyPenalty: 2,
        reasoningEffort: "low",
        price: { input: 0.25, output: 0 },
      },
      answer,
      validate: check,
      attempts: 7,
      target: {
        table: "labels",
        columns: { genre: "g" },
        access: "inherit",
        addColumns: true,
        trustOwner: true,
      },
      budget: { usd: 0.5, per: "month" },
      approveAboveUsd: 0,
      onChange: "keep",
      dedupe: true,
      limit: 9,
      polling: { min: "10ms", max: "10ms" },
      files: { keep: true },
      reconcile: { window: "1s", unknown: "ask" },
    });
    expect(validateConfig(defineConfig({ database: "embedded", pipelines: { films } }), origin).pipelines).toEqual([
      {
        name: "films",
        provider,
        source: {
          kind: "table",
          table: "public.films",
          key: ["id", "lang"],
          columns: ["Title"],
          where: "id > 1",
          existing: "skip",
          onGone: "keepAnswer",
          replica: null,
        },
        when: { rows: 5, maxWaitMs: 200 },
        batch: { requestsMax: 10, bytesMax: 2048 },
        request: {
          model: "my-own-model",
          parameters: {
            temperature: 0.1,
            top_p: 0.9,
            seed: -3,
            stop: ["a", "b"],
            presence_penalty: -2,
            frequency_penalty: 2,
            reasoning_effort: "low",
          },
          system: { kind: "template", text: "Be {{ Title }}" },
          user: { kind: "function", render: user },
          maxOutputTokens: 5,
          price: { input: 0.25, cachedInput: 0.25, output: 0 },
        },
        answer,
        validate: check,
        attempts: 7,
        target: {
          table: "labels",
          columns: { genre: "g" },
          access: "inherit",
          addColumns: true,
          trustOwner: true,
          elsewhere: null,
        },
        budget: { usd: 0.5, per: "month" },
        approveAboveUsd: 0,
        onChange: "keep",
        dedupe: true,
        limit: 9,
        polling: { minMs: 10, maxMs: 10 },
        files: { keep: true },
        reconcile: { windowMs: 1000, unknown: "ask" },
      },
    ]);
  });

  test("keeps the order in which pipelines are written", () => {
    const config = validateConfig({ database: "embedded", pipelines: { b: minimal, a: minimal } }, origin);
    expect(config.pipelines.map(({ name }) => name)).toEqual(["b", "a"]);
  });
});

describe("mistakes", () => {
  test("are reported all at once, with path, what was found, what was expected and a near match", () => {
    const error = mistakesOf(() =>
      validateConfig(
        {
          database: "embedded",
          pipelins: {},
          pipelines: {
            movies: { ...minimal, when: { rows: "1000", maxwait: "10m" }, budget: { usd: -1, per: "week" } },
            Films: { ...minimal, source: { ...minimal.source, existing: "incldue" } },
          },
        },
        origin,
      ),
    );
    expect(error.code).toBe("config_invalid");
    expect(error.message.split("\n")).toEqual([
      "/project/rowmill.config.ts: 7 mistakes",
      '  pipelins: unknown key (known here: database, http, pipelines); did you mean "pipelines"?',
      '  pipelines.movies.when.maxwait: unknown key (known here: rows, maxWait); did you mean "maxWait"?',
      '  pipelines.movies.when.rows: found "1000" (text), expected a whole number from 1 to 1,000,000',
      "  pipelines.movies.budget.usd: found -1, expected a number above 0 to 1,000,000,000 (US dollars)",
      '  pipelines.movies.budget.per: found "week" (text), expected "run", "day", "month" or "total"',
      '  pipelines.Films: found "Films", expected a lower-case letter, then at most 39 lower-case letters, digits, _ or -',
      '  pipelines.Films.source.existing: found "incldue" (text), expected "include" or "skip"; did you mean "include"?',
    ]);
  });

  const sections = ["source", "when", "batch", "request", "target", "budget", "polling", "files", "reconcile"];
  test.each(sections)("in the keys of %s are refused with the nearest known key", (name) => {
    const full: Record<string, object> = {
      ...minimal,
      when: {},
      batch: {},
      budget: { usd: 1, per: "day" },
      polling: {},
      files: {},
      reconcile: {},
    };
    const [problem, ...others] = problemsOf({ ...full, [name]: { ...full[name], unheardOf: 1 } });
    expect(others).toEqual([]);
    expect(problem).toMatchObject({ path: `${name}.unheardOf`, nearMatch: null });
    expect(problem?.expected).toMatch(/^unknown key \(known here: /);
  });

  const wrong: readonly [path: string, films: object, expected: RegExp][] = [
    ["source", { ...minimal, source: undefined }, /^an object with the keys table, key/],
    ["target", { ...minimal, target: "labels" }, /^an object with the keys table/],
    ["source.table", withSource({ table: "" }), /name of a table/],
    ["source.table", withSource({ table: "a.b.c" }), /"table" or "schema.table"/],
    ["source.table", withSource({ table: ".b" }), /"table" or "schema.table"/],
    ["source.table", withSource({ table: '"a"b"' }), /"table" or "schema.table"/],
    ["source.table", withSource({ table: 'a"b' }), /in double quotes, as in SQL/],
    ["source.table", withSource({ table: `"${"é".repeat(32)}"` }), /at most 63 bytes/],
    ["source.key", withSource({ key: '"id"' }), /without quotes/],
    [
      "target",
      { ...minimal, answer: z.object({ Title: z.string() }), target: { table: 'public."films"' } },
      /is also in source\.columns/,
    ],
    ["source.table", withSource({ table: "é".repeat(32) }), /at most 63 bytes/],
    ["source.table", withSource({ table: "a\0b" }), /NUL/],
    ["source.key", withSource({ key: [] }), /a column name, or a list/],
    ["source.key", withSource({ key: undefined }), /a column name, or a list/],
    ["source.key", withSource({ key: "" }), /the name of a column/],
    ["source.key[1]", withSource({ key: ["id", "id"] }), /each name only once/],
    ["source.columns", withSource({ columns: [] }), /at least one column/],
    ["source.columns", withSource({ columns: "Title" }), /at least one column/],
    ["source.columns[2]", withSource({ columns: ["Title", "Description", "Title"] }), /each name only once/],
    ["source.columns[1]", withSource({ columns: ["Description", 7] }), /name of a column/],
    ["source.where", withSource({ where: "WHERE id > 1" }), /without the word WHERE/],
    ["source.where", withSource({ where: "id > 1;" }), /or a semicolon/],
    ["source.where", withSource({ where: "  " }), /SQL condition/],
    ["when.rows", { ...minimal, when: { rows: 0 } }, /whole number from 1/],
    ["when.rows", { ...minimal, when: { rows: 1.5 } }, /whole number/],
    ["when.maxWait", { ...minimal, when: { maxWait: "10 minutes" } }, /duration such as "200ms"/],
    ["when.maxWait", { ...minimal, when: { maxWait: 600 } }, /duration/],
    ["when.maxWait", { ...minimal, when: { maxWait: "31d" } }, /to "30d"/],
    ["batch.maxRequests", { ...minimal, batch: { maxRequests: Number.NaN } }, /whole number/],
    ["batch.maxBytes", { ...minimal, batch: { maxBytes: 10 } }, /1,024/],
    ["request.model", withRequest({ model: "" }), /name of a model/],
    ["request.user", withRequest({ user: undefined }), /template .* or a function/],
    ["request.user", withRequest({ user: async () => "x" }), /not an async function/],
    ["request.user", withRequest({ user: "{{ Descriptoin }}" }), /did you mean "Description"/],
    ["request.user", withRequest({ user: "{% if %}" }), /template cannot be read/],
    ["request.system", withRequest({ system: "{{ id }}" }), /not a declared column/],
    ["request.system", withRequest({ system: "a\0b" }), /NUL/],
    ["request.user", withRequest({ user: "half a pair \ud800" }), /surrogate/],
    ["request.temperature", withRequest({ temperature: 2.1 }), /from 0 to 2/],
    ["request.topP", withRequest({ topP: -0.1 }), /from 0 to 1/],
    ["request.seed", withRequest({ seed: 0.5 }), /whole number/],
    ["request.stop", withRequest({ stop: ["1", "2", "3", "4", "5"] }), /at most 4/],
    ["request.presencePenalty", withRequest({ presencePenalty: 3 }), /from -2 to 2/],
    ["request.frequencyPenalty", withRequest({ frequencyPenalty: "1" }), /from -2 to 2/],
    ["request.reasoningEffort", withRequest({ reasoningEffort: "hihg" }), /"minimal"/],
    ["request.maxOutputTokens", withRequest({ maxOutputTokens: 0 }), /whole number from 1/],
    ["request.price", withRequest({ price: 3 }), /the keys input, cachedInput, output/],
    ["request.price.output", withRequest({ price: { input: 1 } }), /US dollars per million tokens/],
    ["request.price.input", withRequest({ price: { input: -1, output: 1 } }), /from 0 to/],
    ["request.price.input", withRequest({ price: { input: Infinity, output: 1 } }), /a number/],
    ["request.price.input", withRequest({ price: { input: "0.15", output: 1 } }), /a number/],
    ["request.price.cachedInput", withRequest({ price: { input: 1, cachedInput: NaN, output: 1 } }), /a number/],
    [
      "request.price.ouptut",
      withRequest({ price: { input: 1, output: 1, ouptut: 1 } }),
      /known here: input, cachedInput, output/,
    ],
    ["request.pirce", withRequest({ pirce: { input: 1, output: 1 } }), /known here: model, price/],
    ["answer", { ...minimal, answer: zod3.object({ a: zod3.string() }) }, /a zod 4 schema/],
    ["answer", { ...minimal, answer: { type: "object" } }, /a zod 4 schema/],
    ["answer", { ...minimal, answer: z.object({ at: z.date() }) }, /date/],
    ["answer", { ...minimal, answer: z.object({ at: z.string().transform(Number) }) }, /transform/],
    ["validate", { ...minimal, validate: true }, /function/],
    ["validate", { ...minimal, validate: async () => null }, /plain function/],
    ["attempts", { ...minimal, attempts: 0 }, /from 1 to 20/],
    ["target.access", { ...minimal, target: { table: "labels", access: "public" } }, /"private" or "inherit"/],
    ["target.addColumns", { ...minimal, target: { table: "labels", addColumns: 1 } }, /true or false/],
    ["target.trustOwner", { ...minimal, target: { table: "labels", trustOwner: "yes" } }, /true or false/],
    ["target", { ...minimal, target: { write: 1 } }, /\{ write \} with a function/],
    ["target", { ...minimal, target: { write: () => null, table: "labels" } }, /of these at most: name/],
    ["target", { ...minimal, target: { write: () => null, promise: "exactlyOnce" } }, /"onceInEffect" or/],
    ["target", { ...minimal, target: { write: () => null, most: { changes: 0 } } }, /changes: 1 to 10000/],
    ["target.columns", { ...minimal, target: { table: "labels", columns: ["g"] } }, /maps answer fields to columns/],
    ["target.columns.answer", { ...minimal, target: { table: "labels", columns: { answer: "" } } }, /name of a column/],
    ["budget.usd", { ...minimal, budget: { usd: 0, per: "day" } }, /above 0/],
    ["budget.usd", { ...minimal, budget: { usd: Infinity, per: "day" } }, /above 0/],
    ["budget.per", { ...minimal, budget: { usd: 1 } }, /"run", "day"/],
    ["approveAboveUsd", { ...minimal, approveAboveUsd: -1 }, /from 0/],
    ["limit", { ...minimal, limit: 0 }, /whole number from 1/],
    ["polling", { ...minimal, polling: { min: "2m", max: "1m" } }, /a min that is not above max/],
    ["polling", { ...minimal, polling: { min: "10m" } }, /max "5m"/],
    ["polling.min", { ...minimal, polling: { min: "1ms" } }, /from "10ms"/],
    ["files.keep", { ...minimal, files: { keep: "yes" } }, /true or false/],
    ["reconcile.window", { ...minimal, reconcile: { window: "2d" } }, /to "1d"/],
    ["reconcile.unknown", { ...minimal, reconcile: { unknown: "guess" } }, /again.*ask/],
    ["when", { ...minimal, when: null }, /an object with the keys rows, maxWait/],
  ];

  function withSource(change: object): object {
    return { ...minimal, source: { ...minimal.source, ...change } };
  }

  function withRequest(change: object): object {
    return { ...minimal, request: { ...minimal.request, ...change } };
  }

  test.each(wrong)("at %s stand alone: one mistake, one line (%#)", (path, films, expected) => {
    const problems = problemsOf(films);
    expect(problems.map((problem) => problem.path)).toEqual([path]);
    expect(problems[0]?.expected).toMatch(expected);
  });

  test.each([undefined, null, 7, [], "config", () => ({})])("in the config as a whole are named: %s", (definition) => {
    const { message, problems } = mistakesOf(() => validateConfig(definition, { ...origin, databaseUrl: "embedded" }));
    expect(problems).toHaveLength(1);
    expect(message).toMatch(/the config itself: found .*, expected an object with the keys database, http, pipelines/);
  });

  test("a config without pipelines is one", () => {
    const { problems } = mistakesOf(() => validateConfig({ database: "embedded", pipelines: {} }, origin));
    expect(problems).toMatchObject([{ path: "pipelines", found: "an object", expected: "at least one pipeline" }]);
  });

  test.each(["a".repeat(41), "1a", "a.b", "a b", "", "__proto__"])("a pipeline named %j is one", (name) => {
    const pipelines: unknown = JSON.parse(
      JSON.stringify({ [name]: minimal }).replace(/^\{"[^"]*"/, `{${JSON.stringify(name)}`),
    );
    const { problems } = mistakesOf(() => validateConfig({ database: "embedded", pipelines }, origin));
    expect(problems.map(({ expected }) => expected)).toEqual([expect.stringMatching(/^a lower-case letter, then/)]);
  });
});

describe("the columns of the target", () => {
  test("must be of fields that the answer has", () => {
    expect(problemsOf({ ...minimal, answer, target: { table: "labels", columns: { gener: "g" } } })).toMatchObject([
      { path: "target.columns.gener", nearMatch: "genre", expected: expect.stringContaining("genre, year") },
    ]);
    expect(problemsOf({ ...minimal, target: { table: "labels", columns: { genre: "g" } } })).toMatchObject([
      { path: "target.columns.genre", expected: "the answer has no such field. Its fields: answer" },
    ]);
  });

  test("must differ from each other", () => {
    const [problem] = problemsOf({
      ...minimal,
      answer,
      target: { table: "labels", columns: { genre: "year" } },
    });
    expect(problem?.expected).toBe(
      'the column "year" of the answer\'s field "year" is also the column of the field "genre". Map the field to another column in target.columns',
    );
  });

  test.each(["id", "rowmill_at", "rowmill_model", "rowmill_version"])(
    "must not be %s, unless the field is mapped away",
    (name) => {
      const films = { ...minimal, answer: z.object({ [name]: z.string() }) };
      expect(problemsOf(films)).toMatchObject([{ path: "target", found: null }]);
      expect(validate({ ...films, target: { table: "labels", columns: { [name]: "other" } } }).pipelines).toHaveLength(
        1,
      );
      const backOnto = { table: "labels", columns: { answer: name } };
      expect(problemsOf({ ...minimal, target: backOnto })).toMatchObject([{ path: "target.columns.answer" }]);
    },
  );

  test.each(["films", "public.films"])(
    "cannot be kept for a row that is gone when the target %s is the source",
    (table) => {
      const films = { ...minimal, source: { ...minimal.source, onGone: "keepAnswer" }, target: { table } };
      expect(problemsOf(films)).toMatchObject([{ path: "source.onGone" }]);
      expect(validate({ ...films, target: { table: "labels" } }).pipelines).toHaveLength(1);
    },
  );

  test.each(["films", "public.films"])("must not be declared columns when the target %s is the source", (table) => {
    const films = { ...minimal, answer: z.object({ Title: z.string() }), target: { table } };
    expect(problemsOf(films)[0]?.expected).toMatch(/is also in source\.columns/);
    expect(validate({ ...films, target: { table: "labels" } }).pipelines).toHaveLength(1);
  });
});

describe("the database", () => {
  const pipelines = { films: minimal };
  const url = "postgres://user:s3cret@db.example:6543/app?sslmode=require";

  test("is the config's own before DATABASE_URL", () => {
    const load = (database: unknown, databaseUrl: string | null) =>
      validateConfig({ database, pipelines }, { ...origin, databaseUrl }).database;
    expect(load(url, "postgres://other/app")).toEqual({ kind: "server", url });
    expect(load(undefined, url)).toEqual({ kind: "server", url });
    expect(load("embedded", url)).toEqual({ kind: "embedded" });
    expect(load(undefined, "embedded")).toEqual({ kind: "embedded" });
    expect(load("postgresql:///app?host=/run/postgresql", null)).toMatchObject({ kind: "server" });
    expect(load("postgres://u@/app?host=/run/postgresql", null)).toMatchObject({ kind: "server" });
  });

  test("is never an empty one by accident: with neither, loading reports it", () => {
    const { message } = mistakesOf(() => validateConfig({ database: undefined, pipelines }, origin));
    expect(message).toContain("database: found nothing (and DATABASE_URL");
    expect(message).toContain('or "embedded"');
  });

  test.each([
    "mysql://user:s3cret@host/app",
    "s3cret",
    "host=db password=s3cret",
    "postgres://user:s3cret#x@host/app",
    "postgres://user:1#s3cret@host/app",
    "postgres://user:1/s3cret@host/app",
    "postgres://user:1?s3cret@host/app",
    "postgres://user:s3cret%zz@host/app",
    "postgres://user:s3cret@host:port/app",
    "",
  ])("is refused without a word of it: %j", (database) => {
    const { message, problems } = mistakesOf(() => validateConfig({ database, pipelines }, origin));
    expect(problems.map(({ path }) => path)).toEqual(["database"]);
    expect(message).not.toMatch(/s3cret|host\/app/);
  });

  test("names the variable when the mistake is there", () => {
    const { message } = mistakesOf(() =>
      validateConfig({ pipelines }, { ...origin, databaseUrl: "mysql://a:s3cret@b" }),
    );
    expect(message).toContain("DATABASE_URL: found a URL that begins with mysql://");
    const encoded = mistakesOf(() =>
      validateConfig({ pipelines }, { ...origin, databaseUrl: "postgres://a:s3#cret@b/c" }),
    );
    expect(encoded.message).toContain(', or "embedded". In a password, write : / ? # [ ] @ % as %3A ');
    expect(message).not.toContain("s3cret");
  });
});
