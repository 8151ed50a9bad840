/** Kept answers that `rowmill retry` writes into the target, and those that it must not write. */
import { afterEach, expect, it } from "vitest";
import { askAgain, prepareAgain } from "../../src/app/story/ask-again.js";
import { writeKept, type KeptTally, type Writing } from "../../src/app/story/write-kept.js";
import { pipeline, z } from "../../src/index.js";
import { readFailures, type FailedRows } from "../../src/store/requests/failures.js";
import type { Pipeline, WorkerContext } from "../../src/worker/context.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { recount } from "../support/recount.js";

const { signal: never } = new AbortController();

describeDatabases(
  "A kept answer",
  (kind) => {
    let project: TestProject;
    let worker: WorkerContext;
    let one: Pipeline;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    /** Rows 1 to 6; of those from 2 on the answer is kept, because the target refused it. */
    async function open(target = "labels"): Promise<void> {
      project = await startProject(kind);
      await project.run(
        sql`
          create table public.texts (id int primary key, body text, label text, updated_at timestamptz default now())`,
      );
      await project.run(sql`insert into public.texts select i, 'text ' || i from generate_series(1, 6) i`);
      await project.run(
        sql`create table public.labels (id int primary key, label text, constraint small check (id < 2))`,
      );
      await project.run(sql`alter table public.texts add constraint small check (label is null or id < 2)`);
      const texts = pipeline({
        source: { table: "texts", key: "id", columns: ["body", "updated_at"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.body },
        answer: z.object({ label: z.string() }),
        target: { table: target },
      });
      worker = await project.worker({ texts });
      await project.drain(worker);
      const [first] = worker.pipelines.values();
      if (first === undefined) throw new Error("There is no pipeline.");
      one = first;
      expect(await statesOf()).toEqual({ succeeded: ["1"], failed: ["2", "3", "4", "5", "6"] });
    }

    async function statesOf(): Promise<Record<string, string[]>> {
      const rows = await project.rows<{ state: string; keys: string[] }>(
        sql`select state, array_agg(key order by id) as keys from rowmill.requests group by state`,
      );
      return Object.fromEntries(rows.map(({ state, keys }) => [state, keys]));
    }

    const meant = (): FailedRows => ({ pipelineId: one.id, reasons: null, keys: null });

    function write(
      { signal, onChunk }: Pick<Writing, "signal" | "onChunk"> = { signal: never, onChunk: () => undefined },
    ): Promise<KeptTally> {
      const { account } = one.provider;
      return writeKept({
        database: worker.database,
        pipeline: one,
        meant: meant(),
        account,
        signal,
        onChunk,
      });
    }

    it("is not written where the row is another one or gone, the question changed, or the demo gave it elsewhere", async () => {
      await open();
      await project.run(sql`alter table public.labels drop constraint small`);
      await project.run(sql`update public.texts set body = 'other' where id = 2`);
      await project.run(sql`delete from public.texts where id = 3`);
      await project.run(sql`update rowmill.requests set fingerprint = 'other' where key = '4'`);
      await project.run(sql`update rowmill.requests set demo = key = '5'`);
      await project.run(sql`update rowmill.batches set account = 'https://elsewhere||'`);
      const tally = await write();
      expect(tally).toMatchObject({
        written: 1,
        refused: 0,
        held: 0,
        gone: 1,
        overtaken: [{ key: "2" }, { key: "4" }, { key: "5" }],
      });
      expect(await project.rows(sql`select id from public.labels order by id`)).toEqual([{ id: 1 }, { id: 6 }]);
      await project.run(sql`update rowmill.batches set account = ${one.provider.account}`);

      const again = { meant: meant(), overtaken: tally.overtaken, signal: never };
      expect(await prepareAgain(worker, one, again)).toMatchObject({ rows: 3, estimate: { rows: 3 } });
      expect(await askAgain(worker, one, { ...again, rowsMax: 3 })).toBe(3);
      expect(await askAgain(worker, one, { ...again, rowsMax: 3 })).toBe(0);
      await project.drain(worker);
      expect(await statesOf()).toEqual({ succeeded: ["1", "2", "4", "5", "6"], gone: ["3"] });
      expect(await askAgain(worker, one, { ...again, rowsMax: 3 })).toBe(0);
      expect((await project.gateway.journal.summary()).executed).toBe(9);
    });

    it("is written chunk by chunk, until a stop between two of them", async ({ skip }) => {
      if (kind === "embedded") skip("the embedded database has one session: no one else can hold anything there");
      await open();
      await project.run(sql`alter table public.labels drop constraint small`);
      await project.run(sql`insert into public.texts select i, 'text ' || i from generate_series(7, 510) i`);
      await project.drain(worker);
      await project.run(
        sql`
          update rowmill.attempts
          set ending = 'failed', outcome = 'unwritable', answer = '{"label":"x"}'
          where request_id > 1`,
      );
      await project.run(
        sql`
          update rowmill.requests
          set state = 'failed', error_code = 'unwritable', error = 'no', answered_hash = null
          where id > 1`,
      );
      await recount(project);
      const stop = new AbortController();
      const stopped = await write({ signal: stop.signal, onChunk: () => stop.abort() });
      expect(stopped.written).toBe(500);
      expect(await write()).toMatchObject({ written: 9, refused: 0 });
    });

    it("that was forgotten is sent again", async () => {
      await open();
      await project.run(
        sql`
          update rowmill.attempts
          set answer = null
          where request_id = (select id from rowmill.requests where key = '2')`,
      );
      await project.run(sql`alter table public.labels drop constraint small`);
      expect(await write()).toMatchObject({ written: 4, overtaken: [] });
      expect(await prepareAgain(worker, one, { meant: meant(), overtaken: [] })).toMatchObject({ rows: 1 });
      expect(await askAgain(worker, one, { meant: meant(), overtaken: [], rowsMax: 1, signal: never })).toBe(1);
      await project.drain(worker);
      expect(await statesOf()).toEqual({ succeeded: ["1", "2", "3", "4", "5", "6"] });
    });

    it("that is refused again fails alone, whether at the statement, at the commit or by a trigger's silence", async () => {
      await open();
      await project.run(sql`alter table public.labels drop constraint small`);
      await project.run(sql`create table public.parents (id int primary key)`);
      await project.run(sql`insert into public.parents select i from generate_series(1, 6) i where i <> 4`);
      await project.run(
        sql`alter table public.labels add foreign key (id) references public.parents deferrable initially deferred`,
      );
      await project.run(sql`create function public.picky() returns trigger language plpgsql as $$ begin
        if new.id = 2 then raise exception 'not row 2' using errcode = 'P0001'; end if;
        if new.id = 3 then return null; end if;
        return new; end $$`);
      await project.run(
        sql`create trigger picky before insert on public.labels for each row execute function public.picky()`,
      );
      expect(await write()).toMatchObject({ written: 2, refused: 3 });
      expect(await statesOf()).toEqual({ succeeded: ["1", "5", "6"], failed: ["2", "3", "4"] });
      const { groups, more } = await readFailures(worker.database, {
        pipelineIds: [one.id],
        groupsMax: 2,
        rowsMax: null,
      });
      expect(groups.map(({ key, kept, message }) => [key, kept, message])).toEqual([
        ["2", 1, expect.stringContaining("not row 2")],
        ["3", 1, expect.any(String)],
      ]);
      expect(more).toEqual({ groups: 1, rows: 1 });
      await project.run(sql`drop trigger picky on public.labels`);
      await project.run(sql`insert into public.parents values (4)`);
      expect(await write()).toMatchObject({ written: 3, refused: 0 });
    });

    it("waits alone for what another transaction holds", async ({ skip }) => {
      if (kind === "embedded") skip("the embedded database has one session: no one else can hold anything there");
      await open();
      await project.run(sql`alter table public.labels drop constraint small`);
      await project.run(sql`create function public.busy() returns trigger language plpgsql as $$ begin
        if new.id = 3 then raise exception 'not now' using errcode = '55P03'; end if; return new; end $$`);
      await project.run(
        sql`create trigger busy before insert on public.labels for each row execute function public.busy()`,
      );
      const client = await project.database.pool.connect();
      try {
        await client.query("begin");
        await client.query("insert into public.labels (id) values (5)");
        expect(await write()).toMatchObject({ written: 3, refused: 0, held: 2 });
        await client.query("rollback");
      } finally {
        client.release();
      }
      await project.run(sql`drop trigger busy on public.labels`);
      expect(await write()).toMatchObject({ written: 2, held: 0 });
      expect(await statesOf()).toEqual({ succeeded: ["1", "2", "3", "4", "5", "6"] });
    });

    it("blames no row where a column is missing, and reports the column", async () => {
      await open();
      await project.run(sql`alter table public.labels rename column label to other`);
      await expect(write()).rejects.toThrow(/label/);
      const rows = await project.rows<{ error: string }>(
        sql`select distinct error from rowmill.requests where state = 'failed'`,
      );
      expect(rows).toEqual([{ error: expect.stringContaining("small") }]);
      await project.run(sql`alter table public.labels rename column other to label`);
      await project.run(sql`alter table public.labels drop constraint small`);
      expect(await write()).toMatchObject({ written: 5 });
    });

    it("keeps its reason where the source cannot be read", async () => {
      await open();
      await project.run(sql`alter table public.labels drop constraint small`);
      await project.run(sql`alter table public.texts rename to originals`);
      await project.run(sql`create function public.away() returns text language plpgsql as $$ begin
        raise exception 'the archive is closed'; end $$`);
      await project.run(
        sql`create view public.texts as select id, public.away() as body, label, updated_at from public.originals`,
      );
      await expect(write()).rejects.toThrow(/the archive is closed/);
      const rows = await project.rows<{ error: string }>(
        sql`select distinct error from rowmill.requests where state = 'failed'`,
      );
      expect(rows).toEqual([{ error: expect.stringContaining("small") }]);
      await project.run(sql`drop view public.texts`);
      await project.run(sql`alter table public.originals rename to texts`);
      expect(await write()).toMatchObject({ written: 5 });
    });

    it("goes into the source itself, where what our write touches is no new content", async () => {
      await open("texts");
      await project.run(sql`alter table public.texts drop constraint small`);
      await project.run(sql`create function public.touch() returns trigger language plpgsql as $$ begin
        new.updated_at = clock_timestamp(); return new; end $$`);
      await project.run(
        sql`create trigger touch before update on public.texts for each row execute function public.touch()`,
      );
      expect(await write()).toMatchObject({ written: 5 });
      await project.run(sql`update rowmill.sweeps set wanted_at = now(), wanted_reason = 'the test'`);
      await project.drain(worker);
      expect(await statesOf()).toEqual({ succeeded: ["1", "2", "3", "4", "5", "6"] });
      expect((await project.gateway.journal.summary()).executed).toBe(6);
    });

    it("is grouped by its cause, whatever values its message names", async () => {
      await open();
      const messages = [
        'The database refused: invalid input value for enum mood: "sad".',
        'The database refused: invalid input value for enum mood: "very "sad"".',
        'The database refused: new row for relation "a" violates check constraint "c1".',
        'The database refused: new row for relation "a" violates check constraint "c2".',
        "genre 'x' of row 12 is not known",
      ];
      for (const [index, message] of messages.entries())
        await project.run(sql`update rowmill.requests set error = ${message} where key = ${String(index + 2)}`);
      await project.run(sql`update rowmill.requests set error_code = 'refused', error = 'I am sorry' where key = '6'`);
      const { groups } = await readFailures(worker.database, {
        pipelineIds: [one.id],
        groupsMax: 9,
        rowsMax: null,
      });
      expect(groups.map(({ key, rows, kept }) => [key, rows, kept])).toEqual([
        ["2", 2, 2],
        ["4", 1, 1],
        ["5", 1, 1],
        ["6", 1, 0],
      ]);
    });
  },
  bookKeepers,
);
