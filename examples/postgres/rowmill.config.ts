import { defineConfig, pipeline, z, type AnswerOf } from "rowmill";

const tickets = pipeline({
  source: {
    table: "support.tickets",
    key: ["account", "number"],
    columns: ["subject", "body"],
    // What is closed is not asked.
    where: "status <> 'closed'",
  },
  // A help desk does not wait for a thousand tickets.
  when: { rows: 200, maxWait: "2m" },
  request: {
    model: "gpt-4o-mini",
    temperature: 0,
    maxOutputTokens: 200,
    system: "You sort the mail of a help desk. Judge only by what is written.",
    user: (row) => `${row.subject}\n\n${row.body}`,
  },
  answer: z.object({
    category: z.enum(["billing", "fault", "access", "question", "cancellation", "praise"]),
    urgency: z.int().min(1).max(5).describe("1: no hurry, 5: somebody cannot work"),
    summary: z.string().describe("one sentence"),
  }),
  // Beyond the schema: what is refused here is sent again, up to `attempts`.
  validate: (answer) => (answer.summary.length > 300 ? "the summary is longer than 300 characters" : null),
  attempts: 2,
  target: { table: "support.triage" },
  // Short, because the local gateway answers in seconds; leave it out for a real provider.
  polling: { min: "1s" },
  budget: { usd: 2, per: "day" },
});

export default defineConfig({ database: process.env["DATABASE_URL"], pipelines: { tickets } });
export type Triage = AnswerOf<typeof tickets>;
