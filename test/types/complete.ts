import { defineConfig, json, openai, pipeline, push, z, type AnswerOf } from "rowmill";

const movies = pipeline({
  provider: openai({ organization: "org-films", apiKey: process.env.FILMS_KEY }),
  source: {
    table: "public.imdb_dataset",
    key: ["imdb_id", "lang"],
    columns: ["Title", "Description"],
    where: "lang = 'en'",
    existing: "include",
    onGone: "drop",
  },
  when: { rows: 1000, maxWait: "10m" },
  batch: { maxRequests: 20_000, maxBytes: 100_000_000 },
  request: {
    model: "gpt-4o-mini",
    system: "Extract the categories of the movie {{ Title }} and a one-sentence summary.",
    user: (row) => row.Description,
    maxOutputTokens: 300,
    temperature: 0.1,
    topP: 1,
    seed: 7,
    stop: ["\n\n"],
    presencePenalty: 0,
    frequencyPenalty: 0,
    price: { input: 0.15, cachedInput: 0.075, output: 0.6 },
  },
  answer: z.object({
    categories: z.array(z.string()).describe("lower-case genres, at most four"),
    summary: z.string(),
  }),
  validate: (answer, row) => (answer.summary === row.Description ? "the summary repeats the description" : null),
  attempts: 3,
  target: {
    table: "movie_labels",
    columns: { categories: "genres", summary: "one_line" },
    access: "private",
    addColumns: false,
    trustOwner: false,
  },
  budget: { usd: 5, per: "day" },
  approveAboveUsd: 1,
  onChange: "ask",
  dedupe: true,
  limit: 5000,
  polling: { min: "15s", max: "5m" },
  files: { keep: false },
  reconcile: { window: "2m", unknown: "ask" },
});

const opinions = pipeline({
  source: { table: "reviews", key: "id", columns: ["body"] },
  request: {
    model: "gpt-5-mini",
    reasoningEffort: "low",
    user: "What does the writer think of the film, in one sentence? {{ body }}",
  },
  target: { table: "reviews", columns: { answer: "opinion" }, addColumns: true },
});

const facts = pipeline({
  source: { table: "products", key: "id", columns: ["body", "meta"] },
  request: {
    model: "gpt-4o-mini",
    user: "{{ meta.title }}: {{ body }}",
    system: "List what the text says about the product, as a JSON object.",
  },
  answer: json(),
  target: { table: "product_facts", columns: { answer: "facts" } },
});

const sent = pipeline({
  source: push({
    key: "imdb_id",
    columns: ["Title", "Description"],
    version: "updated_at",
    keep: "forever",
    onGone: "drop",
  }),
  request: { model: "gpt-4o-mini", user: "Sum up the film {{ Title }}: {{ Description }}" },
  target: { table: "film_summaries", columns: { answer: "summary" } },
});

export default defineConfig({
  database: process.env.DATABASE_URL,
  http: "127.0.0.1:8788",
  pipelines: { movies, opinions, facts, sent },
});
export type MovieLabel = AnswerOf<typeof movies>; // { categories: string[]; summary: string }
export type Opinion = AnswerOf<typeof opinions>; // string
export type Facts = AnswerOf<typeof facts>; // any JSON object
