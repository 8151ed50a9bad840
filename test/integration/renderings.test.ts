/**
 * A batch is rendered from the start where a rendering broke off: what had entered it leaves it again, under the
 * attempt of before.
 */
import { afterEach, beforeEach, expect, it } from "vitest";
import { QUEUE_ROW } from "../../src/store/requests/queue.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { batchRows, createNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

/** Two rows of the queue. */
const ROWS = QUEUE_ROW + 1;

describeDatabases(
  "A rendering that broke off",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
    });
    afterEach(() => project.check().finally(() => project.close()));

    /** Up to the move of the batch, which fails. */
    async function breakOff(): Promise<void> {
      const broken = await project.worker({ notes: notesPipeline() });
      const step: typeof broken.step = (name, work) =>
        name === "render.move" ? Promise.reject(new Error("It broke off.")) : broken.step(name, work);
      await project.round({ ...broken, step });
    }

    async function parts(): Promise<number[]> {
      const rows = await project.rows<{ n: number }>(
        sql`select cardinality(ids) as n from rowmill.lines order by part`,
      );
      return rows.map(({ n }) => n);
    }

    it("leaves nothing behind: each row is asked once, under its first attempt", async () => {
      await createNotes(project, plain(ROWS));
      await breakOff();
      expect(await parts()).toEqual([QUEUE_ROW, 1]);
      expect(await batchRows(project)).toMatchObject([{ state: "planned" }]);
      await project.check();
      await project.drain(await project.worker({ notes: notesPipeline() }));
      const all = await requests(project);
      expect(all.length).toBe(ROWS);
      expect(all.every(({ state, attempt }) => state === "succeeded" && attempt === 1)).toBe(true);
      expect(await outcomes(project)).toEqual({ answered: ROWS });
      expect((await project.gateway.journal.summary()).executed).toBe(ROWS);
      expect(await parts()).toEqual([]);
    });

    it("or one that did not has come to each row of its queue", async () => {
      const rows = 10 * QUEUE_ROW + 1;
      await createNotes(project, plain(rows));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      expect((await batchRows(project)).length).toBe(1);
      expect(await outcomes(project)).toEqual({ answered: rows });
    });

    it("takes the rows as they are by the next one: changed, gone, and empty", async () => {
      await createNotes(project, plain(4));
      await breakOff();
      await project.run(sql`update public.notes set body = 'Another text, plain and short.' where id = 1`);
      await project.run(sql`delete from public.notes where id = 2`);
      await project.run(sql`update public.notes set body = '' where id = 3`);
      await project.drain(await project.worker({ notes: notesPipeline() }));
      expect(await requests(project)).toMatchObject([
        { key: "1", state: "succeeded", attempt: 1 },
        { key: "2", state: "gone" },
        { key: "3", state: "failed", error_code: "empty", attempt: 1 },
        { key: "4", state: "succeeded", attempt: 1 },
      ]);
      expect((await project.gateway.journal.summary()).executed).toBe(2);
    });

    it("may have been of a definition that is not asked any more: its rows wait for the next batch", async () => {
      await createNotes(project, plain(2));
      await breakOff();
      await project.drain(await project.worker({ notes: notesPipeline({ user: "Again: {{ body }}" }) }));
      expect(await batchRows(project)).toMatchObject([{ state: "settled" }, { state: "settled", requests: 2 }]);
      expect((await project.gateway.journal.summary()).executed).toBe(2);
    });
  },
  bookKeepers,
);
