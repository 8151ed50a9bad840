/**
 * The demo's project: the example `examples/movies` with an embedded database, as a user would have it in a folder. Made anew or
 * found as a former demo left it; nothing in it is overwritten, so answers that were paid for stay.
 */
import { mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { parse } from "csv-parse/sync";
import { exists } from "../../embedded/file-errors.js";
import { RowmillError } from "../../model/errors.js";
import { sql, type Database } from "../../postgres/database.js";

/** Ships with the package. */
const example = new URL("../../../examples/movies/", import.meta.url);
const DATABASE_FROM_VARIABLE = 'database: process.env["DATABASE_URL"]';

/** Writes the example's config into the folder, unless one is there. */
export async function writeDemoConfig(folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  const file = join(folder, "rowmill.config.ts");
  if (await exists(file)) return;
  const text = await readFile(new URL("rowmill.config.ts", example), "utf8");
  if (!text.includes(DATABASE_FROM_VARIABLE))
    throw new RowmillError(
      "internal",
      "The example's config does not name its database as the demo expects.",
    );
  await writeFile(file, text.replace(DATABASE_FROM_VARIABLE, 'database: "embedded"'));
}

/** The films, once; returns how many there are. */
export async function loadFilms(database: Database): Promise<number> {
  const films = parse(await readFile(new URL("movies.csv", example), "utf8"), { columns: true });
  await database.run(sql`create table if not exists public.movies (id bigint primary key, title text not null, year integer not null,
    genres text not null, director text not null, description text not null)`);
  await database.run(sql`insert into public.movies select * from json_to_recordset(${JSON.stringify(films)}::json)
    as x (id bigint, title text, year integer, genres text, director text, description text) on conflict (id) do nothing`);
  return films.length;
}
