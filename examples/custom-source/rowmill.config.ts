import { defineConfig, defineSource, pipeline, z } from "rowmill";

const page = z.object({
  films: z.array(z.object({ id: z.number(), title: z.string(), description: z.string() })),
  next: z.string().nullable(),
  now: z.number(),
});
/** What the API shows later than its time says is still read. */
const overlapMs = 300_000;

const films = defineSource({
  key: "id",
  columns: ["title", "description"],
  every: "1m",
  async *rows({ since, place, signal }) {
    const start = `/films?changed_since=${Number(since) - overlapMs}`;
    for (let path = place === null ? start : String(place); path !== "";) {
      const reply = await fetch(`${process.env["FILMS_API"]}${path}`, { signal });
      if (!reply.ok) throw new Error(`The films answered ${reply.status}.`);
      const { films, next, now } = page.parse(await reply.json());
      // The mark is of the first page: what changes while the others are read is read again.
      yield { rows: films, place: next, mark: path === start ? now : null };
      path = next ?? "";
    }
  },
});

export default defineConfig({
  database: process.env["DATABASE_URL"],
  pipelines: {
    films: pipeline({
      source: films,
      when: { rows: 1000, maxWait: "0s" },
      request: { model: "gpt-4o-mini", user: "Summarize {{ title }}: {{ description }}" },
      answer: z.object({ summary: z.string() }),
      target: { table: "film_summaries" },
      // Short, because the local gateway answers in seconds; leave it out for a real provider.
      polling: { min: "1s" },
    }),
  },
});
