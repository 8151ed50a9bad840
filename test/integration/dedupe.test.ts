/** Equal questions of a batch share a line, and each row is judged by itself. */
import { afterEach, expect, it } from "vitest";
import { raw } from "../../src/postgres/database.js";
import { lockUnanswered } from "../../src/store/batches/in-flight.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import {
  createEqualNotes,
  equalNotesPipeline,
  insertEqualNotes,
  type EqualNote,
  type EqualNotesOptions,
} from "../support/equal-notes.js";
import { outcomes } from "../support/notes.js";
import { goodAnswer, type PlainAnswer } from "../support/plain-answers.js";
import { startPlainProject, type PlainProject } from "../support/plain-project.js";
import type { PlainStandInOptions } from "../support/plain-stand-in.js";
import { sql } from "../support/project.js";

type Options = PlainStandInOptions & EqualNotesOptions;

describeDatabases(
  "Equal questions",
  (kind) => {
    let at: PlainProject;
    afterEach(async () => {
      await at.project.check().finally(() => at.close());
    });

    async function start(notes: readonly EqualNote[], options: Options = {}): Promise<WorkerContext> {
      at = await startPlainProject(kind, options);
      await createEqualNotes(at.project, notes);
      return worker(options);
    }

    const insert = (notes: readonly EqualNote[]) => insertEqualNotes(at.project, notes);

    function worker(options: EqualNotesOptions = {}): Promise<WorkerContext> {
      return at.worker({ pipelines: (provider) => ({ notes: equalNotesPipeline({ ...options, provider }) }) });
    }

    const asked = () => at.standIn.executions.map(({ ask }) => ask.prompt);
    const paused = async () =>
      (await at.project.rows<{ reason: string | null }>(sql`select pause_reason as reason from rowmill.pipelines`))[0]
        ?.reason;
    const states = async () => (await at.accounts()).states;

    it("share one line, whose attempt alone has tokens and cost", async () => {
      const one = await start([["a"], ["b"], ["a"], ["a"], ["b"], ["c"]]);
      await at.project.drain(one);
      expect(asked()).toEqual(["a", "b", "c"]);
      expect(await states()).toEqual({ succeeded: 6 });
      expect((await at.accounts()).missing).toBe(0);
      const [batch] = await at.project.rows(sql`
        select requests, lines, sharing, succeeded from rowmill.batches`);
      expect(batch).toEqual({ requests: 6, lines: 3, sharing: 3, succeeded: 6 });
      const attempts = await at.project.rows<{ key: string; from: string | null; costs: boolean; input: number }>(sql`
        select r.key, f.key as from, a.cost_nano_usd > 0 as costs, a.input_tokens as input
        from rowmill.attempts a
        join rowmill.requests r on r.id = a.request_id
        left join rowmill.requests f on f.id = a.shared_from
        order by r.id`);
      expect(attempts.map(({ key, from, costs }) => [key, from, costs])).toEqual([
        ["1", null, true],
        ["2", null, true],
        ["3", "1", false],
        ["4", "1", false],
        ["5", "2", false],
        ["6", null, true],
      ]);
      expect(attempts.filter(({ input }) => input > 0)).toHaveLength(3);
    });

    it("are each asked where answers vary from try to try, unless the config says otherwise", async () => {
      await at.project.drain(await start([["a"], ["a"]], { temperature: 1 }));
      expect(asked()).toEqual(["a", "a"]);
      await insert([["b"], ["b"]]);
      await at.project.drain(await worker({ temperature: 1, dedupe: true }));
      expect(asked().slice(2)).toEqual(["b"]);
    });

    it("are each asked where the config turns sharing off", async () => {
      await at.project.drain(await start([["a"], ["a"]], { dedupe: false }));
      expect(asked()).toEqual(["a", "a"]);
    });

    it("are asked alone where the shared answer does not fit the row's own content, at no try", async () => {
      const one = await start([["a"], ["a", "unlikely"], ["a"]], { attempts: 1 });
      await at.project.drain(one);
      expect(asked()).toEqual(["a", "a"]);
      expect(await outcomes(at.project)).toEqual({ answered: 2, unshared: 1, invalid: 1 });
      expect(await states()).toEqual({ succeeded: 2, failed: 1 });
    });

    it("do not pause the pipeline where only hard rows of a batch that went well are asked alone", async () => {
      const hard = Array.from({ length: 20 }, (_, row): EqualNote => [`hard ${row}`, "a word that no answer has"]);
      const easy = Array.from({ length: 40 }, (_, row): EqualNote => [`easy ${row}`]);
      const one = await start([...easy, ...hard, ...hard]);
      await at.project.drain(one);
      expect(await paused()).toBeNull();
      expect(await states()).toEqual({ succeeded: 40, failed: 40 });
    });

    it("are answered by the line of a row that changes or goes meanwhile", async () => {
      let hold = true;
      const one = await start([["a"], ["a"], ["b"], ["b"], ["b"]], { hold: () => hold });
      await at.project.round(one);
      await at.project.run(sql`update public.notes set body = 'changed' where id = 1`);
      await at.project.run(sql`delete from public.notes where id = 3`);
      hold = false;
      at.standIn.batches.release();
      await at.project.drain(one);
      expect(asked().sort()).toEqual(["a", "b", "changed"]);
      expect(await states()).toEqual({ succeeded: 4, gone: 1 });
      expect(await outcomes(at.project)).toEqual({ answered: 4, gone: 1, stale: 1 });
    });

    it("go through their tries together, and fail together", async () => {
      const never: PlainAnswer = (ask) => goodAnswer(ask, "no JSON");
      const one = await start(
        Array.from({ length: 12 }, () => ["a"] as const),
        { answer: never, attempts: 3 },
      );
      await at.project.drain(one);
      expect(asked()).toEqual(["a", "a", "a"]);
      expect(await states()).toEqual({ failed: 12 });
    });

    it("get more room together where their answer was cut short", async () => {
      const needs: PlainAnswer = (ask) =>
        ask.prompt === "long" && ask.max_output < 90
          ? withWritten(goodAnswer(ask, "{", "length"), ask.max_output)
          : goodAnswer(ask, '{"summary":"fine"}');
      const one = await start([["1"], ["2"], ["3"], ["4"], ["5"]], { answer: needs });
      await at.project.drain(one);
      await insert(Array.from({ length: 5 }, () => ["long"] as const));
      await at.project.drain(one);
      expect(await states()).toEqual({ succeeded: 10 });
      expect(asked()).toEqual(["1", "2", "3", "4", "5", "long", "long"]);
    });

    it("leave lines that other code named alone, whatever plan the database chooses", async () => {
      const one = await start([["a"]]);
      await at.project.drain(one);
      const undone = at.project.database.transaction(async (tx) => {
        await tx.run(sql`
          insert into rowmill.batches (id, no, pipeline_id, state, definition_hash, provider, account, model, endpoint,
            batch_factor, requests, lines, window_hours, adopted_pattern)
          overriding system value
          select gen_random_uuid(), 9999, pipeline_id, 'planned', definition_hash, provider, account, model, endpoint,
            0.5, 2000, 2000, 24, 'task-{id}'
          from rowmill.batches limit 1`);
        await tx.run(sql`
          insert into rowmill.requests (pipeline_id, key, state, batch, attempt)
          select pipeline_id, 'x' || g, 'batched', 9999, 1
          from rowmill.batches, generate_series(1, 2000) g where no = 9999`);
        await tx.run(sql`
          insert into rowmill.named_lines (request_id, batch, custom_id)
          select id, 9999, 'task-' || key from rowmill.requests where batch = 9999`);
        await tx.run(sql`
          insert into rowmill.lines (batch, part, first, ids)
          select 9999, 0, 1, array(select id from rowmill.requests where batch = 9999 order by id)`);
        for (const table of ["lines", "named_lines", "requests"]) await tx.run(raw(`analyze rowmill.${table}`));
        expect((await lockUnanswered(tx, 9999, 0)).requests).toHaveLength(2_000);
        throw new Error("undone");
      });
      await expect(undone).rejects.toThrow("undone");
    });

    it("stay one line through crashes of several workers", async () => {
      const bodies = Array.from({ length: 300 }, (_, index) => [`text ${index % 7 === 0 ? 0 : index}`] as const);
      const first = await start(bodies, { maxRequests: 120 });
      let steps = 0;
      const dying = (context: WorkerContext, every: number): WorkerContext => ({
        ...context,
        step: async (name, work) => {
          const done = await context.step(name, work);
          // Not while the create is on its way: this provider's is told by circumstance, and asks a person.
          const isOfLines = /^(plan|render|collect|end)\./.test(name);
          if (isOfLines && ++steps % every === 0) throw new Error(`The worker died after ${name}.`);
          return done;
        },
      });
      const workers = [dying(first, 11), dying(await worker({ maxRequests: 120 }), 13)];
      for (let round = 0; round < 15; round++) {
        await Promise.all(workers.map((each) => at.project.round(each).catch(() => undefined)));
        await at.project.run(
          sql`update rowmill.batches set next_at = now(), lease_token = null, lease_until = null where settled_at is null`,
        );
      }
      await at.project.drain(first);
      expect(await paused()).toBeNull();
      expect(await states()).toEqual({ succeeded: 300 });
      const batches = await at.project.rows<{ lines: number; sharing: number; requests: number }>(
        sql`select lines, sharing, requests from rowmill.batches where lines is not null`,
      );
      for (const { lines, sharing, requests } of batches) expect(lines + sharing).toBe(requests);
      // Once a batch.
      expect(asked().filter((prompt) => prompt === "text 0").length).toBeLessThanOrEqual(batches.length);
      expect(new Set(asked()).size).toBe(300 - Math.ceil(300 / 7) + 1);
    });
  },
  bookKeepers,
);

function withWritten(answer: ReturnType<PlainAnswer>, written: number): ReturnType<PlainAnswer> {
  return answer.type === "good" ? { ...answer, usage: { ...answer.usage, written } } : answer;
}
