/** Erasing rows: no table of Rowmill and no file of it has them afterwards, whatever was going on with them. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, push, z } from "../../src/index.js";
import type { PipelineConfig } from "../../src/model/pipeline.js";
import { answersOf, forgetRows, lookAtRows, prepareForgetting } from "../../src/app/story/forget-rows.js";
import { raw, sql } from "../../src/postgres/database.js";
import * as pipelines from "../../src/store/pipelines/pipelines.js";
import * as pushes from "../../src/store/replicas/pushes.js";
import { listSpools } from "../../src/worker/spool.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { createNotes, notesPipeline, plain } from "../support/notes.js";
import { startProject, type TestProject } from "../support/project.js";

const SECRET = "Zanzibar";
const signal = new AbortController().signal;

const people = (key: string | readonly string[] = "mail") => ({
  people: pipeline({
    source: push({ key, columns: ["text"] }),
    polling: { min: "10ms", max: "10ms" },
    request: { model: "gpt-4o-mini", user: "Sum up: {{ text }}", maxOutputTokens: 100 },
    answer: z.object({ summary: z.string() }),
    target: { table: "person_texts" },
  }),
});

describeDatabases(
  "Erasing rows",
  (kind) => {
    let project: TestProject;
    let held = false;
    let full = false;
    beforeEach(async () => {
      held = false;
      full = false;
      const refused = { kind: "reply", status: 503, body: {}, headers: {} } as const;
      const beforeEffect = ({ method, route }: { method: string; route: string }) =>
        full && method === "POST" && route === "/v1/files" ? refused : undefined;
      project = await startProject(kind, { gateway: { faults: { hold: () => held, beforeEffect } } });
    });
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    const pushed = (...rows: object[]) =>
      pushes.push(
        project.database,
        "people",
        rows.map((row) => JSON.stringify(row)),
      );
    const person = (name: string) => ({ mail: `${name}@example.org`, text: `${name} lives alone, and likes tea.` });
    const configOf = (worker: WorkerContext): PipelineConfig => {
      const [found] = [...worker.pipelines.values()];
      if (found === undefined) throw new Error("There is no pipeline.");
      return found.config;
    };
    const forget = async (worker: WorkerContext, keys: readonly string[], answers = false) => {
      const config = configOf(worker);
      const row = (await pipelines.all(project.database)).find(({ name }) => name === config.name);
      if (row === undefined) throw new Error("The pipeline is not registered.");
      const wanted = await prepareForgetting(project.database, { name: row.name, pipelineId: row.id, config, keys });
      const known = await lookAtRows(project.database, wanted);
      const target = answers ? await answersOf(project.database, wanted) : null;
      return { known, done: await forgetRows(project.database, wanted, { target, signal }) };
    };
    /** Tables of Rowmill in which the text is, in any column. */
    const traces = async (text: string): Promise<string[]> => {
      const tables = await project.rows<{ name: string }>(sql`
      select c.oid::regclass::text as name
      from pg_catalog.pg_class c
      join pg_catalog.pg_namespace n on n.oid = c.relnamespace
      where n.nspname in ('rowmill', 'rowmill_data', 'rowmill_worker') and c.relkind = 'r'
      order by 1`);
      const found: string[] = [];
      for (const { name } of tables) {
        const rows = await project.rows(
          sql`select 1 as one from ${raw(name)} t where strpos(t::text, ${text}) > 0 limit 1`,
        );
        if (rows.length > 0) found.push(name);
      }
      return found;
    };
    const states = () =>
      project.rows(sql`select state::text, count(*)::int as n from rowmill.requests group by 1 order by 1`);

    it("leaves no copy of an answered row, and keeps what it cost", async () => {
      const worker = await project.worker(people());
      await pushed(person(SECRET), person("Ann"));
      await project.drain(worker);
      await project.run(sql`update rowmill.attempts set answer = ${SECRET}, detail = ${SECRET}`);
      const cost = sql`select sum(cost_nano_usd)::float8 as cost from rowmill.attempts`;
      const before = await project.rows(cost);
      const { done } = await forget(worker, [`${SECRET}@example.org`]);
      expect(done).toEqual({ requests: 1, pushed: 1, tried: 0, answers: 0 });
      await project.run(sql`update rowmill.attempts set answer = null, detail = null where answer is not null
      and request_id in (select id from rowmill.requests where not forgotten)`);
      expect(await traces(SECRET)).toEqual([]);
      expect(await project.rows(cost)).toEqual(before);
      expect(await project.rows(sql`select mail from public.person_texts where mail like 'Zan%'`)).toHaveLength(1);
      await project.drain(worker);
      expect(await states()).toEqual([
        { state: "gone", n: 1 },
        { state: "succeeded", n: 1 },
      ]);
    });

    it("deletes the answer in the target too where you say so", async () => {
      const worker = await project.worker(people(["mail", "no"]));
      await pushed({ ...person(SECRET), no: 1 }, { ...person("Ann"), no: 2 });
      await project.drain(worker);
      const { done } = await forget(worker, [`["${SECRET}@example.org", "1"]`], true);
      expect(done).toEqual({ requests: 1, pushed: 1, tried: 0, answers: 1 });
      expect(await project.rows(sql`select mail from public.person_texts`)).toEqual([{ mail: "Ann@example.org" }]);
      expect(await traces(SECRET)).toEqual([]);
    });

    it("drops the late answer of a row in flight, and the row that comes back is sent again", async () => {
      held = true;
      const worker = await project.worker(people());
      await pushed(person(SECRET), person("Ann"));
      await project.round(worker);
      await project.round(worker);
      const { known } = await forget(worker, [`${SECRET}@example.org`]);
      expect(known.batches).toMatchObject([{ state: "running", foreign: false, settled: false }]);
      expect(await traces(SECRET)).toEqual([]);
      await project.check();
      await pushed(person(SECRET));
      held = false;
      project.gateway.release();
      await project.drain(worker);
      expect(
        await project.rows(sql`
      select a.outcome, r.forgotten, a.attempt, a.answer
      from rowmill.attempts a
      join rowmill.requests r on r.id = a.request_id
      order by r.forgotten desc, a.attempt`),
      ).toEqual([
        { outcome: "gone", forgotten: true, attempt: 1, answer: null },
        { outcome: "answered", forgotten: false, attempt: 1, answer: null },
        { outcome: "answered", forgotten: false, attempt: 2, answer: null },
      ]);
      expect((await project.gateway.journal.summary()).executed).toBe(3);
      expect(await listSpools(worker.spoolFolder)).toEqual([]);
    });

    it("has a batch that was not sent yet prepared again without the row", async () => {
      const worker = await project.worker(people());
      await pushed(person(SECRET), person("Ann"));
      full = true;
      await project.round(worker);
      expect(await project.rows(sql`select state from rowmill.batches`)).toEqual([{ state: "uploading" }]);
      const { known } = await forget(worker, [`${SECRET}@example.org`]);
      expect(known.unsent).toHaveLength(1);
      full = false;
      await project.drain(worker);
      const sent = await project.gateway.journal.summary();
      expect(sent.executed).toBe(1);
    });

    it("replaces an answer that could not be written yet by its costs", async () => {
      const worker = await project.worker(people());
      await pushed(person(SECRET));
      await project.round(worker);
      const keep = (
        await project.rows<{ id: string; no: number }>(sql`
      select r.id::text as id, b.no
      from rowmill.requests r
      join rowmill.batches b on b.no = r.batch
      where r.state = 'batched'`)
      )[0];
      if (keep !== undefined) {
        const usage = { inputTokens: 5, cachedInputTokens: 0, outputTokens: 5 };
        const line = { kind: "text", customId: "x", text: SECRET, reasoning: SECRET, model: "m", usage };
        await project.run(sql`
        insert into rowmill.kept_answers (request_id, batch, attempt, outcome, bytes)
        values (${keep.id}, ${keep.no}, 1, ${JSON.stringify(line)}::json, 5)`);
      }
      await forget(worker, [`${SECRET}@example.org`]);
      expect(await traces(SECRET)).toEqual([]);
      await project.run(sql`delete from rowmill.kept_answers`);
      await project.drain(worker);
    });

    it("works for a table of yours, whose row stays and would be sent again", async () => {
      await createNotes(project, [...plain(2), `This one speaks of ${SECRET}.`]);
      const worker = await project.worker({ notes: notesPipeline() });
      await project.drain(worker);
      const { known, done } = await forget(worker, ["3", "2"]);
      expect(known.present).toEqual(["3", "2"]);
      expect(done).toEqual({ requests: 2, pushed: 0, tried: 0, answers: 0 });
      await project.run(sql`delete from public.notes where id = 3`);
      await project.run(sql`update rowmill.sweeps set wanted_at = now(), finished_at = now() - interval '1 day'`);
      await project.drain(worker);
      expect(await states()).toEqual([
        { state: "gone", n: 2 },
        { state: "succeeded", n: 2 },
      ]);
      expect((await project.gateway.journal.summary()).executed).toBe(4);
    });

    it("may be said twice, and of rows that were never there", async () => {
      const worker = await project.worker(people());
      await pushed(person(SECRET));
      expect((await forget(worker, [`${SECRET}@example.org`])).done).toMatchObject({ pushed: 1 });
      expect((await forget(worker, [`${SECRET}@example.org`, "nobody"])).done).toEqual({
        requests: 0,
        pushed: 0,
        tried: 0,
        answers: 0,
      });
      await project.drain(worker);
      expect(await states()).toEqual([]);
    });

    it("holds up no other row of its batch, whatever type the key has", async () => {
      held = true;
      await createNotes(project, [...plain(3), `This one speaks of ${SECRET}.`]);
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker);
      await project.round(worker);
      await forget(worker, ["4"]);
      await project.run(sql`delete from public.notes where id = 4`);
      expect(await traces(SECRET)).toEqual([]);
      held = false;
      project.gateway.release();
      await project.drain(worker);
      expect(await states()).toEqual([
        { state: "gone", n: 1 },
        { state: "succeeded", n: 3 },
      ]);
      expect(await project.rows(sql`select id from public.note_summaries order by id`)).toHaveLength(3);
      expect(await project.rows(sql`select failures from rowmill.batches`)).toEqual([{ failures: 0 }]);
    });

    it("erases a failed row with its error", async () => {
      await createNotes(project, [...plain(1), `This one is about a refusal.`]);
      const worker = await project.worker({ notes: notesPipeline() });
      await project.drain(worker);
      await project.run(sql`
      update rowmill.requests
      set state = 'failed', error_code = 'invalid', error = ${SECRET}, answered_hash = null
      where key = '2'`);
      await project.run(sql`
      insert into rowmill.counts (pipeline_id, succeeded, failed) select id, -1, 1 from rowmill.pipelines`);
      await project.run(sql`delete from public.notes where id = 2`);
      await forget(worker, ["2"]);
      expect(await traces(SECRET)).toEqual([]);
      await project.drain(worker);
    });
  },
  bookKeepers,
);
