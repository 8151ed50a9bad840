/** The table of films that tests of the command line work on. */
import { sql } from "../../src/postgres/database.js";
import type { CliProject } from "./cli.js";
import { films } from "./films.js";

export async function createFilms(project: CliProject): Promise<void> {
  await project.database.run(sql`create table films (id bigint primary key, title text, description text)`);
}

/** Films with the ids `from` to `from + count - 1`. */
export async function insertFilms(project: CliProject, count: number, from = 0): Promise<void> {
  const rows = films()
    .slice(0, count)
    .map((film, index) => ({
      ...film,
      id: from + index,
      description: `${film.description} (${from + index})`,
    }));
  await project.database.run(sql`insert into films select * from json_to_recordset(${JSON.stringify(rows)}::json)
    as x (id bigint, title text, description text)`);
}

export async function countLabels(project: CliProject): Promise<number> {
  const row = await project.database.first<{ count: number }>(
    sql`select count(*)::int as count from film_labels where summary is not null`,
  );
  return row?.count ?? 0;
}
