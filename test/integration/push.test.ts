import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, push, z } from "../../src/index.js";
import { sql } from "../../src/postgres/database.js";
import * as pushes from "../../src/store/replicas/pushes.js";
import * as replicaRows from "../../src/store/replicas/replica-rows.js";
import * as replicas from "../../src/store/replicas/replicas.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { runJanitor } from "../../src/worker/rounds/janitor.js";
import { describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";

const source = { key: "imdb_id", columns: ["Title", "Description"] } as const;

function movies(more: { version?: string; columns?: readonly string[]; keep?: "30d" } = {}) {
  const columns = more.columns ?? source.columns;
  const keep = more.keep === undefined ? {} : { keep: more.keep };
  return {
    movies: pipeline({
      source: push({ ...source, columns, ...keep, ...(more.version === undefined ? {} : { version: more.version }) }),
      polling: { min: "10ms", max: "10ms" },
      request: {
        model: "gpt-4o-mini",
        user: `Sum up: ${columns.map((name) => `{{ ${name} }}`).join(". ")}`,
        maxOutputTokens: 100,
      },
      answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
      target: { table: "movie_labels" },
    }),
  };
}

describeDatabases("Pushed rows", (kind) => {
  let project: TestProject;
  beforeEach(async () => {
    project = await startProject(kind);
  });
  afterEach(() => project.close());

  const pushed = (rows: readonly object[] | readonly string[]) =>
    pushes.push(
      project.database,
      "movies",
      rows.map((row) => (typeof row === "string" ? row : JSON.stringify(row))),
    );
  const stored = () =>
    project.rows(sql`select imdb_id, "Title", "Description" from rowmill_data.movies order by imdb_id`);
  const films = (count: number, title = "Heat") =>
    Array.from({ length: count }, (_, id) => ({ imdb_id: id, Title: `${title} ${id}`, Description: `A film, ${id}.` }));

  it("are answered like those of a table, and a changed one again", async () => {
    const worker = await project.worker(movies());
    expect(await pushed(films(20))).toEqual({ accepted: 20, unchanged: 0, older: 0, refused: 0, problems: [] });
    await project.drain(worker);
    expect(await pushed(films(20))).toMatchObject({ accepted: 0, unchanged: 20 });
    expect(await pushed([{ imdb_id: 3, Title: "Other", Description: "A film, 3." }])).toMatchObject({ accepted: 1 });
    await project.drain(worker);
    expect(await project.rows(sql`select count(*)::int as n from public.movie_labels`)).toEqual([{ n: 20 }]);
    expect((await project.gateway.journal.summary()).executed).toBe(21);
    await project.check();
  });

  it("keep the text of numbers, ignore other fields, and take a missing one as null", async () => {
    await project.worker(movies());
    await pushed([
      '{"imdb_id": 9007199254740993, "Title": 1.10, "rn": 5}',
      '{"imdb_id":"b","Title":{"a":[1]},"Description":true}',
    ]);
    expect(await stored()).toEqual([
      { imdb_id: "9007199254740993", Title: "1.10", Description: null },
      { imdb_id: "b", Title: '{"a":[1]}', Description: "true" },
    ]);
  });

  it("are refused one by one, with the reason", async () => {
    await project.worker(movies());
    const { accepted, refused, problems } = await pushed([
      "5",
      '["imdb_id"]',
      '{"Title": "x"}',
      '{"imdb_id": null}',
      '{"imdb_id": ""}',
      JSON.stringify({ imdb_id: "k".repeat(1_025) }),
      JSON.stringify({ imdb_id: "large", Title: "x".repeat(4_194_304) }),
      '{"imdb_id": "good"}',
    ]);
    expect({ accepted, refused }).toEqual({ accepted: 1, refused: 7 });
    expect(problems.map(({ row, reason }) => [row, reason])).toEqual([
      [0, "it is not a JSON object"],
      [1, "it is not a JSON object"],
      [2, "its key is missing or null"],
      [3, "its key is missing or null"],
      [4, "its key is an empty text"],
      [5, "its key has more than 1,024 bytes"],
      [6, "it is larger than 4 MiB"],
    ]);
  });

  it("count once where a key comes twice: the last one", async () => {
    await project.worker(movies());
    expect(
      await pushed([
        { imdb_id: 1, Title: "a" },
        { imdb_id: 1, Title: "b" },
      ]),
    ).toMatchObject({ accepted: 1 });
    expect(await stored()).toEqual([{ imdb_id: "1", Title: "b", Description: null }]);
  });

  it("never replace a newer version, in any order", async () => {
    await project.worker(movies({ version: "v" }));
    const row = (v: unknown, Title: string) => ({ imdb_id: 1, Title, v });
    expect(await pushed([row(2, "two"), row(10, "ten"), row(9, "nine")])).toMatchObject({ accepted: 1, older: 0 });
    expect(await pushed([row(9, "nine")])).toMatchObject({ accepted: 0, older: 1, unchanged: 0 });
    expect(await pushed([row("10", "ten")])).toMatchObject({ accepted: 0, older: 0, unchanged: 1 });
    expect(await pushed([{ imdb_id: 1, Title: "none" }])).toMatchObject({
      refused: 1,
      problems: [{ row: 0, key: "1", reason: "its version is missing or null" }],
    });
    expect(await stored()).toMatchObject([{ Title: "ten" }]);
    expect(await pushed([row("2026-01-01T00:00:00Z", "date")])).toMatchObject({ accepted: 1 });
  });

  it("begin without versions when another field says them", async () => {
    const film = (id: number, more: object) => ({ imdb_id: id, Title: "M", ...more });
    const first = await project.worker(movies({ version: "day" }));
    await pushed([film(1, { day: "2026-01-02" }), film(2, { day: "2026-01-02" })]);
    await project.drain(first);
    const replica = await replicas.replicaOf(project.database, "movies");
    if (replica === null) throw new Error("There is no such pipeline.");
    await project.database.transaction((tx) => replicaRows.removeRow(tx, replica, "2"));
    // Numbers are older than texts.
    const second = await project.worker(movies({ version: "rev" }));
    const rows = (rev: number) => [film(1, { rev }), film(2, { rev })];
    expect(await pushed(rows(5))).toMatchObject({ accepted: 2, older: 0 });
    expect(await pushed(rows(4))).toMatchObject({ accepted: 0, older: 2 });
    await project.drain(second);
    expect((await project.gateway.journal.summary()).executed).toBe(2);
    await project.worker(movies());
    expect(await pushed([film(1, { Description: "without one" })])).toMatchObject({ accepted: 1 });
    await project.check();
  });

  it("of before an added column do not count until they are pushed again", async () => {
    const first = await project.worker(movies({ columns: ["Title"] }));
    await pushed(films(3));
    await project.drain(first);
    const second = await project.worker(movies());
    await project.drain(second);
    expect((await project.gateway.journal.summary()).executed).toBe(3);
    await pushed(films(2));
    await project.drain(second);
    expect((await project.gateway.journal.summary()).executed).toBe(5);
    expect(
      await project.rows(sql`select state::text, count(*)::int as n from rowmill.requests group by 1 order by 1`),
    ).toEqual([
      { state: "gone", n: 1 },
      { state: "succeeded", n: 2 },
    ]);
    await project.check();
  });

  it("come from SQL in the caller's own transaction too", async () => {
    await project.worker(movies());
    const list = JSON.stringify(films(2));
    expect(await project.rows(sql`select accepted, refused from rowmill.push('movies', ${list}::jsonb)`)).toEqual([
      { accepted: 2, refused: 0 },
    ]);
    const body = JSON.stringify({ data: films(3), min_id: 0, max_id: 2 });
    expect(await project.rows(sql`select accepted, unchanged from rowmill.push('movies', ${body}::jsonb)`)).toEqual([
      { accepted: 1, unchanged: 2 },
    ]);
    // As jsonb_agg over no rows, which is null.
    for (const none of ['{"data": null, "min_id": null}', "null", null])
      expect(await project.rows(sql`select accepted, refused from rowmill.push('movies', ${none}::jsonb)`)).toEqual([
        { accepted: 0, refused: 0 },
      ]);
    await expect(project.run(sql`select rowmill.push('other', '[]'::jsonb)`)).rejects.toThrow(
      "Rowmill takes no rows for 'other': no such pipeline, or its source is not push()",
    );
  });

  it("are taken over where only their table is left, with the columns that the config has now", async () => {
    const first = await project.worker(movies({ columns: ["Title"] }));
    await pushed(films(2));
    await project.drain(first);
    await project.run(sql`delete from rowmill.replicas`);
    const same = await project.worker(movies({ columns: ["Title"] }));
    await project.drain(same);
    expect((await project.gateway.journal.summary()).executed).toBe(2);
    await project.run(sql`delete from rowmill.replicas`);
    await project.worker(movies());
    expect(await project.rows(sql`select columns, generation from rowmill.replicas`)).toEqual([
      { columns: ["imdb_id", "Title", "Description"], generation: 2 },
    ]);
    await project.run(sql`delete from rowmill.replicas`);
    await project.worker(movies());
    expect(await project.rows(sql`select generation from rowmill.replicas`)).toEqual([{ generation: 2 }]);
    expect(await pushed(films(3))).toMatchObject({ accepted: 3 });
  });

  it("are never mixed with a table that is not theirs", async () => {
    const none = sql`delete from rowmill.replicas`;
    await project.worker(movies());
    await project.run(none);
    await project.run(sql`alter table rowmill_data.movies drop column rowmill_pushed_at`);
    await expect(project.worker(movies())).rejects.toThrow(
      'There is a rowmill_data."movies" already, and it is no table of pushed rows.',
    );
    await project.run(sql`drop table rowmill_data.movies`);
    await project.worker(movies());
    await project.run(none);
    await project.run(sql`
      alter table rowmill_data.movies drop constraint movies_pkey, add primary key (imdb_id, "Title")`);
    await expect(project.worker(movies())).rejects.toThrow(
      "The rows of movies were pushed with the key imdb_id, Title. The config now says imdb_id.",
    );
    await project.run(sql`drop table rowmill_data.movies`);
    await project.worker(movies());
    expect(await pushed(films(1))).toMatchObject({ accepted: 1 });
  });

  it("go only on your word, and their schema when it is empty", async () => {
    await project.worker(movies());
    await pushed(films(3));
    expect(await replicas.storedRows(project.database)).toEqual([
      { pipeline: "movies", isCopy: false, rows: 3, size: expect.stringMatching(/^\d+ kB$/) as string },
    ]);
    await replicas.dropTable(project.database, "movies");
    expect(await replicas.dropEmptySchema(project.database)).toBe(true);
    expect(await replicas.dropEmptySchema(project.database)).toBe(false);
    await project.worker(movies());
    expect(await pushed(films(1))).toMatchObject({ accepted: 1 });
  });

  it("whose time is over leave their answers, and are not sent again when they come back unchanged", async () => {
    const worker = await project.worker(movies({ keep: "30d" }));
    const states = sql`
      select state::text, row_gone, count(*)::int as n
      from rowmill.requests
      group by 1, 2
      order by 1, 2`;
    await pushed(films(3));
    await project.drain(worker);
    await project.run(sql`update rowmill_data.movies set rowmill_pushed_at = now() - interval '31 days'`);
    await runIntake(worker);
    await pushed([{ imdb_id: 1, Title: "changed", Description: "A film that waits." }, ...films(4).slice(3)]);
    await project.run(sql`update rowmill_data.movies set rowmill_pushed_at = now() - interval '31 days'
      where imdb_id = '1'`);
    await runJanitor(worker, new AbortController().signal);
    expect(await stored()).toMatchObject([{ imdb_id: "1" }, { imdb_id: "3" }]);
    await project.drain(worker);
    await project.run(sql`update rowmill.sweeps set wanted_at = now(), finished_at = now() - interval '1 day'`);
    await project.drain(worker);
    expect(await stored()).toMatchObject([{ imdb_id: "3" }]);
    expect(await project.rows(states)).toEqual([
      { state: "succeeded", row_gone: false, n: 1 },
      { state: "succeeded", row_gone: true, n: 3 },
    ]);
    expect(await project.rows(sql`select count(*)::int as n from public.movie_labels`)).toEqual([{ n: 4 }]);
    expect(await pushed(films(1))).toMatchObject({ accepted: 1 });
    await project.drain(worker);
    expect(await project.rows(states)).toEqual([
      { state: "succeeded", row_gone: false, n: 2 },
      { state: "succeeded", row_gone: true, n: 2 },
    ]);
    expect((await project.gateway.journal.summary()).executed).toBe(5);
    await project.run(sql`delete from rowmill_data.movies where imdb_id = '0'`);
    await project.drain(worker);
    expect(await project.rows(sql`select count(*)::int as n from rowmill.requests where state = 'gone'`)).toEqual([
      { n: 1 },
    ]);
    await project.check();
  });
});
