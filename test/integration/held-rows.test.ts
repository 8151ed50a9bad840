/**
 * Answers whose target rows another session holds: kept in the ledger, written from there, and the provider's files
 * are read once.
 */
import { afterEach, expect, it } from "vitest";
import type pg from "pg";
import { abandonBatch } from "../../src/app/adopt/abandon-batch.js";
import type { BatchName } from "../../src/store/batches/in-flight.js";
import type { GatewayFaults } from "../../src/gateway/engine/faults.js";
import { ANSWERS_JUDGED } from "../../src/model/batch/failing.js";
import { raw } from "../../src/postgres/database.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { batchRows, createNotes, insertNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { expectAllAnsweredOnce, hurry, is, passTime, pauseOf, resumeAll } from "../support/provider-faults.js";

const ROUNDS = 6;

describeDatabases(
  "Answers whose target row is held",
  (kind) => {
    let project: TestProject;
    let user: pg.PoolClient | null = null;
    let downloads = 0;
    afterEach(async () => {
      await user?.query("rollback");
      user?.release();
      user = null;
      await project.check().finally(() => project.close());
    });

    /** Notes, and a target that has a row for each of them. */
    async function start(bodies: readonly string[], faults: Partial<GatewayFaults> = {}): Promise<WorkerContext> {
      downloads = 0;
      const beforeEffect: GatewayFaults["beforeEffect"] = (call) => {
        if (is("readLines")(call)) downloads++;
        return faults.beforeEffect?.(call);
      };
      project = await startProject(kind, {
        gateway: { shuffleSeed: null, faults: { ...faults, beforeEffect } },
      });
      await createNotes(project, bodies);
      await project.run(
        sql`
          create table public.note_summaries (id int primary key, summary text, rowmill_at timestamptz,
            rowmill_model text)`,
      );
      await project.run(
        sql`insert into public.note_summaries (id, summary) select id, 'of the user' from public.notes`,
      );
      return project.worker({ notes: notesPipeline() });
    }

    async function hold(statement: string): Promise<pg.PoolClient> {
      user = await project.database.pool.connect();
      await user.query("begin");
      await user.query(statement);
      return user;
    }

    async function rounds(worker: WorkerContext, count = ROUNDS): Promise<void> {
      for (let round = 0; round < count; round++) {
        await project.round(worker);
        for (const { batchId } of (await project.gateway.journal.summary()).batches)
          await project.gateway.until(batchId);
        await passTime(project, "0 seconds");
      }
    }

    const kept = async () =>
      (
        await project.rows<{ key: string }>(sql`
        select r.key from rowmill.kept_answers k join rowmill.requests r on r.id = k.request_id order by r.id`)
      ).map(({ key }) => key);
    const untouched = async () =>
      (
        await project.rows<{ id: number }>(
          sql`select id from public.note_summaries where rowmill_at is null order by id`,
        )
      ).map(({ id }) => id);

    it.each([
      ["a row", "select 1 from public.note_summaries where id = 2 for update", ["2"]],
      ["the key of a row that is not there yet", "insert into public.note_summaries (id) values (2)", ["2"]],
      ["the whole table", "lock table public.note_summaries in share mode", ["1", "2", "3", "4", "5"]],
    ])("while a transaction holds %s are kept, and the file is read once", async (what, statement, keys) => {
      const worker = await start(plain(5));
      if (what.startsWith("the key")) await project.run(sql`delete from public.note_summaries where id = 2`);
      const client = await hold(statement);
      await rounds(worker);
      expect(await kept()).toEqual(keys);
      expect((await requests(project)).filter(({ state }) => state === "batched").map(({ key }) => key)).toEqual(keys);
      expect(await batchRows(project)).toMatchObject([{ state: "collecting" }]);
      expect(downloads).toBe(1);
      await client.query("rollback");
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 5);
      expect(await untouched()).toEqual([]);
      expect(await kept()).toEqual([]);
      expect(downloads).toBe(1);
    });

    it("outlive the provider's files, and their model's oddest characters", async () => {
      let isGone = false;
      const odd = (line: string): readonly string[] => [
        line.replace(/"model":"[^"]*"/, String.raw`"model":"half \ud83d, nul \u0000, \\u0000"`),
      ];
      const worker = await start(plain(3), {
        beforeEffect: (call) =>
          isGone && is("readLines")(call) ? { kind: "reply", status: 404, body: {} } : undefined,
        transformOutput: odd,
      });
      const client = await hold("select 1 from public.note_summaries where id = 2 for update");
      await rounds(worker);
      isGone = true;
      await client.query("rollback");
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
      const models = await project.rows<{ models: number }>(
        sql`select count(distinct rowmill_model)::int as models from public.note_summaries`,
      );
      expect(models).toEqual([{ models: 1 }]);
    });

    it("are judged when they are written: by the row as it is then, and by the definition that asked", async () => {
      const worker = await start(plain(4));
      const client = await hold("select 1 from public.note_summaries where id in (2, 3, 4) for update");
      await rounds(worker);
      expect(await kept()).toEqual(["2", "3", "4"]);
      await project.run(sql`update public.notes set body = 'Another text.' where id = 2`);
      await project.run(sql`delete from public.notes where id = 3`);
      const renewed = await project.worker({ notes: notesPipeline({ user: "Sum up: {{ body }}" }) });
      await client.query("rollback");
      await hurry(project, renewed);
      expect(await outcomes(project)).toEqual({ answered: 5, gone: 1, stale: 1 });
      expect((await requests(project)).map(({ state }) => state)).toEqual([
        "succeeded",
        "succeeded",
        "gone",
        "succeeded",
      ]);
      expect((await project.gateway.journal.summary()).executed).toBe(7);
    });

    it("are not missing, while what the files lack is sent again", async () => {
      let dropped = 0;
      const worker = await start(plain(4), {
        transformOutput: (line) => (line.includes("number 3,") && dropped++ === 0 ? [] : undefined),
      });
      const client = await hold("select 1 from public.note_summaries where id = 2 for update");
      await rounds(worker, 12);
      expect(await outcomes(project)).toMatchObject({ missing: 1 });
      expect(await kept()).toEqual(["2"]);
      await client.query("rollback");
      await hurry(project, worker);
      expect(await outcomes(project)).toEqual({ answered: 4, missing: 1 });
      expect((await project.gateway.journal.summary()).executed).toBe(5);
    });

    it("are there for another worker, wherever the first one died", async () => {
      const worker = await start(plain(4));
      const client = await hold("select 1 from public.note_summaries where id = 2 for update");
      let deaths = 0;
      const dying: WorkerContext = {
        ...worker,
        step: async (name, work) => {
          if (name === "collect.postpone") throw new Error(`The worker died (${++deaths}).`);
          return worker.step(name, work);
        },
      };
      await rounds(dying);
      expect(deaths).toBeGreaterThan(1);
      expect(await kept()).toEqual(["2"]);
      await client.query("rollback");
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 4);
    });

    it("are dropped with their batch when you give it up", async () => {
      const worker = await start(plain(3));
      const client = await hold("select 1 from public.note_summaries where id = 2 for update");
      await rounds(worker);
      const [batch] = await project.rows<BatchName>(
        sql`select id, no, pipeline_id as "pipelineId" from rowmill.batches`,
      );
      if (batch === undefined) throw new Error("There is no batch.");
      const wish = { drops: false, config: undefined };
      expect(await abandonBatch(project.database, batch, wish)).toMatchObject({ rows: 1, dropped: 0 });
      expect(await kept()).toEqual([]);
      await client.query("rollback");
      await hurry(project, worker);
      expect(await outcomes(project)).toEqual({ abandoned: 1, answered: 3 });
    });

    it("are tried less and less often when the target accepts none and your pause hides that", async () => {
      const worker = await start(plain(3));
      await project.run(
        raw(
          `create function public.closed() returns trigger language plpgsql as $$
            begin raise exception 'closed'; end $$`,
        ),
      );
      await project.run(
        sql`
          create trigger closed before insert
            or update on public.note_summaries for each row execute function public.closed()`,
      );
      await rounds(worker, 1);
      await project.run(
        sql`update rowmill.pipelines set pause_kind = 'person', pause_reason = 'lunch', paused_at = now()`,
      );
      await rounds(worker, 4);
      const [batch] = await project.rows<{ failures: number }>(sql`select failures from rowmill.batches`);
      expect(batch?.failures).toBeGreaterThan(2);
      expect(await pauseOf(project)).toEqual({ kind: "person", reason: "lunch" });
      await resumeAll(project);
      await rounds(worker, 1);
      expect(await pauseOf(project)).toMatchObject({
        kind: "target",
        reason: expect.stringContaining("closed"),
      });
      await project.run(sql`drop trigger closed on public.note_summaries`);
      await resumeAll(project);
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
    });

    it("are not tried row by row indefinitely when the target accepts none", async () => {
      const worker = await start([]);
      await project.run(
        sql`
          create function public.closed() returns trigger language plpgsql as $$
            begin raise exception 'closed'; end $$`,
      );
      await project.run(
        sql`
          create trigger closed before insert
            or update on public.note_summaries for each row execute function public.closed()`,
      );
      for (const note of plain(ANSWERS_JUDGED)) {
        expect(await pauseOf(project)).toBeNull();
        await insertNotes(project, [note]);
        await hurry(project, worker);
      }
      expect(await pauseOf(project)).toMatchObject({ kind: "target" });
      await project.run(sql`drop trigger closed on public.note_summaries`);
      await resumeAll(project);
      await hurry(project, worker);
      const states = (await requests(project)).map(({ state }) => state);
      expect(states.filter((state) => state === "failed")).toHaveLength(ANSWERS_JUDGED - 1);
      expect(states.at(-1)).toBe("succeeded");
      expect((await project.gateway.journal.summary()).executed).toBe(ANSWERS_JUDGED);
    });

    it.each(["40001", "40P01", "55P03", "57014"])(
      "are refused in the end where it is a trigger that raises %s each time",
      async (sqlState) => {
        const worker = await start(plain(6));
        await project.run(
          raw(`create function public.never() returns trigger language plpgsql as $$ begin
            if new.id in (2, 5) then raise exception 'never' using errcode = '${sqlState}'; end if; return new;
            end $$`),
        );
        await project.run(
          sql`
            create trigger never before insert
              or update on public.note_summaries for each row execute function public.never()`,
        );
        await rounds(worker, 2);
        expect(await kept()).toEqual(["2", "5"]);
        await hurry(project, worker);
        const failed = (await requests(project)).filter(({ state }) => state !== "succeeded");
        expect(failed.map(({ key, error_code: code }) => [key, code])).toEqual([
          ["2", "unwritable"],
          ["5", "unwritable"],
        ]);
        expect(failed[0]?.error).toContain("never");
        expect(downloads).toBe(1);
        expect((await project.gateway.journal.summary()).executed).toBe(6);
      },
    );
  },
  // The embedded database has one session: no other one can hold a row there.
  bookKeepers.filter((kind) => kind !== "embedded"),
);
