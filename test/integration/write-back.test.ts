/** Answers that go into the source's own rows, in another PostgreSQL. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { answersOf, forgetRows, prepareForgetting } from "../../src/app/story/forget-rows.js";
import { idleState } from "../../src/app/open/idle.js";
import { defineSource, defineTarget, pipeline, z } from "../../src/index.js";
import { deliverDue } from "../../src/worker/rounds/deliverer.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { openFilms, readNow, type FilmsElsewhere } from "../support/films-elsewhere.js";
import { quick } from "../support/movies.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { stageWorker, type Boundary } from "../support/stage-worker.js";

/** What the owner of the table may have on it. */
const TOUCH = `
  create function touch() returns trigger language plpgsql as
    'begin new.updated_at := clock_timestamp(); return new; end';
  create trigger touch before update on films for each row execute function touch()`;
/** Changes a declared column at every write. */
const COUNT = `
  create function count_writes() returns trigger language plpgsql as
    'begin new.title := regexp_replace(new.title, '' [0-9]+$'', '''') || '' '' || nextval(''writes''); return new; end';
  create sequence writes start 100;
  create trigger count_writes before update on films for each row execute function count_writes()`;

const { signal } = new AbortController();

interface Film {
  readonly id: string;
  readonly title: string;
  readonly summary: string | null;
  readonly fence: string | null;
}

