/**
 * Which tables can be watched, and that every way of writing to one is noticed, sooner by a trigger or later by a
 * sweep.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline } from "../../src/index.js";
import { raw, type Sql } from "../../src/postgres/database.js";
import { wantSweep } from "../../src/store/requests/sweeps.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { sweepChunk } from "../../src/worker/rounds/sweeper.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { sql, startProject, type TestProject } from "../support/project.js";

interface Shape {
  table?: string;
  key?: string | string[];
  where?: string;
  existing?: "include" | "skip";
  target?: string;
  addColumns?: boolean;
}

function textPipeline(shape: Shape = {}) {
  return pipeline({
    source: {
      table: shape.table ?? "texts",
      key: shape.key ?? "id",
      columns: ["body"],
      ...(shape.where === undefined ? {} : { where: shape.where }),
      ...(shape.existing === undefined ? {} : { existing: shape.existing }),
    },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: (row) => row.body },
    target: { table: shape.target ?? "answers", addColumns: shape.addColumns ?? false },
  });
}

describeDatabases(
  "A source table",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function answeredKeys(): Promise<string[]> {
      const rows = await project.rows<{ key: string }>(
        sql`select key from rowmill.requests where state = 'succeeded' order by key`,
      );
      return rows.map((row) => row.key);
    }

    async function sweep(worker: WorkerContext): Promise<void> {
      for (const id of worker.pipelines.keys()) await wantSweep(project.database, id, "the test");
    }

    it("may have a key of bigint, int, uuid or text, and the target gets the same type", async () => {
      const types = [
        ["bigint", "9007199254740993"],
        ["integer", "-7"],
        ["uuid", "6f1c3f0e-0c5d-4b8e-9a51-2f0a3a1f0b77"],
        ["text", 'O\'Hara "x" \\ ü 😀\tend'],
        ["character varying", "short"],
      ] as const;
      const pipelines: Record<string, ReturnType<typeof textPipeline>> = {};
      for (const [index, [type, key]] of types.entries()) {
        await project.database.pool.query(`create table public.t${index} (id ${type} primary key, body text)`);
        await project.database.pool.query(`insert into public.t${index} values ($1, 'a text')`, [key]);
        const { source: _, ...rest } = { source: null };
        pipelines[`p${index}`] = pipeline({
          ...rest,
          source: { table: `t${index}`, key: "id", columns: ["body"] },
          ...quick,
          request: { model: "gpt-4o-mini", user: (row) => row.body },
          target: { table: `answers${index}` },
        });
      }
      await project.drain(await project.worker(pipelines));
      for (const [index, [type, key]] of types.entries()) {
        const found = await project.database.pool.query<{ id: string; type: string }>(
          `select id::text as id, pg_typeof(id)::text as type from public.answers${index}`,
        );
        expect(found.rows).toEqual([{ id: key, type }]);
      }
    });

    it("has its keys spelled by the triggers as it is read, whatever their types and the writer's settings", async () => {
      const keys = {
        smallint: "-3",
        oid: "4294967295",
        numeric: "1.50",
        text: 'a "quoted", \\ ü 😀 key',
        "varchar(20)": "short",
        date: "2026-03-04",
        timestamp: "2026-03-04 05:06:07.89",
        timestamptz: "2026-03-04 05:06:07+00",
      };
      const types = Object.keys(keys);
      const names = types.map((_, index) => `k${index}`);
      await project.database.pool.query(
        `create table public.texts (${types.map((type, index) => `k${index} ${type} unique`).join(", ")},
          body numeric, primary key (${names.join(", ")}))`,
      );
      const single = names.map((name) => [name, textPipeline({ key: name, target: name })]);
      await project.worker({ all: textPipeline({ key: names }), ...Object.fromEntries(single) });
      const writer = await project.database.pool.connect();
      const told = async (statement: string, values: string[] = []) => {
        await writer.query("delete from rowmill.arrivals");
        await writer.query(statement, values);
        const rows = await project.rows<{ keys: string[] | null }>(
          sql`select keys from rowmill.arrivals order by pipeline_id`,
        );
        return rows.map((row) => row.keys);
      };
      try {
        await writer.query("set timezone = 'Asia/Tokyo'; set datestyle = 'SQL, DMY'");
        const values = types.map((type, index) => `$${index + 1}::text::${type}`).join(", ");
        const inserted = await told(`insert into public.texts values (${values}, 1.0)`, Object.values(keys));
        const texts = names.map((name) => `${name}::text`).join(", ");
        const read = await project.database.transaction((tx) =>
          tx.rows<{ key: string }>(
            sql`select unnest(array[json_build_array(${raw(texts)})::text, ${raw(texts)}]) as key from public.texts`,
          ),
        );
        const expected = read.map((row) => [row.key]);
        expect(expected).toHaveLength(9);
        expect(inserted).toEqual(expected);
        // Equal numbers, but another text, which is another content.
        expect(await told("update public.texts set body = 1.00")).toEqual(expected);
        expect(await told("update public.texts set body = 1.00")).toEqual([]);
        expect(await told("delete from public.texts")).toEqual(expected);
      } finally {
        writer.release(true);
      }
    });

    it("may have a composite key, and quoted, mixed-case names in any schema", async () => {
      await project.run(sql`create schema "Odd Schema"`);
      await project.run(
        sql`
          create table "Odd Schema"."My Films" ("Year" int, "Ti tle" text, body text, "key" text,
            primary key ("Year", "Ti tle"))`,
      );
      await project.run(sql`insert into "Odd Schema"."My Films" values (1999, 'A, "b"', 'one'), (2000, '[]', 'two')`);
      const table = "Odd Schema.My Films";
      await project.drain(
        await project.worker({
          texts: textPipeline({ table, key: ["Year", "Ti tle"], where: `"key" is null` }),
        }),
      );
      const rows = await project.rows(sql`select "Year" as year, "Ti tle" as title from public.answers order by 1`);
      expect(rows).toEqual([
        { year: 1999, title: 'A, "b"' },
        { year: 2000, title: "[]" },
      ]);
    });

    it("may have a dot or a double quote in its name, as its target may: then the name stands in double quotes", async () => {
      await project.run(sql`create schema "other.schema"`);
      await project.run(sql`create table "other.schema"."with""quote" (id int primary key, body text)`);
      await project.run(sql`insert into "other.schema"."with""quote" values (1, 'one')`);
      const worker = await project.worker({
        texts: textPipeline({ table: '"other.schema"."with""quote"', target: 'public."odd.answers"' }),
      });
      await project.run(sql`insert into "other.schema"."with""quote" values (2, 'two')`);
      await project.drain(worker);
      const rows = await project.rows(sql`select id from public."odd.answers" where answer is not null order by id`);
      expect(rows).toEqual([{ id: 1 }, { id: 2 }]);
    });

    it("is refused with the reason when it is a view, has no such column, or no unique key", async () => {
      await project.run(sql`create table public.texts (id int, body text)`);
      await project.run(sql`create view public.a_view as select * from public.texts`);
      await expect(project.worker({ texts: textPipeline({ table: "a_view" }) })).rejects.toThrow(
        /a_view is a view, and a trigger cannot see/,
      );
      await expect(project.worker({ texts: textPipeline({ table: "textz" }) })).rejects.toThrow(
        /no table textz in this database; did you mean "texts"\?/,
      );
      await expect(project.worker({ texts: textPipeline({ key: "idd" }) })).rejects.toThrow(
        /source\.key: texts has no column "idd"; did you mean "id"\?/,
      );
      await expect(project.worker({ texts: textPipeline() })).rejects.toThrow(/texts has no unique index on \("id"\)/);
    });

    it("is refused, as a target is, in Rowmill's own schemas and PostgreSQL's", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text)`);
      const schemas = {
        "rowmill.requests": "Rowmill's",
        "rowmill_worker._private_jobs": "Rowmill's",
        "pg_catalog.pg_class": "PostgreSQL's",
        "information_schema.sql_features": "PostgreSQL's",
      };
      for (const [table, owner] of Object.entries(schemas)) {
        const [schema = ""] = table.split(".");
        await expect(project.worker({ texts: textPipeline({ table, key: "id" }) })).rejects.toThrow(
          `${table} is in the schema ${schema}, which is ${owner} own and cannot be watched.`,
        );
        for (const target of [table, `${schema}.new_table`]) {
          await expect(project.worker({ texts: textPipeline({ target, addColumns: true }) })).rejects.toThrow(
            `target.table: ${target} is in the schema ${schema}, which is ${owner} own. Name a table of yours.`,
          );
        }
      }
      const added = await project.rows(
        sql`
          select attname
          from pg_attribute
          where attrelid = 'rowmill.requests'::regclass and attname in ('answer', 'rowmill_at')`,
      );
      expect(added).toEqual([]);
    });

    it("is refused when a column's type has a user-defined cast, which would run as the trigger's owner", async () => {
      await project.run(sql`create type public.odd as (a int)`);
      await project.run(sql`create function public.odd_text(public.odd) returns text language sql as 'select ''x'''`);
      await project.run(sql`create cast (public.odd as text) with function public.odd_text(public.odd)`);
      await project.run(sql`create table public.texts (id int primary key, body public.odd)`);
      await expect(project.worker({ texts: textPipeline() })).rejects.toThrow(/a user-defined cast to text/);
    });

    it("is refused with the reason when `where` is no predicate", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text)`);
      await expect(project.worker({ texts: textPipeline({ where: "bodi is null" }) })).rejects.toThrow(
        /pipelines\.texts: source\.where: .*column "bodi" does not exist/,
      );
    });

    it("may serve two pipelines, of which each asks for its own", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text, other text)`);
      const second = pipeline({
        source: { table: "texts", key: "id", columns: ["other"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.other },
        target: { table: "others" },
      });
      const worker = await project.worker({ texts: textPipeline(), others: second });
      await project.run(sql`insert into public.texts values (1, 'one', 'first'), (2, 'two', 'second')`);
      await project.drain(worker);
      expect((await project.gateway.journal.summary()).executed).toBe(4);
      await project.run(sql`update public.texts set other = 'changed' where id = 1`);
      await project.drain(worker);
      expect((await project.gateway.journal.summary()).executed).toBe(5);
    });

    it("counts only rows that match `where`, as they come to match and cease to", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text, ready boolean default false)`);
      const worker = await project.worker({ texts: textPipeline({ where: "ready" }) });
      await project.run(sql`insert into public.texts values (1, 'one', true), (2, 'two', false), (3, 'three', true)`);
      await project.round(worker, { flush: false });
      await project.run(sql`update public.texts set ready = not ready where id in (2, 3)`);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["1", "2"]);
    });

    it("with existing: skip leaves alone what was there before, but not what changes or comes afterwards", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text)`);
      await project.run(sql`insert into public.texts values (1, 'one'), (2, 'two')`);
      const worker = await project.worker({ texts: textPipeline({ existing: "skip" }) });
      await project.run(sql`insert into public.texts values (3, 'three')`);
      await project.run(sql`update public.texts set body = 'two, changed' where id = 2`);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["2", "3"]);
      await sweep(worker);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["2", "3"]);
      await project.run(sql`update public.texts set body = 'one, changed' where id = 1`);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["1", "2", "3"]);
    });

    it("may be partitioned: written through the parent, directly, attached and detached", async () => {
      await project.run(
        sql`create table public.texts (id int, part int, body text, primary key (id, part)) partition by list (part)`,
      );
      await project.run(sql`create table public.texts_1 partition of public.texts for values in (1)`);
      await project.run(sql`create table public.texts_2 partition of public.texts for values in (2)`);
      const worker = await project.worker({ texts: textPipeline({ key: ["id", "part"] }) });
      await project.run(sql`insert into public.texts values (1, 1, 'through the parent'), (2, 2, 'as well')`);
      const [arrivals] = await project.rows(
        sql`select count(*)::int as count, max(cardinality(keys)) as keys from rowmill.arrivals`,
      );
      expect(arrivals).toEqual({ count: 1, keys: 2 });
      await project.run(sql`insert into public.texts_1 values (3, 1, 'directly')`);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(['["1", "1"]', '["2", "2"]', '["3", "1"]']);
      await project.run(sql`create table public.texts_3 (id int, part int, body text, primary key (id, part))`);
      await project.run(sql`insert into public.texts_3 values (4, 3, 'attached')`);
      await project.run(sql`alter table public.texts attach partition public.texts_3 for values in (3)`);
      await project.run(sql`alter table public.texts detach partition public.texts_2`);
      for (const bound of worker.pipelines.values()) await worker.refreshSource(bound);
      await project.drain(worker);
      await project.run(sql`insert into public.texts_3 values (5, 3, 'directly, with a trigger by now')`);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(['["1", "1"]', '["3", "1"]', '["4", "3"]', '["5", "3"]']);
      const [gone] = await project.rows(sql`select state from rowmill.requests where key = '["2", "2"]'`);
      expect(gone).toEqual({ state: "gone" });
    });

    it("may be written with triggers off, swapped by rename or restored: a sweep finds it", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text)`);
      const worker = await project.worker({ texts: textPipeline() });
      await project.drain(worker);
      await project.database.transaction(async (tx) => {
        await tx.run(sql`select set_config('session_replication_role', 'replica', true)`);
        await tx.run(sql`insert into public.texts values (1, 'unseen'), (2, 'unseen too')`);
      });
      await project.drain(worker);
      expect(await answeredKeys()).toEqual([]);
      await sweep(worker);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["1", "2"]);
      await project.run(sql`create table public.texts_new (id int primary key, body text)`);
      await project.run(sql`insert into public.texts_new values (2, 'unseen too'), (3, 'in the new table')`);
      await project.run(sql`alter table public.texts rename to texts_old`);
      await project.run(sql`alter table public.texts_new rename to texts`);
      for (const bound of worker.pipelines.values()) await worker.refreshSource(bound);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["2", "3"]);
      await project.run(sql`insert into public.texts values (4, 'after the swap')`);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["2", "3", "4"]);
      // Unchanged content was asked once.
      expect((await project.gateway.journal.summary()).executed).toBe(4);
    });

    it("has its ledger looked through for rows that are gone only when a sweep met too few of them", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text)`);
      const unseen = (statement: Sql) =>
        project.database.transaction(async (tx) => {
          await tx.run(sql`select set_config('session_replication_role', 'replica', true)`);
          await tx.run(statement);
        });
      const worker = await project.worker({ texts: textPipeline() });
      const phases = async (): Promise<string[]> => {
        await sweep(worker);
        const seen: string[] = [];
        for (const one of worker.pipelines.values())
          for (let chunk = await sweepChunk(worker, one); chunk !== null; chunk = await sweepChunk(worker, one))
            seen.push(chunk.phase);
        return seen;
      };
      await project.run(sql`insert into public.texts select i, 'Text ' || i from generate_series(1, 5) i`);
      await project.drain(worker);
      expect(await phases()).toEqual(["source", "idle"]);
      // As when several workers start together: a sweep that began since one of them did serves it as well.
      for (const id of worker.pipelines.keys()) await wantSweep(project.database, id, "the test", 60_000);
      for (const one of worker.pipelines.values()) expect(await sweepChunk(worker, one)).toBeNull();
      await unseen(sql`delete from public.texts where id = 2`);
      expect(await phases()).toEqual(["source", "ledger", "idle"]);
      expect(await answeredKeys()).toEqual(["1", "3", "4", "5"]);
      expect(await phases()).toEqual(["source", "idle"]);
      // As many rows as before, of which one is another.
      await unseen(sql`update public.texts set id = 6 where id = 5`);
      expect(await phases()).toEqual(["source", "ledger", "idle"]);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["1", "3", "4", "6"]);
      expect(await phases()).toEqual(["source", "idle"]);
    });

    it("that is gone pauses its pipeline with the reason, and work continues when it is back", async () => {
      await project.run(sql`create table public.texts (id int primary key, body text)`);
      const worker = await project.worker({ texts: textPipeline() });
      const [bound] = worker.pipelines.values();
      if (!bound) throw new Error("There is no pipeline.");
      await project.run(sql`alter table public.texts rename to elsewhere`);
      await worker.refreshSource(bound);
      const [paused] = await project.rows<{ pause_kind: string; pause_reason: string }>(
        sql`select pause_kind, pause_reason from rowmill.pipelines`,
      );
      expect(paused).toMatchObject({
        pause_kind: "source",
        pause_reason: expect.stringContaining("There is no table texts"),
      });
      await project.run(sql`alter table public.elsewhere rename to texts`);
      await project.run(sql`insert into public.texts values (1, 'back')`);
      await worker.refreshSource(bound);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["1"]);
    });

    it("has keys over 1 kB refused one by one, and its other rows answered", async () => {
      // Random, or the index would compress it.
      const long = Array.from({ length: 1_500 }, (_, index) => ((index * 7_919) % 36).toString(36)).join("");
      await project.run(sql`create table public.texts (id text primary key, body text)`);
      const worker = await project.worker({ texts: textPipeline() });
      await project.run(sql`insert into public.texts values ('short', 'one'), (${long}, 'two')`);
      await sweep(worker);
      await project.drain(worker);
      expect(await answeredKeys()).toEqual(["short"]);
      const refused = await project.rows<{ prefix: string; reason: string }>(
        sql`select left(key_prefix, 5) as prefix, reason from rowmill.refused_keys`,
      );
      expect(refused).toEqual([
        { prefix: long.slice(0, 5), reason: expect.stringMatching(/^A key may have at most 1024 bytes\./) },
      ]);
    });

    it("is read alike under every session's settings", async () => {
      await project.run(sql`create table public.texts (id int primary key, body timestamptz, price float8)`);
      const times = pipeline({
        source: { table: "texts", key: "id", columns: ["body", "price"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: "{{ body }} costs {{ price }}" },
        target: { table: "answers" },
      });
      const worker = await project.worker({ times });
      const write = (zone: string, statement: ReturnType<typeof sql>) =>
        project.database.transaction(async (tx) => {
          await tx.run(
            sql`
              select set_config('TimeZone', ${zone}, true), set_config('DateStyle', 'German', true),
                set_config('extra_float_digits', '-3', true)`,
          );
          await tx.run(statement);
        });
      await write("Asia/Tokyo", sql`insert into public.texts values (1, '2026-01-01 00:00:00+00', 0.1)`);
      await project.drain(worker);
      await write("America/New_York", sql`update public.texts set body = body, price = price`);
      await sweep(worker);
      await project.drain(worker);
      expect((await project.gateway.journal.summary()).executed).toBe(1);
    });
  },
  bookKeepers,
);
