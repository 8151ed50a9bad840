/**
 * Wrong configs, each red in the editor: exactly one error follows each directive, in all property orders.
 * `config-types.test.ts` also strips the directives and counts the errors.
 */
import {
  defineConfig,
  defineSource,
  defineTarget,
  files,
  json,
  pipeline,
  postgres,
  push,
  z,
  type AnswerOf,
  type Duration,
} from "rowmill";

const source = { table: "films", key: "id", columns: ["Title", "Description"] } as const;
const answer = z.object({ genre: z.enum(["drama", "comedy"]), year: z.number().int() });
const target = { table: "labels" } as const;
const request = { model: "gpt-4o-mini", user: "{{ Title }}" } as const;

export const misspeltColumnInUser = pipeline({
  source: { table: "films", key: "id", columns: ["Title", "Description"] },
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: (row) => row.Descriptoin },
  target,
});

export const misspeltPushedColumn = pipeline({
  source: push({ key: "id", columns: ["Title", "Description"] }),
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: (row) => row.Descriptoin },
  target,
});

export const pushWithATable = pipeline({
  // @ts-expect-error
  source: push({ key: "id", columns: ["Title"], table: "films" }),
  request,
  target,
});

export const misspeltColumnOfASourceElsewhere = pipeline({
  source: defineSource({
    key: "id",
    columns: ["Title"],
    // @ts-expect-error
    async *rows() {
      yield [{ id: 1, Titel: await Promise.resolve("M") }];
    },
  }),
  request,
  target,
});

export const misspeltColumnReadElsewhere = pipeline({
  source: postgres({ url: "", table: "films", key: "id", columns: ["Title"] }),
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: (row) => row.Titel },
  target,
});

export const misspeltColumnOfAFile = pipeline({
  source: files("inbox/*.csv", { key: "id", columns: ["Title"] }),
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: (row) => row.Titel },
  target,
});

// @ts-expect-error
export const fileOfAnUnknownFormat = files("out/labels.xlsx", { format: "xlsx" });

export const rowsOfFilesAsATarget = pipeline({
  source,
  request,
  answer,
  // @ts-expect-error
  target: files("out/*.csv", { key: "id", columns: ["Title"] }),
});

export const keepWithoutAUnit = pipeline({
  // @ts-expect-error
  source: push({ key: "id", columns: ["Title"], keep: 30 }),
  request,
  target,
});

export const misspeltColumnInUserBeforeSource = pipeline({
  target,
  // @ts-expect-error
  request: { user: (row) => row.Descriptoin, model: "gpt-4o-mini" },
  source: { columns: ["Title", "Description"], key: "id", table: "films" },
});

export const misspeltColumnInSystem = pipeline({
  // @ts-expect-error
  request: { model: "gpt-4o-mini", system: (row) => row.title ?? "", user: "{{ Title }}" },
  source,
  target,
});

export const keyIsNotInTheRow = pipeline({
  source: { table: "films", key: ["id", "lang"], columns: ["Title"] },
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: (row) => row.lang },
  target,
});

export const cellMayBeNull = pipeline({
  source,
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: (row) => row.Title.toUpperCase() },
  target,
});

export const userReturnsNumber = pipeline({
  source,
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: (row) => Number(row.Title) },
  target,
});

export const userIsAsync = pipeline({
  source,
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: async (row) => row.Title },
  target,
});

export const priceWithoutOutput = pipeline({
  source,
  // @ts-expect-error
  request: { model: "my-model", user: "{{ Title }}", price: { input: 1 } },
  target,
});

export const misspeltColumnInValidate = pipeline({
  source,
  request,
  answer,
  // @ts-expect-error
  validate: (given, row) => (row.Titel === given.genre ? "no" : null),
  target,
});

export const misspeltFieldInValidateBeforeAll = pipeline({
  // @ts-expect-error
  validate: (given) => (given.gender === "drama" ? "no" : null),
  target,
  answer,
  request,
  source,
});

export const misspeltFieldInDelivery = pipeline({
  source,
  request,
  answer,
  target: {
    write: async (changes) => {
      // @ts-expect-error
      for (const change of changes) if ("cells" in change) throw new Error(change.cells.gender);
    },
  },
});

export const targetOfAnotherAnswer = pipeline({
  source,
  request,
  answer,
  // @ts-expect-error
  target: defineTarget<{ gender: string }>({ write: async () => undefined }),
});

export const validateReturnsBoolean = pipeline({
  source,
  request,
  answer,
  // @ts-expect-error
  validate: (given) => given.year > 1900,
  target,
});

