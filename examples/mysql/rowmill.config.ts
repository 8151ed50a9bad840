import { defineConfig, mysql, pipeline, z } from "rowmill";

const table = { url: process.env["SHOP_URL"], table: "reviews" };

export default defineConfig({
  database: process.env["DATABASE_URL"],
  pipelines: {
    reviews: pipeline({
      source: mysql({ ...table, key: "id", columns: ["product", "text"], cursor: "changed_at" }),
      when: { rows: 1000, maxWait: "0s" },
      request: { model: "gpt-4o-mini", user: "A review of the product {{ product }}: {{ text }}" },
      answer: z.object({
        sentiment: z.enum(["good", "mixed", "bad"]),
        topics: z.array(z.string()),
        summary: z.string(),
      }),
      // The same table: each answer goes into the row that was sent.
      target: mysql({ ...table, addColumns: true }),
      // Short, because the local gateway answers in seconds; leave it out for a real provider.
      polling: { min: "1s" },
    }),
  },
});
