/** What a trigger reports of statements below, at and above the number of keys that one arrival holds. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline } from "../../src/index.js";
import { raw } from "../../src/postgres/database.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const KEYS_PER_ARRIVAL = 5_000;
const sizes = [KEYS_PER_ARRIVAL - 1, KEYS_PER_ARRIVAL, KEYS_PER_ARRIVAL + 1, 2 * KEYS_PER_ARRIVAL + 1];

function textPipeline(target: string, key: string | string[] = "id", where?: string) {
  return pipeline({
    source: { table: "texts", key, columns: ["body", "size"], ...(where === undefined ? {} : { where }) },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: (row) => row.body },
    target: { table: target },
  });
}

describeDatabases(
  "A statement's keys",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    /**
     * What each arrival of the first pipeline holds after a statement: how many keys, null for a sweep; and how many
     * different ones there are.
     */
    async function told(statement: string) {
      await project.run(sql`truncate rowmill.arrivals`);
      await project.run(sql`${raw(statement)}`);
      return project.rows<{
        held: (number | null)[] | null;
        all: number | null;
        keys: number;
        pipeline: number;
      }>(sql`
      select pipeline, array_agg(distinct held) as held, sum(held)::int as all, sum(different)::int as keys from (
        select pipeline_id as pipeline, cardinality(keys) as held, (select count(distinct k)
        from unnest(keys) k) as different
        from rowmill.arrivals) a
      group by pipeline order by pipeline`);
    }

    async function toldKeys(statement: string): Promise<string[][]> {
      await project.run(sql`truncate rowmill.arrivals`);
      await project.run(sql`${raw(statement)}`);
      const rows = await project.rows<{ keys: string[] }>(sql`
      select array_agg(distinct k order by k) as keys
      from rowmill.arrivals a, unnest(a.keys) k
      group by pipeline_id
      order by pipeline_id`);
      return rows.map((row) => row.keys);
    }

    it("are all recorded, once each and at most 5,000 in one arrival, whatever its size", async () => {
      await project.run(
        sql`
        create table public.texts (id int primary key, code text unique not null, body text, size numeric, other text)`,
      );
      await project.worker({
        one: textPipeline("answers"),
        two: textPipeline("more_answers", ["code", "id"]),
        whole: textPipeline("others", "id", "true"),
      });
      for (const rows of sizes) {
        const series = (from: number) => `from generate_series(${from}, ${from + rows - 1}) i`;
        const all = [1, 2, 3].map((number) => ({
          pipeline: number,
          held: rows % KEYS_PER_ARRIVAL === 0 || rows < KEYS_PER_ARRIVAL ? [rows] : [rows % KEYS_PER_ARRIVAL, 5_000],
          all: rows,
          keys: rows,
        }));
        const fill = `insert into public.texts select i, 'c' || i, 'text ' || i, 1.0 ${series(1)}`;
        expect(await told(fill)).toEqual(all);
        // Whole rows are compared for a predicate, and only for it.
        expect(await told("update public.texts set other = 'x', body = body || ''")).toEqual(all.slice(2));
        expect(await told("update public.texts set body = body || '!'")).toEqual(all);
        // Equal as numbers, and not as text.
        expect(await told("update public.texts set size = 1.00")).toEqual(all);
        expect((await toldKeys("update public.texts set body = null where id % 2 = 0"))[0]).toHaveLength(
          Math.floor(rows / 2),
        );
        expect(await told("delete from public.texts")).toEqual(all);
        if (kind !== "embedded") {
          const copy = `copy public.texts (id, code) from program 'seq 1 ${rows} | sed "s/.*/&,c&/"' csv`;
          expect(await told(copy)).toEqual(all);
        }
        await project.run(sql`truncate public.texts`);
      }
    });

    it("are recorded before and after a change, also when rows swap their keys", async () => {
      await project.run(
        sql`
        create table public.texts (id int, price numeric, body text, size numeric, unique (id) deferrable,
          unique (price))`,
      );
      await project.worker({ ids: textPipeline("answers"), prices: textPipeline("others", "price") });
      for (const rows of sizes) {
        await project.run(sql`truncate public.texts`);
        await project.run(
          sql`insert into public.texts select i, i + 0.5, 'text ' || i, 1 from generate_series(1, ${rows}) i`,
        );
        const keys = (from: number, end = "") =>
          Array.from({ length: rows }, (_, index) => `${from + index}${end}`).sort();
        const [moved] = await toldKeys(`update public.texts set id = id + ${rows}`);
        expect(moved).toEqual([...keys(1), ...keys(rows + 1)].sort());
        // Each key stays, with another row's content.
        const [swapped] = await toldKeys(`update public.texts set id = ${2 * rows + 1 + rows} - id`);
        const middle = String(rows + (rows + 1) / 2);
        expect(swapped).toEqual(keys(rows + 1).filter((key) => key !== middle));
        const [respelled] = await toldKeys("update public.texts set price = price + 0.00");
        expect(respelled).toEqual([...keys(1, ".5"), ...keys(1, ".50")].sort());
      }
    });

    it("that are null or too long are recorded as empty, and the others of the statement as they are", async () => {
      await project.run(sql`create table public.texts (id text unique, body text, size int)`);
      await project.worker({ texts: textPipeline("answers") });
      for (const rows of sizes) {
        const [inserted] = await toldKeys(
          `insert into public.texts select case when i > 4 then i::text when i = 1 then repeat('x', 1025) end, 'text', 1
          from generate_series(1, ${rows}) i`,
        );
        expect(inserted).toHaveLength(rows - 3);
        expect(inserted?.[0]).toBe("");
        const [updated] = await toldKeys("update public.texts set size = 2 where id is null or id in ('5', '6')");
        expect(updated).toEqual(["", "5", "6"]);
        const [emptied] = await toldKeys("update public.texts set id = null, body = 'other' where id <> '7'");
        expect(emptied).toHaveLength(rows - 4);
        const [deleted] = await toldKeys("delete from public.texts");
        expect(deleted).toEqual(["", "7"]);
      }
    });

    it("are left to a sweep when a column's type has become user-defined, and none of its casts is run", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text, size int)`);
      await project.worker({ texts: textPipeline("answers"), whole: textPipeline("others", "id", "true") });
      await project.database.pool.query(`create type public.odd as (a text); create sequence public.casts;
      grant usage on sequence public.casts to public;
      create function public.odd_text(public.odd) returns text language plpgsql as $$
        begin return nextval('public.casts')::text; end $$;
      create cast (public.odd as text) with function public.odd_text(public.odd) as implicit;
      alter table public.texts alter column body type public.odd using null`);
      const sweep = [1, 2].map((number) => ({ pipeline: number, held: [null], all: null, keys: 0 }));
      for (const rows of [1, KEYS_PER_ARRIVAL + 1]) {
        const fill = `insert into public.texts select i, row('a')::public.odd from generate_series(1, ${rows}) i`;
        expect(await told(fill)).toEqual(sweep);
        expect(await told("update public.texts set body = row('b')::public.odd")).toEqual(sweep);
        expect(await told("delete from public.texts")).toEqual(sweep);
      }
      expect(await project.rows(sql`select is_called from public.casts`)).toEqual([{ is_called: false }]);
    });

    it("are all taken by the intake, however many there are", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text, size int)`);
      const worker = await project.worker({ texts: textPipeline("answers") });
      await project.drain(worker);
      const rows = 4 * KEYS_PER_ARRIVAL + 1;
      await project.run(sql`insert into public.texts select i, 'text' from generate_series(1, ${rows}) i`);
      const { added } = await runIntake(worker);
      expect(added).toBe(rows);
      expect(await project.rows(sql`select from rowmill.arrivals`)).toEqual([]);
    });
  },
  bookKeepers,
);
