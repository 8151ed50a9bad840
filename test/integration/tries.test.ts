/**
 * The fingerprint is that of definition and row: what a single try had of its own stands on the attempt, and asks no
 * row again.
 */
import { afterEach, expect, it } from "vitest";
import { adoptBatch, prepareAdoption } from "../../src/app/adopt/adopt-batch.js";
import { prepareRestore, restoreLedger } from "../../src/app/deployment/restore-ledger.js";
import { sweepAll } from "../../src/app/open/round.js";
import { pipeline, z } from "../../src/index.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { until } from "../support/cli.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { createTutorialBatch } from "../support/tutorial-batch.js";
import { recount } from "../support/recount.js";

const { signal } = new AbortController();

interface Asked {
  readonly room?: number;
  readonly attempts?: number;
  /** Says the same words in other source text: another definition that changes no request. */
  readonly reworded?: boolean;
}

function notes({ room = 100, attempts = 3, reworded = false }: Asked = {}) {
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    request: {
      model: "gpt-4o-mini",
      maxOutputTokens: room,
      user: reworded ? (row) => String(row.body) : (row) => row.body,
    },
    answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
    target: { table: "note_summaries" },
    attempts,
  });
}

/** Too long for the summary that the demo model makes of it to fit into five tokens. */
const CRAMPED = 5;

describeDatabases(
  "A try",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    const executed = async () => (await project.gateway.journal.summary()).executed;
    const rooms = () =>
      project.rows(
        sql`select outcome, room, count(*)::int as count from rowmill.attempts group by 1, 2 order by min(at), 1, 2`,
      );

    it("that was cut off fails at once, and a larger limit asks that row alone, and no row again after that", async () => {
      project = await startProject(kind);
      await createNotes(project, ["[[demo:truncate-once]] a long note", ...plain(4)]);
      await project.drain(await project.worker({ notes: notes() }));
      const [cut] = await requests(project);
      expect(cut).toMatchObject({ state: "failed", attempt: 1, tries: 1, error_code: "truncated" });
      expect(cut?.error).toBe(
        "the answer reached the output limit before its end; raise pipelines.notes.request.maxOutputTokens",
      );
      await project.drain(await project.worker({ notes: notes({ room: 300 }) }));
      expect(await executed()).toBe(6);
      expect(await rooms()).toEqual([
        { outcome: "answered", room: 100, count: 4 },
        { outcome: "truncated", room: 100, count: 1 },
        { outcome: "answered", room: 300, count: 1 },
      ]);
      // Answered with more room at its second try: the same question for all that.
      await project.drain(await project.worker({ notes: notes({ room: 300, reworded: true }) }));
      await project.drain(await project.worker({ notes: notes({ room: 100, reworded: true }) }));
      await project.drain(await project.worker({ notes: notes({ room: 500 }) }));
      expect(await executed()).toBe(6);
      expect((await requests(project)).map(({ state }) => state)).toEqual(Array(5).fill("succeeded"));
    });

    it("that was cut off goes out again when the limit was raised while it was answered", async () => {
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(3));
      await project.round(await project.worker({ notes: notes({ room: CRAMPED }) }));
      hold = false;
      const raised = await project.worker({ notes: notes() });
      project.gateway.release();
      await project.drain(raised);
      expect(await rooms()).toEqual([
        { outcome: "cutShort", room: CRAMPED, count: 3 },
        { outcome: "answered", room: 100, count: 3 },
      ]);
      await project.drain(await project.worker({ notes: notes({ reworded: true }) }));
      expect(await executed()).toBe(6);
    });

    it("of its row that came after an invalid answer sends nothing again under another definition with the same words", async () => {
      project = await startProject(kind);
      await createNotes(project, ["[[demo:invalid-once]] one", "[[demo:refuse-once]] two", ...plain(2)]);
      await project.drain(await project.worker({ notes: notes() }));
      expect(await outcomes(project)).toEqual({ answered: 4, invalid: 1, refused: 1 });
      await project.drain(await project.worker({ notes: notes({ reworded: true, room: 200 }) }));
      expect(await executed()).toBe(6);
    });

    it("of a lost batch is the same question, whatever room it had", async () => {
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(4));
      await project.round(await project.worker({ notes: notes() }));
      await loseBatches(project);
      const restored = await project.worker({ notes: notes({ room: 250 }) });
      await sweepAll(restored, signal);
      const restoration = await prepareRestore(restored, signal);
      expect(restoration.lost).toMatchObject([{ promptKnown: true }]);
      await restoreLedger(
        restored,
        { database: { kind: "server", url: project.url }, file: "" },
        { restoration, signal },
      );
      hold = false;
      project.gateway.release();
      await project.drain(restored);
      expect(await rooms()).toEqual([{ outcome: "answered", room: 100, count: 4 }]);
      expect(await executed()).toBe(4);
    });

    it("of other code's batch keeps its own room, and goes out with ours where that was too little", async () => {
      project = await startProject(kind);
      await createNotes(project, ["[[demo:truncate-once]] a long note", ...plain(2)]);
      const worker = await project.worker({ notes: notes({ attempts: 2 }) });
      await sweepAll(worker, signal);
      const rows = await project.rows<{ id: number; text: string }>(
        sql`select id, body as text from public.notes order by id`,
      );
      const { client, batchId } = await createTutorialBatch(
        project.gateway.url,
        rows.map(({ id, text }) => ({ customId: `task-${id}`, text })),
        { max_tokens: 50 },
      );
      await until("its end", async () => (await client.batches.retrieve(batchId)).status === "completed");
      await adopt(worker, batchId);
      await project.drain(worker);
      expect(await rooms()).toEqual([
        { outcome: "answered", room: 50, count: 2 },
        { outcome: "cutShort", room: 50, count: 1 },
        { outcome: "answered", room: 100, count: 1 },
      ]);
    });
  },
  bookKeepers,
);

async function adopt(worker: WorkerContext, batchId: string): Promise<void> {
  const [bound] = worker.pipelines.values();
  if (bound === undefined) throw new Error("no pipeline");
  const adoption = await prepareAdoption(worker, bound, { batchId, pattern: "task-{id}", signal });
  await adoptBatch(worker, bound, adoption);
}

/** As a ledger is that was restored from a backup of before its batches were planned. */
async function loseBatches(project: TestProject): Promise<void> {
  await project.run(sql`delete from rowmill.lines`);
  await project.run(sql`delete from rowmill.batches`);
  await project.run(sql`update rowmill.requests set state = 'waiting', attempt = 0`);
  await recount(project);
}
