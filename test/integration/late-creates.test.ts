/**
 * A create that reaches the provider after its input file was deleted and another one sent: it stands for nothing,
 * and does no harm.
 */
import { afterEach, expect, it } from "vitest";
import type { Call, Fault } from "../../src/gateway/engine/faults.js";
import type { Answer } from "../../src/gateway/protocol/wire.js";
import type { ProviderBatch } from "../../src/model/provider/provider.js";
import { advanceBatch } from "../../src/worker/turn/advance.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { createNotes, notesPipeline, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { drop, expectAllAnsweredOnce, faultsOf, hurry, impatient, is, passTime } from "../support/provider-faults.js";
import { intentOf } from "../support/raw-provider.js";

const ROWS = 3;
const { signal } = new AbortController();

describeDatabases(
  "A create that comes late",
  (kind) => {
    let project: TestProject;
    let held = true;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    const startWorker = () => project.worker({ notes: notesPipeline() }, { timeouts: impatient });

    /**
     * The first create did not arrive, as far as anybody knows; its window is over. Batches stand still while `held`.
     */
    async function start(
      afterEffect: (call: Call, answer: Answer) => Fault | undefined,
    ): Promise<{ worker: WorkerContext; id: string; createLate: () => Promise<ProviderBatch> }> {
      held = true;
      project = await startProject(kind, {
        gateway: {
          faults: { beforeEffect: faultsOf("createBatch", [drop]), afterEffect, hold: () => held },
        },
      });
      await createNotes(project, plain(ROWS));
      const worker = await startWorker();
      await project.round(worker);
      const [batch] = await project.rows<{ id: string; file: string }>(
        sql`select id, provider_data ->> 'staged' as file from rowmill.batches where create_intent_at is not null`,
      );
      const [notes] = worker.pipelines.values();
      if (batch === undefined || notes === undefined) throw new Error("There is no create that could come late.");
      const createLate = () => notes.provider.create(intentOf(batch.file, { batch: batch.id }));
      await passTime(project, "3 minutes");
      return { worker, id: batch.id, createLate };
    }

    function letGo(): void {
      held = false;
      project.gateway.release();
    }

    it.each(["failed", "validating"])(
      "and is %s is not taken for the second one, whose reply was lost and which the list shows later",
      async (status) => {
        let created = 0;
        let lateId = "";
        const onlyLate = (answer: Answer): Fault | undefined => {
          if (answer.kind !== "json") return undefined;
          const list: { data: { id: string }[] } = JSON.parse(JSON.stringify(answer.body));
          const data = list.data.filter(({ id }) => id === lateId);
          return { kind: "reply", status: 200, body: { ...list, data, first_id: lateId, last_id: lateId } };
        };
        const { worker, createLate } = await start((call, answer) => {
          if (is("createBatch")(call)) return ++created === 1 ? drop : undefined;
          if (!is("findBatches")(call) || lateId === "") return undefined;
          const reply = onlyLate(answer);
          lateId = "";
          return reply;
        });
        // The file is fenced off and another one sent; that create takes effect, and its reply is lost.
        await project.round(worker);
        expect(created).toBe(1);
        const late = await createLate();
        if (status === "failed") {
          letGo();
          await project.gateway.until(late.id, (batch) => batch.status === "failed");
        }
        lateId = late.id;
        await passTime(project, "0 seconds");
        await project.round(worker);
        expect(await project.rows(sql`select state from rowmill.batches`)).toEqual([{ state: "submitting" }]);
        letGo();
        await hurry(project, worker);
        await expectAllAnsweredOnce(project, ROWS);
      },
    );

    it("does not make a worker whose lease has ended cancel the batch that another one made", async () => {
      const { worker, id, createLate } = await start(() => undefined);
      let arrive = (): void => undefined;
      const reached = new Promise<void>((resolve) => (arrive = resolve));
      let goOn = (): void => undefined;
      const released = new Promise<void>((resolve) => (goOn = resolve));
      const slow: WorkerContext = {
        ...worker,
        step: async (name, work) => {
          if (name === "reconcile.look") {
            arrive();
            await released;
          }
          return worker.step(name, work);
        },
      };
      const turn = advanceBatch(slow, id, signal);
      await reached;
      await project.run(sql`update rowmill.batches set lease_until = clock_timestamp() - interval '1 second'`);
      const other = await startWorker();
      await project.round(other);
      const [now] = await project.rows(
        sql`select state, provider_batch_id is not null as recorded from rowmill.batches`,
      );
      expect(now).toEqual({ state: "running", recorded: true });
      await createLate();
      goOn();
      await turn;
      expect(await project.rows(sql`select provider_batch_id from rowmill.duplicate_batches`)).toEqual([]);
      letGo();
      await hurry(project, other);
      await expectAllAnsweredOnce(project, ROWS);
    });
  },
  bookKeepers,
);
