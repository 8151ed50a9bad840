import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "../../src/index.js";
import { loadConfig } from "../../src/config/load/load.js";
import { ConfigError } from "../../src/config/read/problems.js";
import { validateConfig } from "../../src/config/read/validate.js";
import { RowmillError } from "../../src/model/errors.js";
import { textProblem } from "../../src/model/words/storable-text.js";
import { changed, fuzz, mutated, oddJson, oddText, placesIn, torn } from "../support/fuzz.js";

const films = {
  source: { table: "public.films", key: "id", columns: ["title", "text"], where: "id > 0", existing: "skip" },
  when: { rows: 10, maxWait: "10m" },
  batch: { maxRequests: 10, maxBytes: 100_000 },
  request: {
    model: "my-own-model",
    temperature: 0.1,
    topP: 0.5,
    seed: 1,
    stop: ["END"],
    presencePenalty: 1,
    frequencyPenalty: 1,
    reasoningEffort: "low",
    system: "Be brief.",
    user: "{{ title }}: {{ text }}",
    maxOutputTokens: 100,
  },
  answer: {
    type: "object",
    properties: { summary: { type: "string" }, genres: { type: "array", items: { enum: ["a", "b"] } } },
    required: ["summary"],
  },
  attempts: 3,
  target: {
    table: "labels",
    columns: { summary: "one_line" },
    access: "private",
    addColumns: false,
    trustOwner: false,
  },
  budget: { usd: 5, per: "day" },
  approveAboveUsd: 1,
  limit: 100,
  polling: { min: "1s", max: "5s" },
  files: { keep: false },
  reconcile: { window: "2m" },
};
const { answer: _, ...plainFilms } = { ...films, target: { table: "labels" } };
const config = { database: "postgres://user@127.0.0.1/app", pipelines: { films } };
/** The same without a schema, which takes longer to read than all the rest. */
const plainConfig = { ...config, pipelines: { films: plainFilms } };
const origin = { file: "/project/rowmill.config.json", language: "json", databaseUrl: null } as const;

const throwing = {
  get anything(): never {
    throw new Error("read me not");
  },
};
const unreadable = new Proxy(
  {},
  {
    ownKeys: () => {
      throw new Error("no keys");
    },
  },
);
/** Wrong wherever they stand; by name, since some of them cannot be printed. */
const neverRight: Readonly<Record<string, unknown>> = {
  symbol: Symbol("odd"),
  notANumber: Number.NaN,
  bigint: 1n,
  nul: "\u0000",
  halfPair: "\ud800",
  date: new Date(0),
  map: new Map(),
  throwing,
  unreadable,
  null: null,
  listInList: [[]],
  holes: Array.from({ length: 3 }),
  onlyAHole: Array(1),
  endless: Array(2 ** 32 - 1),
};

/** As `changed`, with a getter that throws. */
function withGetter(place: readonly (string | number)[]): unknown {
  const definition: unknown = structuredClone(plainConfig);
  const parent = place.slice(0, -1).reduce<unknown>((at, key) => Reflect.get(Object(at), key), definition);
  Object.defineProperty(parent, place.at(-1) ?? "", {
    enumerable: true,
    get: () => {
      throw new Error("not now");
    },
  });
  return definition;
}

/** What a bad config ends in; null: it was good. */
function refusal(definition: unknown): RowmillError | null {
  try {
    validateConfig(definition, origin);
    return null;
  } catch (error) {
    if (error instanceof RowmillError) return error;
    throw error;
  }
}

function expectPlace(error: RowmillError): void {
  expect(error.code).toBe("config_invalid");
  expect(error.message).toContain(origin.file);
  expect(textProblem(error.message)).toBeNull();
  if (error instanceof ConfigError) expect(error.problems.length).toBeGreaterThan(0);
}

function pathOf(place: readonly (string | number)[]): string {
  return place
    .map((key) => (typeof key === "number" ? `[${key}]` : `.${key}`))
    .join("")
    .slice(1);
}

