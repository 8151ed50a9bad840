/** Where results go: typed columns of a table that we make, the source itself, or a table that exists. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { describeDatabases, newestKinds } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { raw } from "../../src/postgres/database.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { recount } from "../support/recount.js";

const answer = z.object({
  summary: z.string(),
  year: z.int(),
  score: z.number(),
  good: z.boolean(),
  tags: z.array(z.string()),
  mood: z.enum(["dark", "bright"]),
  detail: z.object({ hero: z.string() }),
  remark: z.string().optional(),
});

describeDatabases(
  "A target",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
      await project.run(sql`create table public.texts (id int primary key, body text)`);
      await project.run(
        sql`insert into public.texts values (1, 'A dark night in 1999. A hero comes.'), (2, 'A bright day in 2001.')`,
      );
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    function labelled(target: { table: string; columns?: { summary: string }; addColumns?: boolean }) {
      return pipeline({
        source: { table: "texts", key: "id", columns: ["body"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.body },
        answer: z.object({ summary: z.string() }),
        target,
      });
    }

    it("that is missing is made with the source's key and typed columns", async () => {
      const labels = pipeline({
        source: { table: "texts", key: "id", columns: ["body"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.body },
        answer,
        target: { table: "labels" },
      });
      await project.drain(await project.worker({ labels }));
      const columns = await project.rows<{ name: string; type: string }>(sql`
      select attname as name, format_type(atttypid, atttypmod) as type from pg_attribute
      where attrelid = 'public.labels'::regclass and attnum > 0 order by attnum`);
      expect(Object.fromEntries(columns.map((column) => [column.name, column.type]))).toEqual({
        id: "integer",
        summary: "text",
        year: "bigint",
        score: "double precision",
        good: "boolean",
        tags: "text[]",
        mood: "text",
        detail: "jsonb",
        remark: "text",
        rowmill_at: "timestamp with time zone",
        rowmill_model: "text",
        rowmill_version: "integer",
      });
      const rows = await project.rows<{ hero: string | null; mood: string; at: Date }>(
        sql`select detail ->> 'hero' as hero, mood, rowmill_at as at from public.labels order by id`,
      );
      expect(rows).toHaveLength(2);
      expect(rows.every((row) => row.hero !== null && row.at instanceof Date)).toBe(true);
      await expect(project.run(sql`update public.labels set mood = 'grey'`)).rejects.toThrow(/labels_mood_check/);
    });

    it("may be the source itself, whose other columns stay as they are", async () => {
      await project.run(sql`alter table public.texts add column summary text, add column other text default 'kept'`);
      const worker = await project.worker({ labels: labelled({ table: "texts" }) });
      await project.drain(worker);
      const rows = await project.rows<{ summary: string; other: string }>(
        sql`select summary, other from public.texts order by id`,
      );
      expect(rows.map((row) => [typeof row.summary, row.other])).toEqual([
        ["string", "kept"],
        ["string", "kept"],
      ]);
      expect(await project.rows(sql`select keys from rowmill.arrivals`)).toEqual([]);
    });

    it.each([
      ["texts", "the source itself"],
      ["labels", "a table"],
    ])("may be %s, %s, whose trigger leaves out updates that change nothing", async (table) => {
      await project.run(sql`alter table public.texts add column summary text`);
      await project.run(sql`create table public.labels (id int primary key, summary text)`);
      const worker = await project.worker({ labels: labelled({ table }) });
      await project.drain(worker);
      for (const each of ["texts", "labels"])
        await project.run(
          raw(
            `create trigger lazy before update on public.${each} for each row
              execute function suppress_redundant_updates_trigger()`,
          ),
        );
      await project.run(sql`update rowmill.requests set state = 'waiting', answered_hash = null where key = '1'`);
      await recount(project);
      await project.drain(worker);
      expect(
        await project.rows(sql`select outcome, count(*)::int as count from rowmill.attempts group by outcome`),
      ).toEqual([{ outcome: "answered", count: 3 }]);
    });

    it("may be a table that exists, with a mapping of columns", async () => {
      await project.run(sql`create table public.existing (id int primary key, "In Short" varchar(2000), mine text)`);
      await project.run(sql`insert into public.existing values (1, null, 'mine')`);
      await project.drain(
        await project.worker({ labels: labelled({ table: "existing", columns: { summary: "In Short" } }) }),
      );
      const rows = await project.rows<{ id: number; short: string; mine: string | null }>(
        sql`select id, "In Short" as short, mine from public.existing order by id`,
      );
      expect(rows.map((row) => [row.id, row.short.length > 0, row.mine])).toEqual([
        [1, true, "mine"],
        [2, true, null],
      ]);
    });

    it("that exists gets columns only when the config allows it", async () => {
      await project.run(sql`create table public.existing (id int primary key)`);
      await expect(project.worker({ labels: labelled({ table: "existing" }) })).rejects.toThrow(
        /existing exists, but has no column "summary"/,
      );
      await project.drain(await project.worker({ labels: labelled({ table: "existing", addColumns: true }) }));
      const [row] = await project.rows(
        sql`select count(summary)::int as rows, count(rowmill_at)::int as stamped from public.existing`,
      );
      expect(row).toEqual({ rows: 2, stamped: 2 });
    });

    it("is refused where a result could be written twice, nowhere, or never", async () => {
      await project.run(sql`create table public.no_key (other int, summary text)`);
      await project.run(sql`create table public.no_index (id int, summary text)`);
      await project.run(sql`create table public.strict (id int primary key, summary text, must text not null)`);
      await project.run(sql`create view public.a_view as select 1 as id, 'x'::text as summary`);
      await project.run(sql`create table public.numbers (id int primary key, summary bigint)`);
      const refusal = (table: string) => project.worker({ labels: labelled({ table }) });
      await expect(refusal("no_key")).rejects.toThrow(/has no column "id", the source's key/);
      await expect(refusal("no_index")).rejects.toThrow(/no unique index on \("id"\)/);
      await expect(refusal("strict")).rejects.toThrow(/requires "must", which the answer does not fill/);
      await expect(refusal("numbers")).rejects.toThrow(
        /numbers."summary" is of type bigint, which cannot hold the answer's "summary" \(text\)/,
      );
      await expect(refusal("a_view")).rejects.toThrow(/a_view is not a table/);
    });

    it("keeps the result of a row that is deleted, and the row needs no new answer when it comes back as it was", async () => {
      const worker = await project.worker({ labels: labelled({ table: "labels" }) });
      await project.drain(worker);
      await project.run(sql`delete from public.texts`);
      await project.drain(worker);
      expect(await project.rows(sql`select distinct state from rowmill.requests`)).toEqual([{ state: "gone" }]);
      expect(await project.rows(sql`select id from public.labels order by id`)).toEqual([{ id: 1 }, { id: 2 }]);
      await project.run(
        sql`insert into public.texts values (1, 'A dark night in 1999. A hero comes.'), (2, 'Another text.')`,
      );
      await project.drain(worker);
      expect((await project.gateway.journal.summary()).executed).toBe(3);
      expect(await project.rows(sql`select distinct state from rowmill.requests`)).toEqual([{ state: "succeeded" }]);
    });

    it("gets a new answer for a row that comes back after its result was deleted too", async () => {
      const worker = await project.worker({ labels: labelled({ table: "labels" }) });
      await project.drain(worker);
      await project.run(sql`delete from public.texts where id = 1`);
      await project.run(sql`delete from public.labels where id = 1`);
      await project.drain(worker);
      await project.run(sql`insert into public.texts values (1, 'A dark night in 1999. A hero comes.')`);
      await project.drain(worker);
      expect(await project.rows(sql`select id from public.labels order by id`)).toEqual([{ id: 1 }, { id: 2 }]);
    });
  },
  newestKinds,
);
