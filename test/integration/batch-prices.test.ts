/** A batch costs what its own price says: that of the model that it asked, on the day on which it was planned. */
import { afterEach, expect, it } from "vitest";
import { duplicatesAmong, recordDuplicate } from "../../src/store/batches/duplicates.js";

import { moneyOverviews } from "../../src/store/ledger/overview.js";
import { audit } from "../../src/store/ledger/invariants.js";
import { pipeline, z } from "../../src/index.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, insertNotes, plain, requests } from "../support/notes.js";
import { approvalOf, sql, startProject, type TestProject } from "../support/project.js";
import { approve } from "../../src/worker/rounds/approval.js";
import type { WorkerContext } from "../../src/worker/context.js";

const ROWS = 5;
/** Of gpt-4o-mini by batch, in nano-dollars a token. */
const MINI = { input: 75, output: 300 };

const asking = (model: string, more: { price?: { input: number; output: number }; usd?: number } = {}) =>
  pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    request: { model, maxOutputTokens: 100, user: "{{ body }}", ...(more.price && { price: more.price }) },
    ...(more.usd !== undefined && { budget: { usd: more.usd, per: "total" } }),
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
    approveAboveUsd: 0,
  });

describeDatabases(
  "The price of a batch",
  (kind) => {
    let project: TestProject;
    let hold: boolean;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    /** A batch that asks gpt-4o-mini is at the provider. */
    async function send(): Promise<WorkerContext> {
      hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(ROWS));
      const worker = await project.worker({ notes: asking("gpt-4o-mini") });
      await project.round(worker);
      return worker;
    }

    async function collect(worker: WorkerContext): Promise<void> {
      hold = false;
      project.gateway.release();
      await project.drain(worker);
    }

    async function booked(): Promise<{ cost: number | null; input: number; output: number }> {
      const [sum] = await project.rows<{ cost: number | null; input: number; output: number }>(sql`
        select sum(a.cost_nano_usd)::float8 as cost, sum(a.input_tokens)::int as input,
          sum(a.output_tokens)::int as output
        from rowmill.attempts a join rowmill.batches b on b.no = a.batch
        where b.id = (select id from rowmill.batches order by planned_at limit 1)`);
      return sum ?? { cost: null, input: 0, output: 0 };
    }

    it("stays as planned when the price list changes before its answers are collected", async () => {
      const worker = await send();
      await project.run(sql`
        update rowmill.batches
        set batch_factor = 0.25, price = jsonb_build_object('model', 'then', 'steps',
        '[{"fromInputTokens": 0, "inputPicoUsd": 4000, "cachedInputPicoUsd": 400, "outputPicoUsd": 8000}]'::jsonb)`);
      await collect(worker);
      const { cost, input, output } = await booked();
      expect(cost).toBe(input + output * 2);
      // And as live requests four times that.
      expect(await moneyOverviews(project.database)).toMatchObject([
        { spentNanoUsd: cost, liveNanoUsd: 4 * (input + output * 2) },
      ]);
    });

    it("is what the config says: it is kept with the batch, and a budget works for an unknown model", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(ROWS));
      const price = { input: 3, output: 8 };
      const notes = asking("my-own-model", { price, usd: 0.0005 });
      const worker = await project.worker({ notes });
      await project.drain(worker);
      // At most 100 tokens of answer, 0.0004 dollars, a row.
      expect(await project.rows(sql`select pause_kind as kind from rowmill.pipelines`)).toEqual([{ kind: "budget" }]);
      await project.drain(await project.worker({ notes: asking("my-own-model", { price, usd: 1 }) }));
      const [sum] = await project.rows<{ cost: number; input: number; output: number }>(sql`
        select sum(cost_nano_usd)::float8 as cost, sum(input_tokens)::int as input, sum(output_tokens)::int as output
        from rowmill.attempts`);
      expect(sum?.cost).toBe((sum?.input ?? 0) * 1_500 + (sum?.output ?? 0) * 4_000);
      expect(await moneyOverviews(project.database)).toMatchObject([{ spentNanoUsd: sum?.cost, unpriced: 0 }]);
    });

    it("may change in the config: no row is sent again, what runs costs as planned, and the rest needs a new approval", async () => {
      const worker = await send();
      const changed = await project.worker(
        { notes: asking("gpt-4o-mini", { price: { input: 1_000, output: 1_000 } }) },
        { approve: false },
      );
      const approved = sql`select approved_hash is not null as approved from rowmill.pipelines`;
      expect(await project.rows(approved)).toEqual([{ approved: false }]);
      // What runs is waited for first: a row that waits for approval is no work.
      await collect(changed);
      await insertNotes(project, plain(1, "late note"));
      await project.drain(changed);
      const { cost, input, output } = await booked();
      expect(cost).toBe(input * MINI.input + output * MINI.output);
      expect(await requests(project)).toMatchObject([
        ...Array.from({ length: ROWS }, () => ({ state: "succeeded", attempt: 1 })),
        { state: "waiting" },
      ]);
      const [bound] = changed.pipelines.values();
      if (bound === undefined) throw new Error("no pipeline");
      // A hundred tokens of answer, at most three times, at half of a thousand dollars per million.
      expect(await approvalOf(changed, bound)).toMatchObject({
        kind: "needed",
        estimate: { rows: 1, capNanoUsd: expect.toSatisfy((cost: number) => cost > 3 * 100 * 500_000) },
      });
      // Again with the same price: what was approved stays so.
      await approve(changed, bound, "the test");
      await project.worker(
        { notes: asking("gpt-4o-mini", { price: { input: 1_000, output: 1_000 } }) },
        { approve: false },
      );
      expect(await project.rows(approved)).toEqual([{ approved: true }]);
      expect(worker.pipelines.size).toBe(1);
    });

    it("stays unknown when it was not known, and the price list knows it later", async () => {
      const worker = await send();
      await project.run(sql`update rowmill.batches set price = null`);
      await collect(worker);
      expect(await booked()).toMatchObject({ cost: null });
      expect(await moneyOverviews(project.database)).toMatchObject([{ unpriced: ROWS }]);
    });

    it("also holds for a duplicate of the batch that is found after the config changed", async () => {
      await send();
      const changed = await project.worker({ notes: asking("gpt-4o") }, { approve: false });
      await collect(changed);
      const { cost } = await booked();
      const [bound] = changed.pipelines.values();
      const account = bound?.provider.account ?? "";
      const [batch] = await project.rows<{ id: string }>(sql`select id from rowmill.batches`);
      const named = [{ providerBatchId: "batch_second", batchId: batch?.id ?? "" }];
      const [duplicate] = await duplicatesAmong(project.database, account, named);
      expect(duplicate).toMatchObject({ reservedNanoUsd: cost });
      const recorded = { account, reason: "a second one", certain: true };
      if (duplicate) await recordDuplicate(project.database, { ...duplicate, ...recorded });
      expect(await moneyOverviews(project.database)).toMatchObject([
        { spentNanoUsd: 2 * (cost ?? 0), liveNanoUsd: 4 * (cost ?? 0) },
      ]);
    });

    it("is the audit's basis for every cost: a cost that was booked otherwise is named", async () => {
      await collect(await send());
      const right = sql`select request_id, cost_nano_usd from rowmill.attempts order by request_id limit 1`;
      const [attempt] = await project.rows<{ cost_nano_usd: string }>(right);
      await project.run(sql`update rowmill.attempts set cost_nano_usd = cost_nano_usd * 17 where request_id = 1`);
      const violations = (await audit(project.database)).flatMap((invariant) => invariant.violations);
      const [batch] = await project.rows<{ id: string }>(sql`select id from rowmill.batches`);
      expect(violations).toEqual([
        expect.stringMatching(/^pipeline 1, hour /),
        `batch ${batch?.id}`,
        `notes 1 attempt 1 is booked at ${Number(attempt?.cost_nano_usd) * 17}, not ${attempt?.cost_nano_usd}`,
      ]);
      await project.run(sql`update rowmill.attempts set cost_nano_usd = cost_nano_usd / 17 where request_id = 1`);
    });
  },
  bookKeepers,
);
