/**
 * What changes at another PostgreSQL while Rowmill runs, as a source and as a target: its columns, and its whole state
 * when it is restored from a backup.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { connectionOptions } from "../../src/config/database/connection.js";
import { pipeline, postgres, z } from "../../src/index.js";
import { openDatabase, raw, sql, type Database } from "../../src/postgres/database.js";
import * as deliveries from "../../src/store/deliveries/deliveries.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, createDatabase, describeDatabases, type TestDatabase } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";

const FILMS = 20;

describeDatabases(
  "Another PostgreSQL",
  (kind) => {
    let project: TestProject;
    let elsewhere: TestDatabase;
    let shop: Database;
    beforeEach(async () => {
      [project, elsewhere] = await Promise.all([startProject(kind), createDatabase("pg18")]);
      const address = { kind: "server", url: elsewhere.url } as const;
      shop = openDatabase(connectionOptions(address, { tls: { mode: "disable", rootCertFile: null } }));
      await there(`
        create table public.films (
          id bigint primary key, title text, changed_at timestamptz not null default now(), changed_no bigserial)`);
      await there("create index on public.films (changed_at, id)");
      await there("create index on public.films (changed_no, id)");
      await there(`insert into public.films (id, title) select n, 'Film ' || n from generate_series(1, ${FILMS}) n`);
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
      await shop.close();
      await elsewhere.drop();
    });

    const there = (statement: string) => shop.run(raw(statement));
    const url = () => `${elsewhere.url}${elsewhere.url.includes("?") ? "&" : "?"}sslmode=disable`;
    const films = ({ cursor = "changed_at" as "changed_at" | "changed_no", table = "film_labels" } = {}) => ({
      films: pipeline({
        source: postgres({ url: url(), table: "films", key: "id", columns: ["title"], cursor, every: "1s" }),
        polling: { min: "10ms", max: "10ms" },
        request: { model: "gpt-4o-mini", user: "Sum up: {{ title }}", maxOutputTokens: 100 },
        answer: z.object({ summary: z.string() }),
        target: postgres({ url: url(), table, key: "id" }),
      }),
    });
    /** Reads, asks and delivers, as if all waits were over. */
    const turn = async (worker: WorkerContext, { full = false } = {}) => {
      await project.run(sql`update rowmill.syncs set next_at = now(), full_wanted = ${full}`);
      await project.run(sql`update rowmill.deliverers set next_at = now()`);
      await project.run(sql`update rowmill.deliveries set next_at = now() where state = 'waiting' and next_at > now()`);
      await project.drain(worker);
    };
    const change = (id: number, title: string) =>
      there(`
        update public.films
        set title = '${title}', changed_at = clock_timestamp(), changed_no = nextval('public.films_changed_no_seq')
        where id = ${id}`);
    const pauses = () =>
      project.rows<{ kind: string; reason: string }>(sql`
        select pause_kind as kind, pause_reason as reason from rowmill.pipelines where pause_kind is not null`);
    const fixed = () =>
      project.run(sql`update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`);
    const copy = async () =>
      (await project.rows<{ title: string }>(sql`select title from rowmill_data.films order by id::bigint`)).map(
        ({ title }) => title,
      );
    const source = () => shop.column<string>(raw("select title from public.films order by id"));
    const labels = () =>
      shop.rows<{ id: string; summary: string | null }>(
        raw('select id, summary from public.film_labels order by id::text collate "C"'),
      );
    const answers = () =>
      project.rows(sql`select id::text as id, summary from rowmill_data.films_answers order by id::text collate "C"`);
    const counted = () =>
      project.rows<{ state: string; lines: number }>(sql`
        select state, count(*)::int as lines from rowmill.deliveries group by state order by state`);
    const asked = async () => (await project.gateway.journal.summary()).executed;

    it.each([
      [
        "dropped",
        "alter table public.films drop column title",
        "alter table public.films add column title text default 'Again'",
      ],
      [
        "renamed",
        "alter table public.films rename column title to titel",
        "alter table public.films rename titel to title",
      ],
    ])(
      "with a column that is %s pauses the pipeline with its name, and continues once it is back",
      async (_what, drift, fix) => {
        const worker = await project.worker(films());
        await turn(worker);
        await there(drift);
        await turn(worker);
        await turn(worker);
        expect(await pauses()).toMatchObject([
          { kind: "source", reason: expect.stringContaining('no column "title"') },
        ]);
        expect(await copy()).toHaveLength(FILMS);
        await there(fix);
        await change(3, "Changed");
        await turn(worker);
        expect(await pauses()).toEqual([]);
        expect((await copy())[2]).toBe("Changed");
      },
    );

    it("with a column of another type is read as before: its values are texts", async () => {
      const worker = await project.worker(films());
      await turn(worker);
      await there("alter table public.films alter column title type jsonb using to_jsonb(title)");
      await there("alter table public.films alter column id type numeric");
      await change(3, '{"new": 1}');
      await turn(worker);
      expect((await copy())[2]).toBe('{"new": 1}');
      expect(await pauses()).toEqual([]);
    });

    it("with a cursor that becomes a time instead of a number is read as a whole once, then by its changes", async () => {
      const worker = await project.worker(films({ cursor: "changed_no" }));
      await turn(worker);
      await there("alter table public.films drop column changed_no");
      await there("alter table public.films add column changed_no timestamptz not null default now()");
      await there("update public.films set title = 'Changed', changed_no = clock_timestamp() where id = 3");
      await turn(worker);
      await turn(worker);
      expect((await copy())[2]).toBe("Changed");
      expect(await pauses()).toEqual([]);
      expect(await asked()).toBe(FILMS + 1);
    });

    it.each(["changed_at", "changed_no"] as const)(
      "that is restored from a backup gives its older rows again, by %s",
      async (cursor) => {
        await there("update public.films set changed_at = now() - interval '1 hour'");
        const worker = await project.worker(films({ cursor }));
        await turn(worker);
        await there("create table public.backup as table public.films");
        await there("select setval('public.films_changed_no_seq', 100000)");
        await change(3, "After the backup");
        await there(
          "insert into public.films values (100, 'Another one', now(), nextval('public.films_changed_no_seq'))",
        );
        await turn(worker);
        expect((await copy())[2]).toBe("After the backup");
        await there("delete from public.films");
        await there("insert into public.films table public.backup");
        await there(`select setval('public.films_changed_no_seq', ${FILMS})`);
        await turn(worker);
        expect((await copy()).slice(0, FILMS)).toEqual(await source());
        await change(4, "After the restore");
        await turn(worker);
        expect((await copy())[3]).toBe("After the restore");
        // Only readings of all rows see that one is gone.
        await turn(worker, { full: true });
        await turn(worker, { full: true });
        expect(await copy()).toEqual(await source());
        expect(await asked()).toBe(FILMS + 4);
      },
    );

    it("as a target made by Rowmill gets a dropped column back, and all of its answers by a replay", async () => {
      const worker = await project.worker(films());
      await turn(worker);
      await there("alter table public.film_labels drop column summary");
      await change(3, "Changed");
      await turn(worker);
      await turn(worker);
      expect((await labels()).filter(({ summary }) => summary !== null)).toHaveLength(1);
      await replayAll(worker);
      await turn(worker);
      expect(await labels()).toEqual(await answers());
    });

    it.each([
      [
        "is renamed",
        "alter table public.mine rename column summary to other",
        "alter table public.mine rename column other to summary",
      ],
      [
        "has another type",
        "alter table public.mine alter column summary type int using 1",
        "alter table public.mine alter column summary type text",
      ],
    ])("as a target of yours pauses the pipeline when a column %s, and loses nothing", async (_what, drift, fix) => {
      await there(`create table public.mine (id text primary key, summary text, rowmill_fence_films bigint,
        rowmill_at timestamptz, rowmill_model text)`);
      const worker = await project.worker(films({ table: "mine" }));
      await turn(worker);
      await there(drift);
      await change(3, "Changed");
      await change(4, "Changed too");
      await turn(worker);
      await turn(worker);
      expect(await pauses()).toMatchObject([{ kind: "target", reason: expect.stringContaining('"summary"') }]);
      expect(await counted()).toEqual([
        { state: "delivered", lines: FILMS - 2 },
        { state: "waiting", lines: 2 },
      ]);
      await there(fix);
      await fixed();
      await turn(worker);
      expect(await counted()).toEqual([{ state: "delivered", lines: FILMS }]);
      expect(await asked()).toBe(FILMS + 2);
    });

    it("as a target that is restored from a backup has all answers after a replay of everything", async () => {
      const worker = await project.worker(films());
      await turn(worker);
      await there("create table public.backup as table public.film_labels");
      await change(3, "After the backup");
      await there("insert into public.films (id, title) values (100, 'Another one')");
      await turn(worker);
      await there("delete from public.film_labels");
      await there("insert into public.film_labels table public.backup");
      await change(4, "After the restore");
      await turn(worker);
      expect(await labels()).not.toEqual(await answers());
      await replayAll(worker);
      await turn(worker);
      expect(await labels()).toEqual(await answers());
      expect(await pauses()).toEqual([]);
      expect(await asked()).toBe(FILMS + 3);
    });

    const replayAll = async ({ database, pipelines }: WorkerContext) => {
      const before = await deliveries.beginReplay(database);
      for (const { id } of pipelines.values())
        await database.transaction((tx) => deliveries.replay(tx, id, { all: true, before }));
    };
  },
  bookKeepers,
);