describe("A bad config", () => {
  const leaves = placesIn(plainConfig).filter((place) => place.length > 2);

  it("is refused with the place, whatever value stands where it cannot", () => {
    fc.assert(
      fc.property(fc.constantFrom(...leaves), fc.constantFrom("getter", ...Object.keys(neverRight)), (place, name) => {
        const error = refusal(name === "getter" ? withGetter(place) : changed(plainConfig, place, neverRight[name]));
        expect(error, `${pathOf(place)}: ${name}`).toBeInstanceOf(ConfigError);
        if (error === null) return;
        expectPlace(error);
        const paths = error instanceof ConfigError ? error.problems.map((problem) => problem.path) : [];
        expect(paths.some((path) => path.startsWith(pathOf(place)))).toBe(true);
      }),
      fuzz("configPlaces"),
    );
  });

  it("is read or refused, never more, whatever JSON it is made of", () => {
    const strange = fc.oneof(
      mutated(config),
      mutated(plainConfig),
      oddJson,
      fc.dictionary(oddText, fc.constant(plainFilms)).map((pipelines) => ({ ...config, pipelines })),
      fc.dictionary(oddText, oddJson).map((more) => ({ ...config, pipelines: { films: { ...plainFilms, ...more } } })),
      fc.anything({
        withBigInt: true,
        withDate: true,
        withMap: true,
        withNullPrototype: true,
        withSparseArray: true,
      }),
    );
    fc.assert(
      fc.property(strange, (definition) => {
        const error = refusal(definition);
        if (error !== null) expectPlace(error);
      }),
      fuzz("configValues"),
    );
  });

  const zodTypes = fc.constantFrom<() => unknown>(
    () => z.string(),
    () => z.date(),
    () => z.any(),
    () => z.map(z.string(), z.string()),
    () => z.lazy(() => JSON.parse("{") as z.ZodType),
    () => z.object({}),
    () => z.literal([]),
    () => ({ _zod: null }),
    () => ({ _zod: { def: { type: "object" } } }),
    () => ({ _zod: { def: { type: "union", options: 3 } } }),
    () => ({ _def: {} }),
    () =>
      z.object({
        get later(): z.ZodType {
          throw new ReferenceError("Cannot access 'Later' before initialization");
        },
      }),
    () => {
      const self: z.ZodType = z.object({
        get again() {
          return z.array(self);
        },
      });
      return self;
    },
    () => throwing,
    () => null,
  );

  it("with an answer that cannot be asked for is refused with the place", () => {
    const answers = fc.oneof(
      zodTypes.map((make) => make()),
      fc.tuple(oddText, zodTypes).map(([name, make]) => {
        const field = make();
        return z.object(Object.fromEntries([[name, field instanceof z.ZodType ? field : z.string()]]));
      }),
      mutated(films.answer),
      fc.tuple(oddText, oddJson).map(([name, rule]) => ({
        type: "object",
        properties: {
          summary: Object.fromEntries([
            ["type", "string"],
            [name, rule],
          ]),
        },
      })),
    );
    fc.assert(
      fc.property(answers, fc.constantFrom("json" as const, "script" as const), (answer, language) => {
        const definition = { pipelines: { films: { ...films, target: { table: "labels" }, answer } } };
        try {
          validateConfig(definition, { ...origin, language, databaseUrl: config.database });
        } catch (error) {
          if (!(error instanceof ConfigError)) throw error;
          expectPlace(error);
          for (const { path } of error.problems) expect(path).toMatch(/^pipelines\.films\.(answer|target)/);
        }
      }),
      fuzz("answerSchemas"),
    );
  });

  describe("in a file of JSON", () => {
    let folder: string;
    beforeAll(async () => {
      folder = await mkdtemp(join(tmpdir(), "rowmill-fuzz-"));
    });
    afterAll(async () => {
      await rm(folder, { recursive: true, force: true });
    });

    it("is refused with the file, and with line and column where it is no JSON", async () => {
      const file = join(folder, "rowmill.config.json");
      await fc.assert(
        fc.asyncProperty(fc.oneof(torn(JSON.stringify(plainConfig, null, 2)), oddText), async (text) => {
          await writeFile(file, text);
          try {
            await loadConfig({ file, cwd: folder, env: {} });
          } catch (error) {
            if (!(error instanceof RowmillError)) throw error;
            expect(error.message).toContain(file);
            if (!(error instanceof ConfigError)) expect(error.message).toMatch(/json:\d+:\d+: not valid JSON/);
          }
        }),
        fuzz("configTexts"),
      );
    });
  });
});
