/**
 * Answers that mostly fail: the pipeline pauses before more of them are paid for, and you say whether that is normal.
 */
import { afterEach, expect, it } from "vitest";
import { ANSWERS_JUDGED } from "../../src/model/batch/failing.js";
import { pipeline, z } from "../../src/index.js";
import * as pipelines from "../../src/store/pipelines/pipelines.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { batchRows, createNotes, insertNotes, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { hurry } from "../support/provider-faults.js";

interface Changes {
  readonly attempts?: number;
  readonly system?: string;
}

function notes({ attempts = 3, system = "Sum it up." }: Changes = {}) {
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, system, user: "{{ body }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
    attempts,
  });
}

const marked = (mark: string, count: number) => plain(count, mark).map((body) => `[[demo:${mark}]] ${body}`);

describeDatabases(
  "Answers that mostly fail",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function start(bodies: readonly string[], changes: Changes = {}): Promise<WorkerContext> {
      project = await startProject(kind);
      await createNotes(project, bodies);
      return project.worker({ notes: notes(changes) });
    }

    const executed = async () => (await project.gateway.journal.summary()).executed;

    async function paused(): Promise<{ kind: string | null; reason: string | null }> {
      const [row] = await project.rows<{ kind: string | null; reason: string | null }>(
        sql`select pause_kind as kind, pause_reason as reason from rowmill.pipelines`,
      );
      return row ?? { kind: "none", reason: null };
    }

    async function resume(worker: WorkerContext): Promise<void> {
      for (const id of worker.pipelines.keys()) await pipelines.resume(project.database, id);
    }

    it("pause the pipeline before another try or batch, with two workers, and say what to change", async () => {
      const one = await start(marked("invalid", 30));
      const other = await project.worker({ notes: notes() });
      await project.drain(one, other);
      expect(await outcomes(project)).toEqual({ invalid: 30 });
      const { kind: pausedFor, reason } = await paused();
      expect(pausedFor).toBe("answers");
      expect(reason).toMatch(
        /^20 of the last 20 answers failed: 20 invalid\. Row "\d+": ".+"\. Say in pipelines\.notes\.request what .*: rowmill resume notes\. .*: rowmill resume notes --accept$/,
      );
      await insertNotes(project, plain(5, "later"));
      await project.drain(one, other);
      expect(await executed()).toBe(30);
      expect(await batchRows(project)).toMatchObject([{ state: "settled" }]);
    });

    it("are seen by the planner of another worker before the batch has settled", async () => {
      const one = await start(marked("refuse", 30));
      const other = await project.worker({ notes: notes() });
      const dying: WorkerContext = {
        ...one,
        step: (name, work) => {
          if (name === "end.chunk") throw new Error("The worker died.");
          return one.step(name, work);
        },
      };
      for (let round = 0; round < 50 && (await outcomes(project))["refused"] !== 30; round++) {
        await project.round(dying);
        await project.run(sql`update rowmill.batches set next_at = now()`);
      }
      expect(await batchRows(project)).toMatchObject([{ state: "collecting" }]);
      expect((await paused()).kind).toBeNull();
      // Its lease is the dead one's, so the other can do nothing but plan.
      await project.run(
        sql`update rowmill.batches set lease_token = gen_random_uuid(), lease_until = now() + interval '1 hour'`,
      );
      await project.round(other);
      expect(await batchRows(project)).toHaveLength(1);
      expect((await paused()).kind).toBe("answers");
      await project.run(sql`update rowmill.batches set lease_token = null, lease_until = null, next_at = now()`);
      await project.drain(other);
      await hurry(project, other);
      expect(await batchRows(project)).toMatchObject([{ state: "settled" }]);
      expect(await executed()).toBe(30);
    });

    it("are remembered where the definition comes back: no batch is paid for to see it again", async () => {
      const failing = await start(marked("invalid", 30));
      await project.drain(failing);
      expect(await executed()).toBe(30);
      await project.worker({ notes: notes({ system: "Be brief." }) }, { approve: false });
      expect((await paused()).kind).toBeNull();
      await project.drain(await project.worker({ notes: notes() }));
      expect((await paused()).kind).toBe("answers");
      expect(await executed()).toBe(30);
    });

    it("count over all batches of the definition, and from the twentieth on", async () => {
      const worker = await start(marked("invalid", 10), { attempts: 1 });
      await project.drain(worker);
      await insertNotes(project, marked("truncate", ANSWERS_JUDGED - 11));
      await project.drain(worker);
      expect(await outcomes(project)).toMatchObject({ invalid: 10, truncated: 9 });
      expect((await paused()).kind).toBeNull();
      await insertNotes(project, plain(1));
      await project.drain(worker);
      expect(await paused()).toMatchObject({
        kind: "answers",
        reason: expect.stringMatching(/^19 of the last 20 answers failed: 10 invalid, 9 truncated\./),
      });
    });

    it("do not pause it while half of them are usable, or when a few hard rows are sent again", async () => {
      const worker = await start([...plain(40), ...marked("invalid", 15)]);
      await project.drain(worker);
      expect(await outcomes(project)).toEqual({ answered: 40, invalid: 45 });
      expect((await paused()).kind).toBeNull();
    });

    it("are not those that the provider spoiled, nor requests that cannot be asked", async () => {
      const worker = await start([...marked("error 400", 15), ...marked("error 500", 15), ...marked("invalid", 5)], {
        attempts: 1,
      });
      await hurry(project, worker);
      expect(await outcomes(project)).toEqual({ invalid: 5, permanent: 15, transient: 150 });
      expect((await paused()).kind).toBeNull();
      expect((await requests(project)).every(({ state }) => state === "failed")).toBe(true);
    });

    it("are paid for once more after a resume, and pause it again", async () => {
      const worker = await start(marked("refuse", 25));
      await project.drain(worker);
      await resume(worker);
      await project.drain(worker);
      expect(await executed()).toBe(50);
      expect((await paused()).kind).toBe("answers");
    });

    it("say nothing about another definition, which continues and counts from zero", async () => {
      const worker = await start(marked("invalid", 25));
      await project.drain(worker);
      expect((await paused()).kind).toBe("answers");
      const changed = await project.worker({ notes: notes({ system: "Sum it up in JSON." }) });
      expect((await paused()).kind).toBeNull();
      await project.drain(changed);
      expect(await executed()).toBe(50);
      expect((await paused()).kind).toBe("answers");
    });
  },
  bookKeepers,
);
