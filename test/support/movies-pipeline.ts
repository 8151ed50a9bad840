/** The pipeline of the tutorial, as most tests use it. Imports nothing of vitest: child processes run it too. */
import { pipeline, z } from "../../src/index.js";

export const movieAnswer = z.object({
  categories: z.array(z.string()).describe("lower-case genres, at most four"),
  summary: z.string(),
});

/** Quick polling, and nothing is sent before it is flushed. */
export const quick = {
  when: { rows: 1_000, maxWait: "10m" },
  polling: { min: "20ms", max: "1s" },
} as const;

export function moviesPipeline() {
  return pipeline({
    source: { table: "imdb_dataset", key: "imdb_id", columns: ["Title", "Description"] },
    ...quick,
    request: {
      model: "gpt-4o-mini",
      temperature: 0.1,
      maxOutputTokens: 200,
      system: "Extract the categories of the movie and a one-sentence summary.",
      user: (row) => row.Description,
    },
    answer: movieAnswer,
    target: { table: "movie_labels" },
  });
}
