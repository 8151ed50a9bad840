/** Whatever ends a batch ends the requests that share its lines too, each by its own row, and counts the money once. */
import type { BatchName } from "../../src/store/batches/in-flight.js";
import { afterEach, expect, it } from "vitest";
import { abandonBatch } from "../../src/app/adopt/abandon-batch.js";
import { adoptBatch, prepareAdoption } from "../../src/app/adopt/adopt-batch.js";
import { prepareRestore, restoreLedger } from "../../src/app/deployment/restore-ledger.js";
import { sweepAll } from "../../src/app/open/round.js";
import * as cancellation from "../../src/store/batches/cancellation.js";
import { costs } from "../../src/store/batches/costs.js";
import * as failures from "../../src/store/requests/failures.js";
import { catchUp } from "../../src/worker/rounds/intake.js";
import type { StepName } from "../../src/worker/step-names.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import {
  createEqualNotes,
  equalNotesPipeline,
  type EqualNote,
  type EqualNotesOptions,
} from "../support/equal-notes.js";
import { executions } from "../support/movies.js";
import { outcomes } from "../support/notes.js";
import { goodAnswer, type PlainAnswer } from "../support/plain-answers.js";
import { startPlainProject, type PlainProject } from "../support/plain-project.js";
import type { PlainStandInOptions } from "../support/plain-stand-in.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { createTutorialBatch } from "../support/tutorial-batch.js";

const { signal } = new AbortController();
const THREE_TWO_ONE: readonly EqualNote[] = [["a"], ["a"], ["b"], ["a"], ["b"], ["c"]];

