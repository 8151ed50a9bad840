import { defineConfig, pipeline, z, type AnswerOf } from "rowmill";

const movies = pipeline({
  // Names as they are in the database, capitals included, without quotes.
  source: { table: "imdb_dataset", key: "imdb_id", columns: ["Title", "Description"] },
  when: { rows: 1000, maxWait: "10m" },
  request: {
    model: "gpt-4o-mini",
    temperature: 0.1,
    maxOutputTokens: 300,
    system: "Extract the categories of the movie and a one-sentence summary.",
    user: (row) => row.Description,
  },
  answer: z.object({
    categories: z.array(z.string()).describe("lower-case genres, at most four"),
    summary: z.string(),
  }),
  target: { table: "movie_labels" },
  // Short, because the local gateway answers in seconds; leave it out for a real provider.
  polling: { min: "1s" },
  budget: { usd: 5, per: "day" },
});

// From .env: the session pooler's string, or the direct one. docs/supabase.md says where
// both are, and how to verify the server.
export default defineConfig({ database: process.env["DATABASE_URL"], pipelines: { movies } });
export type MovieLabel = AnswerOf<typeof movies>;
