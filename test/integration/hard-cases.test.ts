/** Cases that an attack on the engine found: each lost answers, money or rights before its fix. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { wantSweep } from "../../src/store/requests/sweeps.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { runPlanner } from "../../src/worker/rounds/planner.js";
import { sweepAll } from "../../src/app/open/round.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, insertNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const signal = new AbortController().signal;

/** The same question in other words: every row would be asked otherwise. */
function politePipeline() {
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "Please: {{ body }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
  });
}

describeDatabases(
  "In hard cases",
  (kind) => {
    let project: TestProject;
    let hold: boolean;
    beforeEach(async () => {
      hold = false;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    it("a worker with an older definition leaves paid answers to those that have the present one", async () => {
      await createNotes(project, plain(3));
      const older = await project.worker({ notes: notesPipeline() });
      const newer = await project.worker({ notes: politePipeline() });
      hold = true;
      await project.round(newer);
      hold = false;
      project.gateway.release();
      const [created] = (await project.gateway.journal.summary()).batches;
      await project.gateway.until(created?.batchId ?? "");
      for (let round = 0; round < 3; round++) {
        await project.run(sql`update rowmill.batches set next_at = now()`);
        await project.round(older);
      }
      await project.run(sql`update rowmill.batches set next_at = now()`);
      await project.drain(newer);
      expect(await outcomes(project)).toEqual({ answered: 3 });
    });

    it("one pipeline whose table is gone does not stop the others", async () => {
      await createNotes(project, plain(3));
      await project.run(sql`create table public.aaa (id int primary key, body text)`);
      await project.run(sql`insert into public.aaa values (1, 'one')`);
      const broken = pipeline({
        source: { table: "aaa", key: "id", columns: ["body"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: "{{ body }}" },
        target: { table: "aaa_answers" },
      });
      const worker = await project.worker({ aaa: broken, notes: notesPipeline() });
      await project.round(worker, { flush: false });
      await project.run(sql`drop table public.aaa`);
      await insertNotes(project, plain(2, "later"));
      await runIntake(worker);
      await runPlanner(worker, true);
      await project.drain(worker);
      const [answers] = await project.rows(sql`select count(*)::int as rows from public.note_summaries`);
      expect(answers).toEqual({ rows: 5 });
    });

    it.each([
      ["at once", "1 / (id - 1) >= 0", "division by zero"],
      ["at once", "failing('P0001')", "it fails"],
      ["after some times, as the failure may pass,", "failing('58030')", "it fails"],
      ["after some times, as the failure may pass,", "failing('XX000')", "it fails"],
    ])("a predicate that fails on a row pauses its pipeline %s with the reason: %s", async (_, where, reason) => {
      await createNotes(project, plain(2));
      await project.run(sql`create function failing(state text) returns boolean language plpgsql as $$
        begin raise exception 'it fails' using errcode = state; end $$`);
      const divided = pipeline({
        source: { table: "notes", key: "id", columns: ["body"], where },
        ...quick,
        request: { model: "gpt-4o-mini", user: "{{ body }}" },
        target: { table: "note_answers" },
      });
      await project.drain(await project.worker({ notes: divided }));
      const [paused] = await project.rows(sql`select pause_kind, pause_reason from rowmill.pipelines`);
      expect(paused).toMatchObject({
        pause_kind: "source",
        pause_reason: expect.stringContaining(reason),
      });
    });

    it("a touch trigger on the source as target is not taken for new content by any later sweep", async () => {
      await project.run(
        sql`
          create table public.texts (id int primary key, body text, answer text, updated_at timestamptz default now())`,
      );
      await project.run(
        sql`
          create function public.touch() returns trigger
            language plpgsql as 'begin new.updated_at = clock_timestamp(); return new; end'`,
      );
      await project.run(
        sql`create trigger touch before update on public.texts for each row execute function public.touch()`,
      );
      await project.run(sql`insert into public.texts values (1, 'one'), (2, 'two')`);
      const touching = pipeline({
        source: { table: "texts", key: "id", columns: ["body", "updated_at"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.body },
        target: { table: "texts" },
      });
      const worker = await project.worker({ touching });
      await project.drain(worker);
      for (const id of worker.pipelines.keys()) await wantSweep(project.database, id, "the test");
      await sweepAll(worker, signal);
      await project.drain(worker);
      expect((await project.gateway.journal.summary()).executed).toBe(2);
    });

    it("a cast that another role defines after the installation does not run with our rights", async () => {
      await project.run(sql`create type public.mood as enum ('calm', 'wild')`);
      await project.run(sql`create table public.texts (id int primary key, body public.mood)`);
      const moods = pipeline({
        source: { table: "texts", key: "id", columns: ["body"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: "The mood is {{ body }}." },
        target: { table: "mood_answers" },
      });
      const worker = await project.worker({ moods });
      await project.run(sql`create table public.traces (who text)`);
      await project.run(sql`create function public.evil(public.mood) returns text language plpgsql as
      'begin insert into public.traces values (current_user); return ''evil''; end'`);
      await project.run(sql`create cast (public.mood as text) with function public.evil(public.mood)`);
      await project.run(sql`insert into public.texts values (1, 'calm'), (2, null)`);
      await project.drain(worker);
      expect(await project.rows(sql`select who from public.traces`)).toEqual([]);
      const rows = await project.rows(sql`select key, state from rowmill.requests order by key`);
      expect(rows).toEqual([
        { key: "1", state: "succeeded" },
        { key: "2", state: "failed" },
      ]);
    });

    it("one row that may cost more than the whole budget fails alone", async () => {
      await createNotes(project, [...plain(5), "word ".repeat(40_000)]);
      const notes = pipeline({
        source: { table: "notes", key: "id", columns: ["body"] },
        ...quick,
        budget: { usd: 0.002, per: "day" },
        request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
        answer: z.object({ summary: z.string() }),
        target: { table: "note_summaries" },
      });
      await project.drain(await project.worker({ notes }));
      const ended = await requests(project);
      expect(ended.map((row) => row.state)).toEqual([
        "succeeded",
        "succeeded",
        "succeeded",
        "succeeded",
        "succeeded",
        "failed",
      ]);
      expect(ended.at(-1)).toMatchObject({
        error_code: "tooLarge",
        error: expect.stringContaining("more than the whole budget of $0.002 per day"),
      });
    });

    it("a reply with a model name or token counts that no column holds is kept all the same", async () => {
      await project.close();
      const transformOutput = (line: string) => [
        line
          .replace(/"model":"[^"]*"/, '"model":"gpt\\u0000x"')
          .replace(/"prompt_tokens":\d+/, '"prompt_tokens":99999999999'),
      ];
      project = await startProject(kind, { gateway: { faults: { transformOutput } } });
      await createNotes(project, ["[[demo:refuse]] one", "two"]);
      await project.drain(await project.worker({ notes: notesPipeline({ attempts: 1 }) }));
      expect((await requests(project)).map((row) => row.state)).toEqual(["failed", "succeeded"]);
    });

    it("a worker whose definition was replaced neither sweeps nor takes arrivals", async () => {
      await createNotes(project, plain(2));
      const older = await project.worker({ notes: notesPipeline() });
      await project.drain(older);
      const newer = await project.worker({ notes: politePipeline() });
      await project.drain(newer);
      const swept = sql`select swept_hash, started_at from rowmill.sweeps`;
      const before = await project.rows(swept);
      await insertNotes(project, plain(1, "a later note"));
      await sweepAll(older, signal);
      expect(await runIntake(older)).toMatchObject({ arrivals: 0, added: 0 });
      expect(await project.rows(swept)).toEqual(before);
      await project.drain(newer);
      expect(await outcomes(project)).toEqual({ answered: 5 });
    });

    it("a table that one pipeline writes is a source of another like any table", async () => {
      await createNotes(project, plain(3));
      const second = pipeline({
        source: { table: "note_summaries", key: "id", columns: ["summary"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: "{{ summary }}" },
        target: { table: "summary_answers" },
      });
      await project.drain(await project.worker({ notes: notesPipeline(), second }));
      const [answers] = await project.rows(sql`select count(*)::int as rows from public.summary_answers`);
      expect(answers).toEqual({ rows: 3 });
    });

    if (kind !== "embedded") {
      it("a database whose default isolation is stricter accepts no stale answer", async () => {
        const name = new URL(project.url).pathname.slice(1);
        await project.database.pool.query(
          `alter database ${name} set default_transaction_isolation = 'repeatable read'`,
        );
        await createNotes(project, plain(3));
        const worker = await project.worker({ notes: notesPipeline() });
        const [level] = await worker.database.transaction((tx) =>
          tx.rows<{ level: string }>(sql`select current_setting('transaction_isolation') as level`),
        );
        expect(level?.level).toBe("read committed");
        await project.drain(worker);
      });
    }
  },
  bookKeepers,
);