describeDatabases(
  "Requests that share a line",
  (kind) => {
    let at: PlainProject;
    let hold: boolean;
    afterEach(async () => {
      await at.project.check().finally(() => at.close());
    });

    async function start(
      notes: readonly EqualNote[],
      options: PlainStandInOptions & EqualNotesOptions = {},
    ): Promise<WorkerContext> {
      hold = false;
      at = await startPlainProject(kind, { ...options, hold: (batch) => hold && batch.state !== "stopping" });
      await createEqualNotes(at.project, notes);
      return at.worker({ pipelines: (provider) => ({ notes: equalNotesPipeline({ ...options, provider }) }) });
    }

    async function sent(notes: readonly EqualNote[]): Promise<WorkerContext> {
      const worker = await start(notes);
      hold = true;
      await at.project.round(worker);
      expect(at.standIn.batches.all.map(({ requests }) => requests.length)).toEqual([3]);
      return worker;
    }

    function goOn(): void {
      hold = false;
      at.standIn.batches.release();
    }

    const asked = () => at.standIn.executions.map(({ ask }) => ask.prompt);
    const states = async () => (await at.accounts()).states;

    async function openBatch(): Promise<string> {
      return (await openName()).id;
    }

    async function openName(): Promise<BatchName> {
      const [row] = await at.project.rows<BatchName>(
        sql`select id, no, pipeline_id as "pipelineId" from rowmill.batches where settled_at is null`,
      );
      return row ?? { id: "", no: 0, pipelineId: 0 };
    }

    async function due(): Promise<void> {
      await at.project.run(sql`update rowmill.batches set next_at = now(), lease_token = null, lease_until = null
        where settled_at is null`);
    }

    /** Of each batch: its lines, the requests that share them, and the attempts of both. */
    const lines = () =>
      at.project.rows(sql`
        select b.lines, b.sharing, count(*) filter (where a.shared_from is null)::int as own,
          count(*) filter (where a.shared_from is not null)::int as shared
        from rowmill.batches b
        join rowmill.attempts a on a.batch = b.no
        group by b.no, b.lines, b.sharing
        order by b.no`);

    it("cost nothing, and are summed up with what their lines cost", async () => {
      const worker = await start(THREE_TWO_ONE);
      await at.project.drain(worker);
      const [due] = await at.project.rows<{ nano: number; spent: number }>(sql`
        select sum(l.cost_nano_usd) filter (where a.shared_from is not null)::float8 as nano,
          sum(a.cost_nano_usd)::float8 as spent
        from rowmill.attempts a
        left join rowmill.attempts l on l.request_id = a.shared_from and l.batch = a.batch`);
      expect(due?.nano).toBeGreaterThan(0);
      const { total } = await costs(at.project.database, { by: ["day"], pipelineIds: null, sinceMs: null, max: 5 });
      expect(total).toMatchObject({
        requests: 6,
        sharing: 3,
        sharingSavedNanoUsd: due?.nano,
        spentNanoUsd: due?.spent,
      });
      expect(
        await at.project.rows(sql`
          select shared_requests::int as shared, (sharing_saved_usd * 1e9)::float8 as nano from rowmill.costs`),
      ).toEqual([{ shared: 3, nano: due?.nano }]);
    });

    it("are counted while their batch still has answers that nobody could write", async () => {
      const worker = await start(THREE_TWO_ONE);
      hold = true;
      await at.project.round(worker);
      const [row] = await at.project.rows<{ shared: number; usd: number }>(sql`
        select shared_requests::int as shared, sharing_saved_usd::float8 as usd from rowmill.costs`);
      expect(row).toEqual({ shared: 3, usd: 0 });
      goOn();
      await at.project.drain(worker);
    });

    it("wait again when their batch is abandoned, and are asked once more together", async () => {
      const worker = await sent(THREE_TWO_ONE);
      await due();
      expect(
        await abandonBatch(at.project.database, await openName(), { drops: false, config: undefined }),
      ).toMatchObject({ rows: 6 });
      await at.project.check();
      expect(await outcomes(at.project)).toEqual({ abandoned: 6 });
      expect(await states()).toEqual({ waiting: 6 });
      goOn();
      await at.project.drain(worker);
      expect(await states()).toEqual({ succeeded: 6 });
      expect(await lines()).toEqual([
        { lines: 3, sharing: 3, own: 3, shared: 3 },
        { lines: 3, sharing: 3, own: 3, shared: 3 },
      ]);
    });

    it("wait again when a batch that is half rendered is abandoned", async () => {
      const worker = await start(THREE_TWO_ONE);
      await at.project.round(dyingAt(worker, "render.move")).catch(() => undefined);
      await due();
      expect(
        await abandonBatch(at.project.database, await openName(), { drops: false, config: undefined }),
      ).toMatchObject({ rows: 6, lostNanoUsd: 0 });
      await at.project.check();
      await at.project.drain(worker);
      expect(await states()).toEqual({ succeeded: 6 });
      expect(asked()).toEqual(["a", "b", "c"]);
    });

    it("saved nothing where their batch is abandoned after the line alone was collected", async () => {
      const worker = await start(THREE_TWO_ONE, { validates: false });
      let chunks = 0;
      const dying: WorkerContext = {
        ...worker,
        step: async (name, work) => {
          if (name === "collect.chunk" && ++chunks > 1) throw new Error("The worker died.");
          return worker.step(name, work);
        },
      };
      for (let rounds = 0; rounds < 20 && chunks < 2; rounds++) {
        await at.project.round(dying);
        await due();
      }
      expect(await outcomes(at.project)).toEqual({ answered: 3 });
      await abandonBatch(at.project.database, await openName(), { drops: false, config: undefined });
      await at.project.check();
      expect(await outcomes(at.project)).toEqual({ abandoned: 3, answered: 3 });
      const saved = sql`select sharing_saved_nano_usd::int as nano from rowmill.batches`;
      expect(await at.project.rows(saved)).toEqual([{ nano: 0 }]);
    });

    it("are written although the row that has their line is held, also where their batch is given up", async ({
      skip,
    }) => {
      skip(kind === "embedded", "the embedded database has one transaction at a time");
      const worker = await start([["a"], ["a"], ["b"]], { validates: false });
      const row = sql`insert into public.note_summaries (id, rowmill_at, rowmill_model) values (1, now(), '')`;
      await at.project.run(row);
      const user = await at.project.database.pool.connect();
      await user.query("begin; select 1 from public.note_summaries where id = 1 for update");
      try {
        for (let rounds = 0; rounds < 20 && (await states())["succeeded"] !== 2; rounds++) {
          await at.project.round(worker);
          await due();
        }
        await abandonBatch(at.project.database, await openName(), { drops: false, config: undefined });
      } finally {
        await user.query("rollback");
        user.release();
      }
      await at.project.check();
      expect(await outcomes(at.project)).toEqual({ abandoned: 1, answered: 2 });
      await at.project.drain(worker);
      expect(await states()).toEqual({ succeeded: 3 });
    });

    it.each([true, false])("follow the line of a batch that you cancel (drop: %s)", async (drops) => {
      const worker = await sent(THREE_TWO_ONE);
      const id = await openBatch();
      await at.project.database.transaction((tx) => cancellation.want(tx, id, { by: "the test", drops }));
      hold = drops;
      for (let rounds = 0; rounds < 20 && (await openBatch()) === id; rounds++) {
        await due();
        await at.project.round(worker);
      }
      expect(await outcomes(at.project)).toMatchObject({ withdrawn: 6 });
      if (!drops) {
        await at.project.drain(worker);
        expect(await states()).toEqual({ succeeded: 6 });
        return;
      }
      expect(await states()).toEqual({ cancelled: 6 });
      const meant = { pipelineId: [...worker.pipelines.keys()][0] ?? 0, reasons: ["dropped"], keys: null };
      await worker.database.transaction((tx) => failures.reopenLost(tx, meant, { after: "0", max: 10 }));
      goOn();
      await at.project.drain(worker);
      expect(await states()).toEqual({ succeeded: 6 });
      expect(asked()).toEqual(["a", "b", "c"]);
    });

    it("keep the answers that an expired batch has, and share the next line for the others", async () => {
      const worker = await sent(THREE_TWO_ONE);
      at.standIn.batches.expire(at.standIn.batches.all[0]?.id ?? "", 1);
      goOn();
      await at.project.drain(worker);
      expect(await states()).toEqual({ succeeded: 6 });
      expect(await outcomes(at.project)).toEqual({ answered: 6, expired: 3 });
      expect(asked()).toEqual(["a", "b", "c"]);
      expect(await lines()).toEqual([
        { lines: 3, sharing: 3, own: 3, shared: 3 },
        { lines: 2, sharing: 1, own: 2, shared: 1 },
      ]);
    });

    it("all fail with the line that the provider refuses, and the others go out", async () => {
      const bad = "[[demo:bad-line]] this one";
      const worker = await start([["a"], [bad], ["b"], [bad], ["a"], [bad]]);
      await at.project.drain(worker);
      expect(await states()).toEqual({ succeeded: 3, failed: 3 });
      expect(await outcomes(at.project)).toEqual({ answered: 3, noRoom: 3, permanent: 3 });
      expect(asked()).toEqual(["a", "b"]);
    });

    it("stay alone through a fault of the provider, once a shared answer did not fit", async () => {
      const times = new Map<string, number>();
      const answer: PlainAnswer = (ask, place) => {
        const time = (times.get(ask.prompt) ?? 0) + 1;
        times.set(ask.prompt, time);
        // The shared line; then two lines that the provider cannot answer; then two lines again.
        if (time === 2 || time === 3) return { type: "bad", error: { kind: "too_fast", message: place.id } };
        return goodAnswer(ask, JSON.stringify({ summary: time === 1 ? "shared" : "alone" }));
      };
      const worker = await start([["a"], ["a", "alone"], ["a", "alone"]], { answer });
      await at.project.drain(worker);
      expect(await states()).toEqual({ succeeded: 3 });
      expect(await outcomes(at.project)).toEqual({ answered: 3, rateLimited: 2, unshared: 2 });
      expect(times.get("a")).toBe(5);
      const { total } = await costs(at.project.database, { by: ["day"], pipelineIds: null, sinceMs: null, max: 5 });
      expect(total, "both were paid in the end").toMatchObject({ sharing: 2, sharingSavedNanoUsd: 0 });
      await at.project.run(sql`update public.notes set body = 'b', tag = null`);
      await at.project.drain(worker);
      expect(times.get("b")).toBe(1);
    });

    it("forget the room of a longer answer when they are asked something else", async () => {
      const needs: PlainAnswer = (ask) =>
        ask.prompt === "long" && ask.max_output < 90
          ? goodAnswer(ask, "{", "length")
          : goodAnswer(ask, '{"summary":"fine"}');
      const worker = await start([["1"], ["2"], ["3"], ["4"], ["5"]], { answer: needs });
      await at.project.drain(worker);
      await at.project.run(sql`update public.notes set body = 'long' where id <= 2`);
      await at.project.drain(worker);
      await at.project.run(sql`update public.notes set body = 'short' where id <= 2`);
      for (const bound of worker.pipelines.values()) await catchUp(worker, bound, signal);
      expect(await at.project.rows(sql`select room from rowmill.requests where state = 'waiting'`)).toEqual([
        { room: null },
        { room: null },
      ]);
      await at.project.drain(worker);
      expect(await states()).toEqual({ succeeded: 5 });
    });
  },
  bookKeepers,
);