describeDatabases(
  "Answers in the source's own rows elsewhere",
  (kind) => {
    let project: TestProject;
    let films: FilmsElsewhere;
    beforeEach(async () => {
      [project, films] = await Promise.all([startProject(kind), openFilms(kind)]);
    });
    afterEach(async () => {
      await project.check().finally(() => Promise.all([project.close(), films.close()]));
    });

    const add = (count: number) =>
      films.run(`insert into films (id, title) select n, 'A film of some length, number ' || n
        from generate_series(1, ${count}) n`);
    const worker = (more?: Parameters<FilmsElsewhere["pipeline"]>[0]) =>
      project.worker({ films: films.pipeline(more) });
    const rows = () =>
      films.rows<Film>("select id::text, title, summary, rowmill_fence_films::text as fence from films order by id");
    const answered = async () => (await rows()).filter(({ summary }) => summary !== null).length;
    const asked = async () => (await project.gateway.journal.summary()).executed;
    const states = () =>
      project.rows<{ state: string; lines: number }>(
        sql`select state, count(*)::int as lines from rowmill.deliveries group by state order by state`,
      );
    const requests = () =>
      project.rows<{ state: string; rows: number }>(
        sql`select state::text as state, count(*)::int as rows from rowmill.requests group by 1 order by 1`,
      );
    const pause = async () =>
      (await project.rows<{ reason: string }>(sql`select pause_reason as reason from rowmill.pipelines`))[0];
    /** As if the longest wait and lease were over. */
    const waitLong = async (): Promise<void> => {
      await project.run(sql`update rowmill.deliveries set next_at = now() where state = 'waiting'`);
      await project.run(sql`update rowmill.deliverers set next_at = now(), lease_until = now()
        where lease_until is not null or next_at > now()`);
      await project.run(sql`update rowmill.syncs set lease_until = now() where lease_until is not null`);
    };
    /** Until nothing moves: what was written is read again, and so on. */
    const settle = async (context: WorkerContext): Promise<void> => {
      for (const full of [false, true, false]) {
        await readNow(context, { full });
        await waitLong();
        await project.drain(context);
      }
    };

    it("are written once, into nothing but those rows", async () => {
      await add(1_000);
      const context = await worker();
      await project.drain(context);
      await settle(context);
      expect(await answered()).toBe(1_000);
      expect(await asked()).toBe(1_000);
      expect(await states()).toEqual([{ state: "delivered", lines: 1_000 }]);
      expect(await films.rows("select count(*)::int as n from films")).toEqual([{ n: 1_000 }]);
      const columns = await films.rows<{ name: string }>(
        "select attname as name from pg_attribute where attrelid = 'films'::regclass and attnum > 3 order by attnum",
      );
      expect(columns.map(({ name }) => name)).toEqual([
        "summary",
        "rowmill_fence_films",
        "rowmill_at",
        "rowmill_model",
      ]);
      expect(await project.rows(sql`select read_back from rowmill.deliveries where read_back is not null`)).toEqual([]);
    });

    it("are for composite keys, with texts that JSON escapes", async () => {
      await films.run("drop table films");
      await films.run(`create table films (shelf text, no int, title text, primary key (shelf, no))`);
      await films.run(`insert into films values ('a"b', 1, 'One film'), ('é, [x]', 2, 'Another film')`);
      await project.drain(await worker({ source: { key: ["shelf", "no"] } }));
      const found = await films.rows<{ summary: string | null }>("select summary from films order by no");
      expect(found.map(({ summary }) => summary !== null)).toEqual([true, true]);
    });

    it("are of two pipelines, each with its own fence", async () => {
      await add(3);
      const mood = { target: { columns: { summary: "mood" } } };
      await project.drain(await project.worker({ films: films.pipeline(), moods: films.pipeline(mood) }));
      const found = await films.rows<Record<string, unknown>>(
        `select summary is not null as s, mood is not null as m, rowmill_fence_films <> rowmill_fence_moods as f
         from films`,
      );
      expect(found).toEqual(Array.from({ length: 3 }, () => ({ s: true, m: true, f: true })));
      expect(await states()).toEqual([{ state: "delivered", lines: 6 }]);
    });

    it("are not written into a row that changed meanwhile, which is sent again", async () => {
      await add(3);
      const context = await worker();
      const slow = stageWorker(context);
      await slow.run((of) => project.drain(of), { what: "freezes", at: "before deliver.write" });
      await films.run("update films set title = 'Another film altogether', updated_at = now() where id = 2");
      await slow.thaw();
      slow.stop();
      expect(await answered()).toBe(2);
      expect(await states()).toEqual([
        { state: "delivered", lines: 2 },
        { state: "waiting", lines: 1 },
      ]);
      await readNow(context);
      await project.drain(context);
      expect(await answered()).toBe(3);
      expect(await asked()).toBe(4);
      expect(await states()).toEqual([{ state: "delivered", lines: 3 }]);
    });

    it("are written into a row that changed and is again as it was before anyone saw it", async () => {
      await add(1);
      const context = await worker();
      const slow = stageWorker(context);
      await slow.run((of) => project.drain(of), { what: "freezes", at: "before deliver.write" });
      const [before] = await films.rows<{ title: string }>("select title from films");
      await films.run("update films set title = 'Another film altogether'");
      await slow.thaw();
      slow.stop();
      expect(await idleState(context)).toMatchObject({
        blocked: [{ pipeline: "films", reason: expect.stringContaining("changed in the meantime, or is gone") }],
      });
      await films.run(`update films set title = '${before?.title}'`);
      await settle(context);
      expect(await answered()).toBe(1);
      expect(await asked()).toBe(1);
    });

    it("are not written into a row that is gone, and that is the end of it", async () => {
      await add(3);
      const context = await worker();
      const slow = stageWorker(context);
      await slow.run((of) => project.drain(of), { what: "freezes", at: "before deliver.write" });
      await films.run("delete from films where id = 2");
      await slow.thaw();
      slow.stop();
      expect(await films.rows("select id::int from films order by id")).toEqual([{ id: 1 }, { id: 3 }]);
      for (let passes = 0; passes < 2; passes++) await readNow(context, { full: true });
      await project.drain(context);
      await waitLong();
      await project.drain(context);
      expect(await requests()).toEqual([
        { state: "gone", rows: 1 },
        { state: "succeeded", rows: 2 },
      ]);
      expect(await states()).toEqual([
        { state: "delivered", lines: 2 },
        { state: "dropped", lines: 1 },
      ]);
      expect(await idleState(context)).toMatchObject({ blocked: [] });
    });

    it("are written again, and not asked, into a row that comes back as it was", async () => {
      await add(2);
      const context = await worker();
      await project.drain(context);
      await films.run("delete from films where id = 2");
      for (let passes = 0; passes < 2; passes++) await readNow(context, { full: true });
      await project.drain(context);
      await films.run("insert into films (id, title) values (2, 'A film of some length, number 2')");
      await settle(context);
      expect(await answered()).toBe(2);
      expect(await asked()).toBe(2);
    });

    it("may be touched by a trigger: the rows are read again, and not asked", async () => {
      await films.run(TOUCH);
      await add(5);
      const context = await worker({ source: { cursor: "updated_at" } });
      await project.drain(context);
      await settle(context);
      expect(await answered()).toBe(5);
      expect(await asked()).toBe(5);
    });

    it.each([
      ["at every write", COUNT],
      [
        "at the end of the transaction",
        `create sequence writes;
         create function late() returns trigger language plpgsql as
           'begin
             if pg_trigger_depth() = 1 then
               update films set title = title || nextval(''writes'') where id = new.id;
             end if;
             return null;
           end';
         create constraint trigger late after update on films
           deferrable initially deferred for each row execute function late()`,
      ],
    ])("may change what was asked %s: that is not sent again", async (_, trigger) => {
      await add(5);
      await films.run(trigger);
      const context = await worker({ source: { columns: ["title", "updated_at"], cursor: "updated_at" } });
      await project.drain(context);
      await settle(context);
      expect(await answered()).toBe(5);
      expect(await asked()).toBe(5);
      expect(await project.rows(sql`select title from rowmill_data.films order by id`)).toEqual(
        await films.rows("select title from films order by id"),
      );
      await films.run("alter table films disable trigger all");
      await films.run("update films set title = 'Your own change', updated_at = clock_timestamp() where id = 2");
      await films.run("alter table films enable trigger all");
      await settle(context);
      expect(await asked()).toBe(6);
      expect(await requests()).toEqual([{ state: "succeeded", rows: 5 }]);
    });

    it("may be what was asked", async () => {
      await add(3);
      await films.run("alter table films add column summary text");
      const context = await worker({ source: { columns: ["title", "summary"] } });
      await project.drain(context);
      await settle(context);
      expect(await answered()).toBe(3);
      expect(await asked()).toBe(3);
    });

    it.each<Boundary>([
      "before deliver.take",
      "after deliver.take",
      "before deliver.write",
      "before deliver.readBack",
      "after deliver.readBack",
      "after deliver.write",
      "before deliver.confirm",
      "after deliver.confirm",
    ])("are asked once, whatever a trigger does, although a worker died %s", async (at) => {
      await add(4);
      await films.run(COUNT);
      const dying = stageWorker(await worker());
      await dying.run((context) => project.drain(context), { what: "dies", at });
      dying.stop();
      const context = await worker();
      // Whoever comes first.
      await readNow(context, { full: true });
      await project.round(context);
      await waitLong();
      await project.drain(context);
      await settle(context);
      expect(await answered()).toBe(4);
      expect(await asked()).toBe(4);
      expect(await states()).toEqual([{ state: "delivered", lines: 4 }]);
    });

    it("do not hide what you change before a write is confirmed", async () => {
      await add(3);
      await films.run(COUNT);
      const dying = stageWorker(await worker());
      await dying.run((context) => project.drain(context), { what: "dies", at: "after deliver.write" });
      dying.stop();
      await films.run("update films set title = 'Your own change' where id = 2");
      const context = await worker();
      await waitLong();
      await project.drain(context);
      await settle(context);
      expect(await asked()).toBe(4);
      expect(await states()).toEqual([{ state: "delivered", lines: 3 }]);
      expect((await rows())[1]?.title).toMatch(/^Your own change /);
    });

    it("are newer than a page that was read before they were written", async () => {
      await add(3);
      await films.run(COUNT);
      const context = await worker();
      const dying = stageWorker(context);
      await dying.run((of) => project.drain(of), { what: "dies", at: "before deliver.take" });
      dying.stop();
      const reader = stageWorker(await worker());
      await reader.run((of) => readNow(of, { full: true }), { what: "freezes", at: "before sync.write" });
      for (const one of context.pipelines.values()) await deliverDue(context, one, signal);
      await reader.thaw();
      reader.stop();
      await project.drain(context);
      await settle(context);
      expect(await asked()).toBe(3);
      expect(await answered()).toBe(3);
    });

    it("wait for a row that someone holds", async () => {
      await add(2);
      const context = await worker();
      await project.drain(context);
      await films.run("update films set title = 'Another ' || title");
      await readNow(context);
      const slow = stageWorker(context);
      await slow.run((of) => project.drain(of), { what: "freezes", at: "before deliver.write" });
      const user = await films.connect();
      await user.query("begin; select 1 from films where id = 1 for update");
      const thawed = slow.thaw();
      while ((await states())[0]?.state !== "delivered") await new Promise(setImmediate);
      expect(await states()).toEqual([
        { state: "delivered", lines: 1 },
        { state: "waiting", lines: 1 },
      ]);
      await user.query("rollback");
      await user.end();
      await thawed;
      slow.stop();
      expect(await states()).toEqual([{ state: "delivered", lines: 2 }]);
      expect(await asked()).toBe(4);
    });

    it("are emptied when you forget them, and the rows stay", async () => {
      await add(2);
      await films.run(COUNT);
      const dying = stageWorker(await worker());
      await dying.run((of) => project.drain(of), { what: "dies", at: "before deliver.confirm" });
      dying.stop();
      const context = await worker();
      const { id: pipelineId, config } = [...context.pipelines.values()][0] ?? {};
      const of = { name: "films", pipelineId: pipelineId ?? null, config, keys: ["1", "2"] };
      const wanted = await prepareForgetting(project.database, of);
      await forgetRows(project.database, wanted, { target: await answersOf(project.database, wanted), signal });
      expect(await project.rows(sql`select 1 from rowmill.deliveries where read_back is not null`)).toEqual([]);
      await waitLong();
      for (const one of context.pipelines.values()) await deliverDue(context, one, signal);
      expect((await rows()).map(({ summary }) => summary)).toEqual([null, null]);
      expect(await states()).toEqual([]);
    });

    it("are those of a system of your own, which tells afterwards what a write left in them", async () => {
      const notes = new Map(["a", "b", "c"].map((id) => [id, { id, title: `A note ${id}`, summary: "", fence: 0n }]));
      const source = defineSource({
        key: "id",
        columns: ["title"],
        address: "notes",
        every: "1h",
        async *rows() {
          yield await Promise.resolve([...notes.values()].map(({ id, title }) => ({ id, title })));
        },
      });
      const target = defineTarget<{ summary: string }>({
        address: "notes",
        write: async (changes, { readBack }) => {
          const changed: string[] = [];
          for (const change of changes) {
            const note = notes.get(change.key);
            if (note === undefined || "deleted" in change || note.fence >= BigInt(change.fence)) continue;
            if (note.title !== change.expect?.["title"]) changed.push(change.key);
            else {
              Object.assign(note, { title: `${note.title}!`, summary: change.cells.summary });
              note.fence = BigInt(change.fence);
              await readBack?.([{ key: note.id, row: { title: note.title } }]);
            }
          }
          return { changed };
        },
      });
      const context = await project.worker({
        films: pipeline({
          source,
          ...quick,
          request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ title }}" },
          answer: z.object({ summary: z.string() }),
          target,
        }),
      });
      await project.drain(context);
      await settle(context);
      expect([...notes.values()].every(({ title, summary }) => title.endsWith("!") && summary !== "")).toBe(true);
      expect(await asked()).toBe(3);
    });

    it("are refused for a key that is another, a table of two addresses, and rows that keep answers", async () => {
      await add(1);
      const context = await worker({ target: { key: "title" } });
      await project.drain(context);
      expect((await pause())?.reason).toContain("leave out the key in the target");
      await project.run(sql`update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`);
      const other = new URL(films.url);
      other.hostname = other.hostname === "localhost" ? "127.0.0.1" : "localhost";
      await project.drain(await worker({ target: { url: other.href, key: "id" } }));
      expect((await pause())?.reason).toContain("one table under two addresses");
      await expect(worker({ source: { onGone: "keepAnswer" } })).rejects.toThrow(/onGone.*the target is the source/s);
    });
  },
  bookKeepers,
);
