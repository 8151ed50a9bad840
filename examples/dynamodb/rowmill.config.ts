import { defineConfig, dynamodb, pipeline, z } from "rowmill";

export default defineConfig({
  database: process.env["DATABASE_URL"],
  pipelines: {
    films: pipeline({
      source: dynamodb({ table: "films", key: "id", columns: ["title", "description"] }),
      when: { rows: 1000, maxWait: "0s" },
      request: { model: "gpt-4o-mini", user: "Summarize {{ title }}: {{ description }}" },
      answer: z.object({ summary: z.string(), categories: z.array(z.string()) }),
      // The same table: each answer goes into the item that it belongs to.
      target: dynamodb({ table: "films" }),
      // Short, because the local gateway answers in seconds; leave it out for a real provider.
      polling: { min: "1s" },
    }),
  },
});
