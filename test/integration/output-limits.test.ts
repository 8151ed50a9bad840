/** The output limit that requests are sent with: learned from answers, doubled where it cut one off, and a true cap. */
import fc from "fast-check";
import { afterEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, insertNotes, outcomes, requests } from "../support/notes.js";
import { goodAnswer, type PlainAnswer } from "../support/plain-answers.js";
import { startPlainProject, type PlainProject } from "../support/plain-project.js";
import { sql } from "../support/project.js";

const ROOM_MAX = 2_000;
type Changes = Partial<Parameters<typeof pipeline>[0]>;

/** A prompt says how many output tokens its answer takes: `#40`. */
const answerOfSize: PlainAnswer = (ask) => {
  const needed = Number(/#(\d+)/.exec(ask.prompt)?.[1]);
  return answerWith(ask, Math.min(needed, ask.max_output), needed > ask.max_output);
};
/** Uses all that it may: always, or once the limit is learned. */
const greedy: PlainAnswer = (ask) => answerWith(ask, ask.max_output, false);
const greedyOnceLearned: PlainAnswer = (ask, place) => (ask.max_output < ROOM_MAX ? greedy : answerOfSize)(ask, place);

function answerWith(ask: Parameters<PlainAnswer>[0], written: number, isCut: boolean): ReturnType<PlainAnswer> {
  const answer = goodAnswer(ask, '{"summary":"short"}', isCut ? "length" : "end");
  return answer.type === "good" ? { ...answer, usage: { ...answer.usage, written } } : answer;
}

function sized(...sizes: readonly number[]): string[] {
  return sizes.map((size, index) => `Text ${index} #${size}`);
}

function notes(changes: Changes = {}) {
  return pipeline({
    ...quick,
    source: { table: "notes", key: "id", columns: ["body"] },
    request: { model: "plain-small", maxOutputTokens: ROOM_MAX, user: "{{ body }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
    ...changes,
  });
}

describeDatabases(
  "An output limit",
  (kind) => {
    let at: PlainProject;
    afterEach(async () => {
      await at.project.check().finally(() => at.close());
    });

    async function worker(changes: Changes = {}) {
      return at.worker({ pipelines: (provider) => ({ notes: notes({ provider, ...changes }) }) });
    }

    /** Room of each execution, in order. */
    const asked = () => at.standIn.executions.map(({ ask }) => ask.max_output);
    const batches = () =>
      at.project.rows<{ room: number | null; requests: number }>(
        sql`select room, requests from rowmill.batches order by no`,
      );

    it("is the config's until an answer came, and a multiple of its largest answers from then on", async () => {
      at = await startPlainProject(kind, { answer: answerOfSize });
      await createNotes(at.project, sized(40, 41, 42, 43, 44));
      const one = await worker();
      await at.project.drain(one);
      await insertNotes(at.project, sized(30, 31));
      await at.project.drain(one);
      expect(asked()).toEqual([...Array<number>(5).fill(ROOM_MAX), 132, 132]);
      expect(await batches()).toMatchObject([{ room: ROOM_MAX }, { room: 132 }]);
      expect(await outcomes(at.project)).toEqual({ answered: 7 });
    });

    it("that cuts an answer off doubles for that row up to the config's, at no try", async () => {
      at = await startPlainProject(kind, { answer: answerOfSize });
      await createNotes(at.project, sized(...Array<number>(60).fill(40)));
      const one = await worker({ attempts: 1 });
      await at.project.drain(one);
      await insertNotes(at.project, [...sized(300), "Endless #99999"]);
      await at.project.drain(one);
      const [long, endless] = (await requests(at.project)).slice(60);
      expect(long).toMatchObject({ state: "succeeded", tries: 0 });
      expect(endless).toMatchObject({ state: "failed", error_code: "truncated", tries: 1 });
      const rooms = (id: number) =>
        at.project.rows<{ room: number; outcome: string }>(sql`
          select a.room, a.outcome from rowmill.attempts a join rowmill.requests r on r.id = a.request_id
          where r.key = ${String(id)} order by a.attempt`);
      const cuts = [80, 160].map((room) => ({ room, outcome: "cutShort" }));
      expect(await rooms(61)).toEqual([...cuts, { room: 320, outcome: "answered" }]);
      const endlessRooms = await rooms(62);
      expect(endlessRooms.slice(0, 2)).toEqual(cuts);
      expect(endlessRooms.at(-1)).toEqual({ room: ROOM_MAX, outcome: "truncated" });
      endlessRooms.reduce((before, { room }) => {
        expect(room).toBeGreaterThanOrEqual(Math.min(ROOM_MAX, 2 * before.room));
        return { room, outcome: "" };
      });
    });

    it("is raised where the answers of a definition grow", async () => {
      at = await startPlainProject(kind, { answer: answerOfSize });
      await createNotes(at.project, sized(40, 40, 40, 40, 40));
      const one = await worker();
      await at.project.drain(one);
      await insertNotes(at.project, sized(...Array<number>(100).fill(150)));
      await at.project.drain(one);
      await insertNotes(at.project, sized(160));
      await at.project.drain(one);
      expect(asked().at(-1)).toBeGreaterThanOrEqual(300);
      expect(new Set((await requests(at.project)).map(({ state }) => state))).toEqual(new Set(["succeeded"]));
    });

    it("that was learned lets one batch hold what the budget allowed in many", async () => {
      at = await startPlainProject(kind, { answer: answerOfSize });
      // A bound of 2,000 tokens at $1 a million is $0.002 a row: ten rows of them fill this budget.
      await createNotes(at.project, sized(...Array<number>(400).fill(40)));
      await at.project.drain(await worker({ budget: { usd: 0.05, per: "total" } }));
      const sizes = (await batches()).map(({ requests: rows }) => rows);
      expect(sizes).toHaveLength(2);
      expect(sizes[0]).toBeLessThan(30);
      expect(sizes.reduce((sum, rows) => sum + rows, 0)).toBe(400);
    });

    it("never lets spent and reserved money pass the budget, with several workers and answers that use all of it", async () => {
      const run = async (budgetMicroUsd: number, rows: number, perBatch: number, learned: boolean) => {
        at = await startPlainProject(kind, { answer: learned ? greedyOnceLearned : greedy });
        await createNotes(at.project, sized(...Array.from({ length: rows }, (_, index) => 20 + (index % 300))));
        const money = {
          budget: { usd: budgetMicroUsd / 1e6, per: "total" as const },
          batch: { maxRequests: perBatch },
        };
        const workers = [await worker(money), await worker(money), await worker(money)];
        for (let round = 0; round < 12; round++) {
          await Promise.all(workers.map((each) => at.project.round(each)));
          await at.project.run(sql`update rowmill.batches set next_at = now() where settled_at is null`);
          const [sum] = await at.project.rows<{ microUsd: number }>(sql`
            select (coalesce((select sum(cost_nano_usd) from rowmill.attempts), 0)
              + coalesce((select sum(greatest(b.reserved_nano_usd, 0)) from rowmill.batches b), 0)
              - coalesce((
                  select sum(u.cost_nano_usd) from rowmill.usage u join rowmill.batches b on b.no = u.batch
                  where b.settled_at is null), 0))::float8 / 1000 as "microUsd"`);
          expect(sum?.microUsd).toBeLessThanOrEqual(budgetMicroUsd);
        }
        await at.project.check();
      };
      await fc.assert(
        fc.asyncProperty(
          fc.integer({ min: 3_000, max: 60_000 }),
          fc.integer({ min: 5, max: 60 }),
          fc.integer({ min: 2, max: 30 }),
          fc.boolean(),
          async (...drawn) => {
            await run(...drawn).finally(() => at.close());
          },
        ),
        { numRuns: 3 },
      );
      // For what follows each test.
      at = await startPlainProject(kind);
    });
  },
  bookKeepers,
);
