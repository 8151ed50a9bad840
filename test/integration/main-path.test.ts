import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { describeDatabases } from "../support/databases.js";
import { films } from "../support/films.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const movies = pipeline({
  source: { table: "imdb_dataset", key: "imdb_id", columns: ["Title", "Description"] },
  when: { rows: 1000, maxWait: "10m" },
  polling: { min: "200ms", max: "1s" },
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
});

describeDatabases("The whole path", (kind) => {
  let project: TestProject;
  beforeEach(async () => {
    project = await startProject(kind);
    await project.run(
      sql`create table public.imdb_dataset (imdb_id bigint primary key, "Title" text, "Description" text)`,
    );
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  async function load(): Promise<void> {
    await project.run(sql`insert into public.imdb_dataset select x.id, x.title, x.description
      from json_to_recordset(${JSON.stringify(films())}::json) as x (id bigint, title text, description text)`);
  }

  it("answers rows that are there before the pipeline, each exactly once", async () => {
    await load();
    const worker = await project.worker({ movies });
    await project.drain(worker);
    const [target] = await project.rows<{ rows: number; empty: number }>(sql`
      select count(*)::int as rows, count(*) filter (where summary is null or categories is null)::int as empty from public.movie_labels`);
    expect(target).toEqual({ rows: 1_000, empty: 0 });
    const journal = await project.gateway.journal.summary();
    expect(journal.executed).toBe(1_000);
    expect([...journal.executedByCustomId.values()].every((times) => times === 1)).toBe(true);
  });
});
