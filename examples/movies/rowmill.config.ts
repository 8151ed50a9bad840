import { defineConfig, pipeline, z, type AnswerOf } from "rowmill";

const movies = pipeline({
  source: { table: "movies", key: "id", columns: ["title", "description"] },
  // Whichever comes first.
  when: { rows: 1000, maxWait: "10m" },
  request: {
    model: "gpt-4o-mini",
    temperature: 0.1,
    maxOutputTokens: 300,
    system: "Extract the categories of the movie and a one-sentence summary.",
    user: "{{ title }}\n\n{{ description }}",
  },
  answer: z.object({
    categories: z.array(z.string()).describe("lower-case genres, at most four"),
    summary: z.string(),
  }),
  // Made by Rowmill, with a typed column for each field of the answer.
  target: { table: "movie_labels" },
  // Short, because the local gateway answers in seconds; leave it out for a real provider.
  polling: { min: "1s" },
  budget: { usd: 5, per: "day" },
});

export default defineConfig({ database: process.env["DATABASE_URL"], pipelines: { movies } });
export type MovieLabel = AnswerOf<typeof movies>;
