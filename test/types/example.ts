import { defineConfig, pipeline, z, type AnswerOf } from "rowmill";

const movies = pipeline({
  source: { table: "imdb_dataset", key: "imdb_id", columns: ["Title", "Description"] },
  when: { rows: 1000, maxWait: "10m" },
  request: {
    model: "gpt-4o-mini",
    temperature: 0.1,
    system: "Extract the categories of the movie and a one-sentence summary.",
    user: (row) => row.Description,
  },
  answer: z.object({
    categories: z.array(z.string()).describe("lower-case genres, at most four"),
    summary: z.string(),
  }),
  target: { table: "movie_labels" },
  budget: { usd: 5, per: "day" },
});

export default defineConfig({ database: process.env.DATABASE_URL, pipelines: { movies } });
export type MovieLabel = AnswerOf<typeof movies>;