export const enumValueThatCannotBe = pipeline({
  source,
  request,
  // @ts-expect-error
  validate: (given) => (given.genre === "horror" ? "no" : null),
  answer,
  target,
});

export const jsonAnswerHasNoFields = pipeline({
  source,
  request,
  answer: json(),
  // @ts-expect-error
  target: { table: "labels", columns: { genre: "g" } },
});

export const jsonAnswerIsNoText = pipeline({
  source,
  request,
  answer: json(),
  // @ts-expect-error
  validate: (given) => (given === "x" ? "no" : null),
  target,
});

export const textAnswerHasNoFields = pipeline({
  source,
  request,
  // @ts-expect-error
  validate: (given) => given.summary,
  target,
});

export const misspeltFieldInTargetColumns = pipeline({
  source,
  request,
  answer,
  // @ts-expect-error
  target: { table: "labels", columns: { gener: "genre" } },
});

export const misspeltFieldInTargetColumnsFirst = pipeline({
  // @ts-expect-error
  target: { columns: { yaer: "year" }, table: "labels" },
  answer,
  request,
  source,
});

export const fieldOfTextAnswer = pipeline({
  source,
  request,
  // @ts-expect-error
  target: { table: "labels", columns: { summary: "opinion" } },
});

export const columnNameIsNoText = pipeline({
  source,
  request,
  answer,
  // @ts-expect-error
  target: { table: "labels", columns: { genre: 1 } },
});

// @ts-expect-error
export const durationInWords: Duration = "10 minutes";

export const durationWithoutUnit = pipeline({
  source,
  // @ts-expect-error
  when: { rows: 10, maxWait: "10" },
  request,
  target,
});

export const durationAsNumber = pipeline({
  source,
  // @ts-expect-error
  when: { maxWait: 600 },
  request,
  target,
});

export const durationWithFraction = pipeline({
  source,
  request,
  target,
  // @ts-expect-error
  polling: { min: "1.5s" },
});

export const durationWithUnknownUnit = pipeline({
  source,
  request,
  target,
  // @ts-expect-error
  reconcile: { window: "2min" },
});

export const unknownKey = pipeline({
  source,
  request,
  target,
  // @ts-expect-error
  retries: 3,
});

export const misspeltKeyInside = pipeline({
  source,
  // @ts-expect-error
  when: { row: 1000 },
  request,
  target,
});

export const wireNameInsteadOfKey = pipeline({
  source,
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: "{{ Title }}", max_tokens: 10 },
  target,
});

export const wrongPeriod = pipeline({
  source,
  request,
  target,
  // @ts-expect-error
  budget: { usd: 5, per: "week" },
});

export const budgetWithoutPeriod = pipeline({
  source,
  request,
  target,
  // @ts-expect-error
  budget: { usd: 5 },
});

export const rowsAsText = pipeline({
  source,
  // @ts-expect-error
  when: { rows: "1000" },
  request,
  target,
});

export const wrongExisting = pipeline({
  // @ts-expect-error
  source: { table: "films", key: "id", columns: ["Title"], existing: "ignore" },
  request,
  target,
});

export const wrongOnGone = pipeline({
  // @ts-expect-error
  source: { table: "films", key: "id", columns: ["Title"], onGone: "keep" },
  request,
  target,
});

export const wrongAccess = pipeline({
  source,
  request,
  // @ts-expect-error
  target: { table: "labels", access: "public" },
});

export const wrongReasoningEffort = pipeline({
  source,
  // @ts-expect-error
  request: { model: "gpt-5-mini", user: "{{ Title }}", reasoningEffort: "lots" },
  target,
});

export const temperatureExplicitlyUndefined = pipeline({
  source,
  // @ts-expect-error
  request: { model: "gpt-4o-mini", user: "{{ Title }}", temperature: undefined },
  target,
});

export const answerIsNoSchema = pipeline({
  source,
  request,
  // @ts-expect-error
  answer: { genre: "string" },
  target,
});

// @ts-expect-error
export const targetMissing = pipeline({ source, request });

// @ts-expect-error
export const modelMissing = pipeline({ source, request: { user: "{{ Title }}" }, target });

const films = pipeline({ answer, source, target, request });

// @ts-expect-error
export const genreThatCannotBe: AnswerOf<typeof films> = { genre: "horror", year: 1999 };

// @ts-expect-error
export const answerWithoutYear: AnswerOf<typeof films> = { genre: "drama" };

// @ts-expect-error
export const misspeltConfigKey = defineConfig({ pipeline: { films } });

// @ts-expect-error
export const plainObject = defineConfig({ pipelines: { films: { source, request, target } } });

// @ts-expect-error
export const databaseAsObject = defineConfig({ database: { host: "localhost" }, pipelines: { films } });
