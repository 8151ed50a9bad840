/**
 * The user's database is a guest room: our triggers and writes must not raise, block, leak rights or cost money in
 * circles.
 */
import pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { removeTriggers } from "../../src/sources/table/triggers.js";
import { pipeline } from "../../src/index.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { raw } from "../../src/postgres/database.js";
import { sql, startProject, type TestProject } from "../support/project.js";

function textPipeline(target = "answers") {
  return pipeline({
    source: { table: "texts", key: "id", columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: (row) => row.body },
    target: { table: target },
  });
}

function alteredPipeline(target: string, where?: string) {
  return pipeline({
    source: { table: "altered", key: "id", columns: ["body"], ...(where === undefined ? {} : { where }) },
    ...quick,
    request: { model: "gpt-4o-mini", user: (row) => row.body },
    target: { table: target },
  });
}

describeDatabases(
  "A user's database",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
      await project.run(sql`create table public.texts (id int primary key, body text)`);
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function succeeded(): Promise<number> {
      const [row] = await project.rows<{ count: number }>(
        sql`select count(*)::int as count from rowmill.requests where state = 'succeeded'`,
      );
      return row?.count ?? 0;
    }

    /** As a role of Supabase's outside world would. */
    async function as<T>(role: string, work: () => Promise<T>, statement: ReturnType<typeof sql>): Promise<T> {
      await project.database.transaction(async (tx) => {
        await tx.run(sql`select set_config('role', ${role}, true), set_config('row_security', 'on', true)`);
        await tx.run(statement);
      });
      return work();
    }

    async function createSupabaseRoles(): Promise<void> {
      await project.database.pool
        .query(`do $$ begin create role anon nologin; exception when duplicate_object then null; end $$;
      do $$ begin create role authenticated nologin; exception when duplicate_object then null; end $$;
      grant usage on schema public to anon, authenticated;
      alter default privileges in schema public grant all on tables to anon, authenticated`);
    }

    it("takes rows from roles that have no right on our schema, with row-level security on", async () => {
      await createSupabaseRoles();
      await project.run(sql`grant select, insert, update, delete, truncate on public.texts to anon`);
      await project.run(sql`alter table public.texts enable row level security`);
      await project.run(sql`create policy anybody on public.texts for all to anon using (true) with check (true)`);
      const worker = await project.worker({ texts: textPipeline() });
      await project.drain(worker);
      await as("anon", async () => undefined, sql`insert into public.texts values (1, 'from outside'), (2, 'as well')`);
      await as("anon", async () => undefined, sql`update public.texts set body = 'changed outside' where id = 2`);
      await as("anon", async () => undefined, sql`delete from public.texts where id = 1`);
      await project.drain(worker);
      const rows = await project.rows(sql`select key, state from rowmill.requests order by key`);
      expect(rows.filter((row) => "state" in row && row.state === "succeeded")).toEqual([
        { key: "2", state: "succeeded" },
      ]);
    });

    it("gets a target that the outside world can neither read nor write, whatever default privileges say", async () => {
      await createSupabaseRoles();
      await project.run(sql`insert into public.texts values (1, 'one')`);
      await project.drain(await project.worker({ texts: textPipeline() }));
      for (const role of ["anon", "authenticated"]) {
        const [rights] =
          await project.rows(sql`select has_table_privilege(${role}, 'public.answers', 'select') as reads,
        has_table_privilege(${role}, 'public.answers', 'insert') as writes`);
        expect(rights).toEqual({ reads: false, writes: false });
      }
      const [table] = await project.rows(
        sql`select relrowsecurity as secured from pg_class where oid = 'public.answers'::regclass`,
      );
      expect(table).toEqual({ secured: true });
    });

    it("gives no other role our trigger function, and gives its owner nothing but inserting arrivals", async () => {
      const worker = await project.worker({ texts: textPipeline() });
      const [id] = worker.pipelines.keys();
      const [facts] = await project.rows(sql`
      select r.rolname as owner, r.rolsuper as super, r.rolcanlogin as login, p.prosecdef as definer,
        coalesce(array_to_string(p.proacl, ',') like '%=X/%'
          and array_to_string(p.proacl, ',') ~ '(^|,)=X', false) as public_may,
        has_table_privilege(r.oid, 'rowmill.arrivals', 'insert') as inserts,
        has_table_privilege(r.oid, 'rowmill.arrivals', 'select') as reads,
        has_table_privilege(r.oid, 'rowmill.requests', 'select,insert,update,delete') as ledger,
        has_schema_privilege(r.oid, 'rowmill', 'create') as creates
      from pg_proc p join pg_roles r on r.oid = p.proowner where p.oid = to_regproc(${`rowmill.arrive_${id}`})`);
      expect(facts).toEqual({
        owner: "rowmill_arrivals",
        super: false,
        login: false,
        definer: true,
        public_may: false,
        inserts: true,
        reads: false,
        ledger: false,
        creates: false,
      });
    });

    it("gets its trigger function back as it was when another role changed it", async () => {
      const worker = await project.worker({ texts: textPipeline() });
      const [pipeline] = worker.pipelines.values();
      if (pipeline === undefined) throw new Error("There is no pipeline.");
      const name = raw(`rowmill.arrive_${pipeline.id}()`);
      const isDefiner = sql`
        select prosecdef as definer
        from pg_proc
        where oid = ${`rowmill.arrive_${pipeline.id}`}::regproc`;
      await project.run(sql`alter function ${name} security invoker`);
      expect(await project.rows(isDefiner)).toEqual([{ definer: false }]);
      await worker.refreshSource(pipeline);
      expect(await project.rows(isDefiner)).toEqual([{ definer: true }]);
    });

    it("continues to write when a declared column was dropped or retyped, which a sweep then sees", async () => {
      const worker = await project.worker({ texts: textPipeline() });
      await project.drain(worker);
      await project.run(sql`alter table public.texts alter column body type jsonb using to_jsonb(body)`);
      await project.run(sql`insert into public.texts values (1, '{"a": 1}')`);
      await project.run(sql`alter table public.texts drop column body`);
      await project.run(sql`insert into public.texts values (2)`);
      await project.run(sql`update public.texts set id = 3 where id = 2`);
      await project.run(sql`delete from public.texts where id = 3`);
      const marks = await project.rows(sql`select keys from rowmill.arrivals`);
      expect(marks.length).toBeGreaterThanOrEqual(4);
      expect(new Set(marks.map((mark) => JSON.stringify(mark)))).toEqual(new Set(['{"keys":null}']));
    });

    /**
     * What each alteration leaves of the table `altered (key, body)`, written to by a session that wrote to it
     * before.
     */
    const alterations = [
      ["a dropped column", "alter table public.altered drop column body", "other = 'x'"],
      ["a renamed column", "alter table public.altered rename column body to content", "content = 'x'"],
      ["a retyped column", "alter table public.altered alter column body type varchar", "body = 'x'"],
      ["a renamed key", "alter table public.altered rename column id to number", "body = 'x'"],
      ["a retyped key", "alter table public.altered alter column id type bigint", "body = 'x'"],
      [
        "a key of a user-defined type, whose cast it never runs",
        "alter table public.altered alter column id type public.odd using id::text::public.odd",
        "body = 'x'",
      ],
    ] as const;

    it.each(alterations)("continues to write after %s, and a sweep is asked for", async (_name, alteration, change) => {
      await project.database.pool.query(`create type public.odd as enum ('1', '2');
      create sequence public.casts; grant usage on sequence public.casts to public;
      create function public.odd_text(public.odd) returns text language plpgsql as
        $$ begin return nextval('public.casts')::text; end $$;
      create cast (public.odd as text) with function public.odd_text(public.odd) as implicit;
      create table public.altered (other text, id int primary key, body text)`);
      await project.worker({
        altered: alteredPipeline("answers"),
        whole: alteredPipeline("others", "true"),
      });
      const session = await project.database.pool.connect();
      const marks = async (statement: string) => {
        await session.query("delete from rowmill.arrivals");
        await session.query(statement);
        return (await session.query<{ keys: string[] | null }>("select keys from rowmill.arrivals")).rows;
      };
      const writes = (set: string) => [
        "insert into public.altered values ('', '1')",
        `update public.altered set ${set}`,
        "delete from public.altered",
      ];
      try {
        for (const write of writes("body = 'x'"))
          expect(await marks(write)).toEqual([{ keys: ["1"] }, { keys: ["1"] }]);
        await session.query(alteration);
        for (const write of writes(change)) expect(await marks(write)).toEqual([{ keys: null }, { keys: null }]);
        const casts = await session.query<{ ran: boolean }>("select is_called as ran from public.casts");
        expect(casts.rows).toEqual([{ ran: false }]);
      } finally {
        session.release();
      }
    });

    it("has one transaction's many statements counted as one transaction", async () => {
      await project.worker({ texts: textPipeline() });
      const next = async () => {
        const [row] = await project.rows<{ next: number }>(
          sql`select pg_snapshot_xmax(pg_current_snapshot())::text::int as next`,
        );
        return row?.next ?? 0;
      };
      const before = await next();
      await project.database.transaction(async (tx) => {
        for (let id = 1; id <= 200; id++) await tx.run(sql`insert into public.texts values (${id}, 'one of many')`);
      });
      expect((await next()) - before).toBeLessThan(100);
    });

    it("may hold json, which has no equality: only real changes of declared columns are arrivals", async () => {
      await project.run(sql`alter table public.texts add column doc json, add column other text`);
      const documents = pipeline({
        source: { table: "texts", key: "id", columns: ["doc"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.doc },
        target: { table: "answers" },
      });
      const worker = await project.worker({ documents });
      await project.run(sql`insert into public.texts (id, doc) values (1, '{"a": 1}'), (2, null)`);
      await project.drain(worker);
      await project.run(sql`update public.texts set other = 'undeclared', doc = doc`);
      expect(await project.rows(sql`select keys from rowmill.arrivals`)).toEqual([]);
      await project.run(sql`update public.texts set doc = '{"a": 2}' where id = 2`);
      expect(await project.rows(sql`select keys from rowmill.arrivals`)).toEqual([{ keys: ["2"] }]);
    });

    it("keeps large statements in arrivals of at most 5,000 keys", async () => {
      const worker = await project.worker({ texts: textPipeline() });
      await project.run(sql`insert into public.texts select i, null from generate_series(1, 12000) i`);
      const arrivals = await project.rows<{ keys: number }>(
        sql`select cardinality(keys) as keys from rowmill.arrivals order by 1`,
      );
      expect(arrivals.map((row) => row.keys)).toEqual([2_000, 5_000, 5_000]);
      await project.drain(worker);
      const [failed] = await project.rows(
        sql`select count(*)::int as count from rowmill.requests where error_code = 'empty'`,
      );
      expect(failed).toEqual({ count: 12_000 });
    });

    it("gets each key of a statement recorded once, for any statement and any number of keys", async () => {
      await project.worker({ texts: textPipeline() });
      const arrivals = async (statement: ReturnType<typeof sql>) => {
        await project.run(sql`truncate rowmill.arrivals`);
        await project.run(statement);
        const [told] = await project.rows(sql`
            select (select max(cardinality(keys))
            from rowmill.arrivals) as most, count(*)::int as keys, count(distinct k)::int as different
        from rowmill.arrivals a, unnest(a.keys) k`);
        return told;
      };
      const all = { most: 5_000, keys: 50_001, different: 50_001 };
      const most = { most: 5_000, keys: 50_000, different: 50_000 };
      expect(await arrivals(sql`insert into public.texts select i, null from generate_series(1, 50001) i`)).toEqual(
        all,
      );
      expect(await arrivals(sql`update public.texts set body = id`)).toEqual(all);
      expect(await arrivals(sql`update public.texts set body = id + id % 2`)).toEqual({
        most: 5_000,
        keys: 25_001,
        different: 25_001,
      });
      expect(await arrivals(sql`delete from public.texts where id > 1`)).toEqual(most);
    });

    it("does not loop through a touch trigger when results go into the source itself", async () => {
      await project.run(
        sql`alter table public.texts add column updated_at timestamptz default now(), add column answer text`,
      );
      await project.run(
        sql`
          create function public.touch() returns trigger
            language plpgsql as 'begin new.updated_at = clock_timestamp(); return new; end'`,
      );
      await project.run(
        sql`create trigger touch before update on public.texts for each row execute function public.touch()`,
      );
      const touching = pipeline({
        source: { table: "texts", key: "id", columns: ["body", "updated_at"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.body },
        target: { table: "texts" },
      });
      const worker = await project.worker({ touching });
      await project.run(sql`insert into public.texts values (1, 'one'), (2, 'two')`);
      await project.drain(worker);
      await project.drain(worker);
      expect((await project.gateway.journal.summary()).executed).toBe(2);
      const [row] = await project.rows(sql`select count(answer)::int as answers from public.texts`);
      expect(row).toEqual({ answers: 2 });
    });

    it("loses every trace of ours but tables when triggers are removed, and its writes continue", async () => {
      const worker = await project.worker({ texts: textPipeline() });
      const [id] = worker.pipelines.keys();
      await removeTriggers(project.database, id ?? 0);
      await removeTriggers(project.database, id ?? 0);
      const left = await project.rows(sql`select tgname from pg_trigger where tgname like 'rowmill%'`);
      expect(left).toEqual([]);
      expect(await project.run(sql`insert into public.texts values (1, 'one')`)).toBe(1);
    });

    if (kind !== "embedded") {
      it("is never stopped by an installation that waits behind an open writer", async () => {
        const writer = new pg.Client({ connectionString: project.url });
        const other = new pg.Client({ connectionString: project.url });
        await writer.connect();
        await other.connect();
        try {
          await writer.query("begin");
          await writer.query("insert into public.texts values (1, 'open')");
          const installing = project.worker({ texts: textPipeline() });
          const waiting = sql`
            select count(*)::int as count
            from pg_locks
            where not granted and relation = 'public.texts'::regclass`;
          const count = async () => (await project.rows<{ count: number }>(waiting))[0]?.count;
          await expect.poll(count, { timeout: 20_000 }).toBe(1);
          // Behind a waiting CREATE TRIGGER every writer queues: ours gives up soon and tries again, so this one
          // comes through.
          await other.query("insert into public.texts values (2, 'not stopped')");
          await writer.query("commit");
          const worker = await installing;
          await project.drain(worker);
          expect(await succeeded()).toBe(2);
        } finally {
          await writer.end();
          await other.end();
        }
      });

      it("keeps its own transactions' locks: held target rows are written later, and no deadlock of other clients is lost", async () => {
        await project.run(sql`insert into public.texts select i, 'text ' || i from generate_series(1, 10) i`);
        await project.run(sql`create table public.answers (id int primary key, answer text, note text)`);
        await project.run(sql`insert into public.answers (id) select generate_series(1, 10)`);
        const worker = await project.worker({ texts: textPipeline() });
        const user = new pg.Client({ connectionString: project.url });
        await user.connect();
        try {
          await user.query("begin");
          await user.query("update public.answers set note = 'mine' where id in (3, 7)");
          await project.round(worker);
          await expect
            .poll(async () => {
              await project.run(sql`update rowmill.batches set next_at = now() where settled_at is null`);
              await project.round(worker);
              return succeeded();
            })
            .toBe(8);
          // The user's transaction now needs rows that ours wrote: no wait, no deadlock.
          await user.query("update public.answers set note = 'mine too'");
          await user.query("commit");
        } finally {
          await user.end();
        }
        await project.drain(worker);
        expect(await succeeded()).toBe(10);
        const [kept] = await project.rows(
          sql`select count(*) filter (where note = 'mine too' and answer is not null)::int as rows from public.answers`,
        );
        expect(kept).toEqual({ rows: 10 });
      });
    }

    it("stores what it can of a chunk with an answer that PostgreSQL cannot hold", async () => {
      await project.run(sql`insert into public.texts values (1, 'one'), (2, '[[demo:nul]] two'), (3, 'three')`);
      await project.drain(await project.worker({ texts: textPipeline() }));
      const rows = await project.rows(sql`select key, state, error_code from rowmill.requests order by key`);
      expect(rows).toEqual([
        { key: "1", state: "succeeded", error_code: null },
        { key: "2", state: "failed", error_code: "invalid" },
        { key: "3", state: "succeeded", error_code: null },
      ]);
    });
  },
  bookKeepers,
);
