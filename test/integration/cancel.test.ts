/** Batches that you cancel: before they are sent, at the provider, and with rows that are dropped. */
import { afterEach, expect, it } from "vitest";
import { abandonBatch } from "../../src/app/adopt/abandon-batch.js";
import type { BatchName } from "../../src/store/batches/in-flight.js";
import type { Call } from "../../src/gateway/engine/faults.js";
import * as cancellation from "../../src/store/batches/cancellation.js";
import { advanceBatch } from "../../src/worker/turn/advance.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { runPlanner } from "../../src/worker/rounds/planner.js";
import { sweepAll } from "../../src/app/open/round.js";
import * as failures from "../../src/store/requests/failures.js";
import * as pipelines from "../../src/store/pipelines/pipelines.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { batchRows, createNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const { signal } = new AbortController();
const isCancel = (call: Call): boolean => call.route === "/v1/batches/:id/cancel";

describeDatabases(
  "A batch that you cancel",
  (kind) => {
    let project: TestProject;
    let worker: WorkerContext;
    let cancels = 0;
    let held = true;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function start(texts: readonly string[]): Promise<void> {
      cancels = 0;
      held = true;
      project = await startProject(kind, {
        gateway: {
          faults: {
            beforeEffect: (call) => {
              if (isCancel(call)) cancels++;
              return undefined;
            },
            hold: (batch) => held && batch.status !== "cancelling" && batch.status !== "finalizing",
          },
        },
      });
      await createNotes(project, texts);
      worker = await project.worker({ notes: notesPipeline() });
    }

    async function openBatch(): Promise<cancellation.CancelCandidate> {
      const [row] = await project.rows<{ id: string }>(sql`select id from rowmill.batches where settled_at is null`);
      const [found] = await cancellation.candidates(project.database, { id: row?.id ?? "" }, 1);
      if (found === undefined) throw new Error("There is no open batch.");
      return found;
    }

    async function want(drops: boolean): Promise<boolean> {
      const { id } = await openBatch();
      return worker.database.transaction((tx) => cancellation.want(tx, id, { by: "the test", drops }));
    }

    /** The batch alone: nothing is planned again meanwhile. */
    async function turn(id?: string): Promise<void> {
      await advanceBatch(worker, id ?? (await openBatch()).id, signal);
    }

    async function pause(): Promise<void> {
      const { database } = worker;
      await pipelines.pause(database, [...worker.pipelines.keys()][0] ?? 0, { kind: "person", reason: "the test" });
    }

    async function counted(): Promise<Record<string, number>> {
      const [row] = await project.rows<Record<string, number>>(sql`
        select sum(waiting)::int as waiting, sum(batched)::int as batched, sum(succeeded)::int as succeeded,
          sum(failed)::int as failed, sum(cancelled)::int as cancelled
        from rowmill.counts`);
      return row ?? {};
    }

    it("before it was rendered gives its rows back, and nothing is spent", async () => {
      await start(plain(3));
      await sweepAll(worker, signal);
      await runPlanner(worker, true);
      expect(await want(false)).toBe(true);
      expect(await want(false)).toBe(false);
      await pause();
      await turn();
      expect(await batchRows(project)).toMatchObject([{ state: "settled", requests: 0, provider_batch_id: null }]);
      expect(await counted()).toMatchObject({ waiting: 3, cancelled: 0 });
    });

    it("before it was rendered drops its rows, until their content changes or you ask for them", async () => {
      await start(plain(3));
      await sweepAll(worker, signal);
      await runPlanner(worker, true);
      await project.run(sql`delete from public.notes where id = 3`);
      await want(true);
      await turn();
      expect((await requests(project)).map(({ key, state, error_code }) => [key, state, error_code])).toEqual([
        ["1", "cancelled", "dropped"],
        ["2", "cancelled", "dropped"],
        ["3", "waiting", null],
      ]);
      await project.check();
      held = false;
      await project.run(sql`update public.notes set body = 'Another text.' where id = 1`);
      await project.drain(worker);
      expect((await requests(project)).map(({ state }) => state)).toEqual(["succeeded", "cancelled", "gone"]);
      const pipelineId = [...worker.pipelines.keys()][0] ?? 0;
      const meant = { pipelineId, reasons: ["dropped"], keys: null };
      await worker.database.transaction((tx) => failures.reopenLost(tx, meant, { after: "0", max: 10 }));
      await project.drain(worker);
      expect((await requests(project)).map(({ state }) => state)).toEqual(["succeeded", "succeeded", "gone"]);
    });

    it("before it was rendered and is given up drops its rows that exist, if you want that", async () => {
      await start(plain(3));
      await sweepAll(worker, signal);
      await runPlanner(worker, true);
      await project.run(sql`delete from public.notes where id = 3`);
      const [batch] = await project.rows<BatchName>(
        sql`select id, no, pipeline_id as "pipelineId" from rowmill.batches`,
      );
      if (batch === undefined) throw new Error("There is no batch.");
      const [one] = worker.pipelines.values();
      const given = await abandonBatch(worker.database, batch, { drops: true, config: one?.config });
      expect(given).toEqual({ rows: 3, dropped: 2, lostNanoUsd: 0 });
      expect((await requests(project)).map(({ state }) => state)).toEqual(["cancelled", "cancelled", "waiting"]);
      expect(await abandonBatch(worker.database, batch, { drops: true, config: one?.config })).toBeNull();
      await project.drain(worker);
      expect((await requests(project)).map(({ state }) => state)).toEqual(["cancelled", "cancelled", "gone"]);
    });

    it("that runs is cancelled at the provider: what is done is kept, and the rest goes out again", async () => {
      await start(plain(5));
      await project.round(worker);
      expect(await want(false)).toBe(true);
      const { providerBatchId } = await openBatch();
      project.gateway.cancel(providerBatchId ?? "", { afterRequests: 2 });
      await project.gateway.until(providerBatchId ?? "", ({ status }) => status === "cancelled");
      await turn();
      expect(cancels).toBe(1);
      expect(await outcomes(project)).toEqual({ answered: 2, withdrawn: 3 });
      expect(await counted()).toMatchObject({ waiting: 3, succeeded: 2, cancelled: 0 });
      expect((await requests(project)).map(({ tries, returns }) => tries + returns)).toEqual([0, 0, 0, 0, 0]);
      held = false;
      await project.drain(worker);
      expect(await counted()).toMatchObject({ waiting: 0, succeeded: 5 });
    });

    it("that runs drops what the provider did not answer, under a pause too", async () => {
      await start(plain(5));
      await project.round(worker);
      await pause();
      await want(false);
      expect(await want(true)).toBe(true);
      expect(await want(true)).toBe(false);
      const { id, providerBatchId } = await openBatch();
      await turn(id);
      await project.gateway.until(providerBatchId ?? "", ({ status }) => status === "cancelled");
      // It may have been so at once.
      await turn(id);
      expect(cancels).toBe(1);
      expect(await outcomes(project)).toEqual({ withdrawn: 5 });
      expect(await counted()).toMatchObject({ waiting: 0, batched: 0, cancelled: 5 });
      const events = await project.rows<{ reason: string }>(sql`
        select reason
        from rowmill.batch_events
        where from_state = to_state
        order by id`);
      expect(events.map(({ reason }) => reason)).toEqual([
        "the test wants it canceled",
        "the test wants it canceled, and its rows without an answer dropped",
        expect.stringMatching(/^the provider was asked to cancel it, and says cancell(?:ing|ed)$/),
      ]);
    });

    it("is left alone where another database has it too, or where it is not proved to be ours", async () => {
      await start(plain(2));
      await project.round(worker);
      await project.run(sql`update rowmill.batches set shared = true`);
      expect(await want(true)).toBe(false);
      await project.run(sql`update rowmill.batches set shared = false, presumed = true`);
      expect(await want(true)).toBe(false);
      await project.run(sql`update rowmill.batches set presumed = false`);
      expect(await want(false)).toBe(true);
      await project.run(sql`update rowmill.batches set shared = true`);
      held = false;
      project.gateway.release();
      await project.drain(worker);
      expect(cancels).toBe(0);
      expect(await counted()).toMatchObject({ succeeded: 2 });
    });

    it("is due at once, though a turn that did not know of it ends meanwhile with a long wait", async () => {
      await start(plain(2));
      await project.round(worker);
      const { id } = await openBatch();
      const batches = await import("../../src/store/batches/batches.js");
      const token = "6d3f9d9e-33b2-4c86-8a35-5a9a1c0e4a11";
      const batch = await batches.claim(worker.database, id, { token, worker: "the test" });
      await want(false);
      const next = { delayMs: 600_000, failures: 0, cancel: batch?.cancel ?? null };
      expect(await batches.release(worker.database, { batchId: id, token }, next)).toBe(0);
      expect(await batches.due(worker.database, 10)).toEqual([id]);
    });
  },
  bookKeepers,
);
