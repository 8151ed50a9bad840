import { defineConfig, pipeline, sqlite, z, type AnswerOf } from "rowmill";

const url = "file:films.db";

const films = pipeline({
  source: sqlite({ url, table: "films", key: "id", columns: ["title", "description"], cursor: "updated_at" }),
  request: {
    model: "gpt-4o-mini",
    temperature: 0,
    maxOutputTokens: 200,
    user: "{{ title }}\n\n{{ description }}",
    system: "Sum up the film in one sentence, and name its categories.",
  },
  answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
  // The same table: the answers are new columns of it.
  target: sqlite({ url, table: "films", addColumns: true }),
  // Short, because the local gateway answers in seconds; leave it out for a real provider.
  polling: { min: "1s" },
});

export default defineConfig({ database: process.env["DATABASE_URL"], pipelines: { films } });
export type Film = AnswerOf<typeof films>;