function dyingAt(worker: WorkerContext, at: StepName): WorkerContext {
  return {
    ...worker,
    step: async (name, work) => {
      if (name === at) throw new Error("The worker died.");
      return worker.step(name, work);
    },
  };
}

describeDatabases(
  "Rows with equal questions",
  (kind) => {
    let project: TestProject;
    let held = false;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function start(notes: readonly EqualNote[]): Promise<WorkerContext> {
      project = await startProject(kind, { gateway: { faults: { hold: () => held } } });
      await createEqualNotes(project, notes);
      return project.worker({ notes: equalNotesPipeline({ model: "gpt-4o-mini" }) });
    }

    const states = async () =>
      Object.fromEntries(
        (
          await project.rows<{ state: string; n: number }>(
            sql`select state, count(*)::int as n from rowmill.requests group by 1 order by 1`,
          )
        ).map(({ state, n }) => [state, n]),
      );

    it("each have a line of their own in a batch of other code, and share one among those that it lacks", async () => {
      const worker = await start([["A heist."], ["A heist."], ["A heist."], ["A heist."]]);
      await sweepAll(worker, signal);
      const created = [1, 2].map((id) => ({ customId: `task-${id}`, text: "A heist." }));
      const { batchId } = await createTutorialBatch(project.gateway.url, created);
      await project.gateway.until(batchId);
      const [bound] = worker.pipelines.values();
      if (bound === undefined) throw new Error("There is no pipeline.");
      const adoption = await prepareAdoption(worker, bound, { batchId, pattern: "task-{id}", signal });
      expect(await adoptBatch(worker, bound, adoption)).toMatchObject({ adopted: 2 });
      await project.drain(worker);
      expect(await states()).toEqual({ succeeded: 4 });
      expect(
        await project.rows(sql`select requests, lines, sharing from rowmill.batches order by planned_at, no`),
      ).toEqual([
        { requests: 2, lines: 2, sharing: 0 },
        { requests: 2, lines: 1, sharing: 1 },
      ]);
    });

    it("are asked once more where a restored ledger has lost which of them shared a line", async () => {
      const worker = await start([["A heist."], ["A heist."], ["A heist."], ["A trial."]]);
      held = true;
      await project.round(worker);
      await loseBatch(project);
      held = false;
      project.gateway.release();
      const restoration = await prepareRestore(worker, signal);
      const place = { database: { kind: "server", url: project.url }, file: "" } as const;
      expect(await restoreLedger(worker, place, { restoration, signal })).toEqual({
        adoptedBatches: 1,
        adoptedRows: 2,
      });
      await project.check();
      await project.drain(worker);
      expect(await states()).toEqual({ succeeded: 4 });
      expect(await executions(project)).toEqual([2, 1]);
      expect(
        await project.rows(
          sql`select requests, lines, sharing, recovered from rowmill.batches order by planned_at, no`,
        ),
      ).toEqual([
        { requests: 2, lines: 2, sharing: 0, recovered: true },
        { requests: 2, lines: 1, sharing: 1, recovered: false },
      ]);
    });
  },
  bookKeepers,
);

/** As in a backup that was made before the batch was planned. */
async function loseBatch({ database }: TestProject): Promise<void> {
  await database.transaction(async (tx) => {
    await tx.run(sql`
      insert into rowmill.queue (pipeline_id, ids)
      select pipeline_id, array_agg(id order by id) from rowmill.requests group by pipeline_id`);
    await tx.run(sql`
      insert into rowmill.counts (pipeline_id, waiting, batched)
      select pipeline_id, count(*), - count(*) from rowmill.requests group by pipeline_id`);
    await tx.run(sql`
      update rowmill.requests
      set state = 'waiting', batch = null, attempt = 0, content_hash = null, fingerprint = null`);
    await tx.run(sql`delete from rowmill.lines`);
    await tx.run(sql`delete from rowmill.named_lines`);
    await tx.run(sql`delete from rowmill.batches`);
  });
}
