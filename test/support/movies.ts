/** The table of the tutorial, filled, and compared with its target. */
import { films } from "./films.js";
export { moviesPipeline, quick } from "./movies-pipeline.js";
import { sql, type TestProject } from "./project.js";

export async function createMovies(project: TestProject): Promise<void> {
  await project.run(
    sql`create table public.imdb_dataset (imdb_id bigint primary key, "Title" text, "Description" text)`,
  );
}

export async function insertMovies(project: TestProject, rows = films()): Promise<void> {
  await project.run(sql`insert into public.imdb_dataset select x.id, x.title, x.description
    from json_to_recordset(${JSON.stringify(rows)}::json) as x (id bigint, title text, description text)`);
}

/** Rows of the source whose label is missing or was made from another text, and labels without a row. */
export async function differences(project: TestProject): Promise<{ missing: number; superfluous: number }> {
  const [row] = await project.rows<{ missing: number; superfluous: number }>(sql`
    select (select count(*)::int
    from public.imdb_dataset s
    left join public.movie_labels t using (imdb_id)
    where t.summary is null) as missing,
      (select count(*)::int
      from public.movie_labels t
      left join public.imdb_dataset s using (imdb_id)
      where s.imdb_id is null) as superfluous`);
  return row ?? { missing: -1, superfluous: -1 };
}

/** How often each content was executed by the model, sorted: `[1, 1, …]` when nothing was asked twice. */
export async function executions(project: TestProject): Promise<number[]> {
  const journal = await project.gateway.journal.summary();
  return [...journal.executedByContent.values()].sort((a, b) => b - a);
}
