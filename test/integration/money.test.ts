/** Budgets, limits, approval: what may be spent, and that batches in flight count. */
import { afterEach, expect, it } from "vitest";
import { sweepAll } from "../../src/app/open/round.js";
import { Approvals } from "../../src/cli/screen/approvals.js";
import { openTerminal, type Terminal } from "../../src/cli/screen/terminal.js";
import { pipeline, z } from "../../src/index.js";
import type { Reader } from "../../src/postgres/database.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { runPlanner } from "../../src/worker/rounds/planner.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { batchRows, createNotes, insertNotes, plain, requests } from "../support/notes.js";
import { approvalOf, sql, startProject, type TestProject } from "../support/project.js";

interface Money {
  budget?: { usd: number; per: "run" | "day" | "month" | "total" };
  limit?: number;
  approveAboveUsd?: number;
  model?: string;
  maxRequests?: number;
}

function notesPipeline(money: Money) {
  const { model = "gpt-4o-mini", maxRequests, ...rest } = money;
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    ...(maxRequests === undefined ? {} : { batch: { maxRequests } }),
    request: { model, maxOutputTokens: 100, user: "{{ body }}" },
    answer: z.object({ summary: z.string() }),
    target: { table: "note_summaries" },
    ...rest,
  });
}

describeDatabases(
  "Money",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function spent(): Promise<{ spent: number; reserved: number }> {
      const [row] = await project.rows<{ spent: number; reserved: number }>(sql`
      select coalesce((select sum(cost_nano_usd) from rowmill.attempts), 0)::float8 / 1e9 as spent,
        coalesce((select sum(reserved_nano_usd) from rowmill.batches), 0)::float8 / 1e9 as reserved`);
      return row ?? { spent: -1, reserved: -1 };
    }

    it("that a budget allows is never exceeded, also by several workers with batches in flight", async () => {
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(60));
      const money = { budget: { usd: 0.001, per: "total" as const }, maxRequests: 5 };
      const workers = [
        await project.worker({ notes: notesPipeline(money) }),
        await project.worker({ notes: notesPipeline(money) }),
      ];
      await Promise.all(workers.map((worker) => project.round(worker)));
      await Promise.all(workers.map((worker) => project.round(worker)));
      const inFlight = await spent();
      expect(inFlight.reserved).toBeGreaterThan(0);
      expect(inFlight.reserved).toBeLessThanOrEqual(0.001);
      hold = false;
      project.gateway.release();
      await project.drain(...workers);
      const after = await spent();
      expect(after.spent).toBeGreaterThan(0);
      expect(after.spent).toBeLessThanOrEqual(0.001);
      expect(after.reserved).toBe(0);
    });

    it("that is used up pauses the pipeline with the reason, and a larger budget ends the pause", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(60));
      await project.drain(
        await project.worker({
          notes: notesPipeline({ budget: { usd: 0.0002, per: "total" }, maxRequests: 5 }),
        }),
      );
      const [paused] = await project.rows<{ kind: string; reason: string }>(
        sql`select pause_kind as kind, pause_reason as reason from rowmill.pipelines`,
      );
      expect(paused).toMatchObject({
        kind: "budget",
        reason: expect.stringMatching(/budget of \$0\.0002 in total/),
      });
      const waiting = (await requests(project)).filter((row) => row.state === "waiting").length;
      expect(waiting).toBeGreaterThan(0);
      await project.drain(await project.worker({ notes: notesPipeline({ budget: { usd: 1, per: "total" } }) }));
      expect(new Set((await requests(project)).map((row) => row.state))).toEqual(new Set(["succeeded"]));
      expect((await project.gateway.journal.summary()).executed).toBe(60);
    });

    it("needs a known price to be kept within a budget", async () => {
      project = await startProject(kind);
      await createNotes(project, []);
      await expect(
        project.worker({ notes: notesPipeline({ model: "my-own-model", budget: { usd: 1, per: "day" } }) }),
      ).rejects.toThrow(/pipelines\.notes\.budget: Rowmill has no price for "my-own-model"/);
    });

    it("is bounded by `limit` too: that many rows in all, and their retries", async () => {
      project = await startProject(kind);
      await createNotes(project, ["[[demo:invalid-once]] first", ...plain(20)]);
      await project.drain(await project.worker({ notes: notesPipeline({ limit: 7, maxRequests: 3 }) }));
      const states = (await requests(project)).map((row) => row.state);
      expect(states.filter((state) => state === "succeeded")).toHaveLength(7);
      expect(states.filter((state) => state === "waiting")).toHaveLength(14);
      expect((await project.gateway.journal.summary()).executed).toBe(8);
    });

    it("is not spent before you approve a definition above approveAboveUsd", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(20));
      const worker = await project.worker({ notes: notesPipeline({ approveAboveUsd: 0.0001 }) }, { approve: false });
      await project.drain(worker);
      expect(await batchRows(project)).toEqual([]);
      const [notes] = worker.pipelines.values();
      if (!notes) throw new Error("There is no pipeline.");
      const approval = await approvalOf(worker, notes);
      expect(approval).toMatchObject({ kind: "needed", estimate: { rows: 20, answersCounted: 0, outputTokens: 800 } });
      expect(approval.kind === "needed" && approval.estimate.likelyNanoUsd).toBeGreaterThan(100_000);
      await project.run(sql`update rowmill.pipelines set approved_hash = definition_hash`);
      await project.drain(worker);
      expect((await batchRows(project)).map((batch) => batch.requests)).toEqual([20]);
    });

    it("is not approved by the first part of a load, nor held by arrivals that ask for nothing", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(4));
      const worker = await project.worker({ notes: notesPipeline({ approveAboveUsd: 0 }) }, { approve: false });
      const [dear] = worker.pipelines.values();
      if (!dear) throw new Error("There is no pipeline.");
      await sweepAll(worker, new AbortController().signal);
      const all = await approvalOf(worker, dear);
      const costOf4 = all.kind === "needed" ? (all.estimate.likelyNanoUsd ?? 0) : 0;
      expect(costOf4).toBeGreaterThan(0);
      const pipelineFor8 = { ...dear, config: { ...dear.config, approveAboveUsd: (2 * costOf4) / 1e9 } };
      const context = { ...worker, pipelines: new Map([[dear.id, pipelineFor8]]) };
      // Nine have arrived by then, or four of them again and again: no worker has looked.
      await insertNotes(project, plain(5, "another"));
      const before = await approvalOf(context, pipelineFor8);
      expect(before).toMatchObject({ kind: "open", estimate: { rows: 9, arrived: 5 } });
      expect(await runPlanner(context, true)).toBe(0);
      await runIntake(context);
      const counted = await approvalOf(context, pipelineFor8);
      expect(counted).toMatchObject({ kind: "needed", estimate: { rows: 9, arrived: 0 } });
      await project.run(sql`delete from notes where id > 4`);
      for (let times = 0; times < 5; times++) await project.run(sql`update notes set body = body || '.'`);
      const updated = await approvalOf(context, pipelineFor8);
      expect(updated).toMatchObject({ kind: "needed", estimate: { arrived: 25 } });
      await runIntake(context);
      expect(await approvalOf(context, pipelineFor8)).toMatchObject({
        kind: "cheap",
        estimate: { rows: 4, arrived: 0 },
      });
      await project.drain(context);
      expect((await requests(project)).map(({ state }) => state).sort()).toEqual([
        ...Array<string>(5).fill("gone"),
        ...Array<string>(4).fill("succeeded"),
      ]);
    });

    it("is not spent by an estimate that leaves out rows which are being taken in meanwhile", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(1));
      const worker = await project.worker({ notes: notesPipeline({ approveAboveUsd: 0.0001 }) }, { approve: false });
      await sweepAll(worker, new AbortController().signal);
      await insertNotes(project, plain(20, "a later note"));
      const [notes] = worker.pipelines.values();
      if (!notes) throw new Error("There is no pipeline.");
      const said: string[] = [];
      const terminal: Terminal = { ...openTerminal(), note: (text) => void said.push(text) };
      const approvals = new Approvals(terminal, worker, false);
      expect(await approvals.settleLater()).toBe(false);
      expect(said).toEqual([]);
      const takingInBetween: Reader = {
        ...worker.read,
        number: async (statement) => {
          const count = await worker.read.number(statement);
          if (/from rowmill\.(counts|arrivals)/.test(statement.text)) await runIntake(worker);
          return count;
        },
      };
      const approval = await approvalOf({ ...worker, read: takingInBetween }, notes);
      expect(approval.kind).toBe("needed");
      expect(await approvalOf(worker, notes)).toMatchObject({ kind: "needed", estimate: { rows: 21 } });
      expect(await approvals.settleLater()).toBe(true);
      expect(said).toContain("! notes: waits for approval. Approve it: rowmill approve notes");
    });

    it("below approveAboveUsd is reported when that was open at first", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(1));
      const worker = await project.worker({ notes: notesPipeline({ approveAboveUsd: 0.0001 }) }, { approve: false });
      await sweepAll(worker, new AbortController().signal);
      await insertNotes(project, plain(20, "a later note"));
      await project.run(sql`delete from public.notes where id > 3`);
      const said: string[] = [];
      const terminal: Terminal = { ...openTerminal(), note: (text) => void said.push(text) };
      const approvals = new Approvals(terminal, worker, false);
      expect(await approvals.settleLater()).toBe(false);
      await project.drain(worker);
      expect(await batchRows(project)).toHaveLength(1);
      expect(await approvals.settleLater(new Set())).toBe(true);
      expect(said).toEqual([expect.stringMatching(/^notes: 3 rows, /), "✓ notes: approved"]);
    });

    it("is estimated by what arrived last, too: the first rows of a load may be short", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(4));
      const worker = await project.worker({ notes: notesPipeline({ approveAboveUsd: 0 }) }, { approve: false });
      const [notes] = worker.pipelines.values();
      if (!notes) throw new Error("There is no pipeline.");
      await sweepAll(worker, new AbortController().signal);
      await insertNotes(project, plain(4, "a long word ".repeat(500)));
      const approval = await approvalOf(worker, notes);
      expect(approval).toMatchObject({ kind: "needed", estimate: { rows: 8, arrived: 4 } });
      // A thousand and more each of the four long ones: by the short ones alone it would be some hundred.
      expect("estimate" in approval && approval.estimate.inputTokens).toBeGreaterThan(4_000);
    });

    it("below approveAboveUsd needs no approval, and a changed definition is estimated again", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(20));
      await project.drain(await project.worker({ notes: notesPipeline({}) }, { approve: false }));
      expect(await batchRows(project)).toHaveLength(1);
      const changed = notesPipeline({ model: "gpt-4.1-nano", approveAboveUsd: 0 });
      await project.drain(await project.worker({ notes: changed }, { approve: false }));
      expect(await batchRows(project)).toHaveLength(1);
    });

    it("and tokens of every attempt are kept, as the provider counted them", async () => {
      project = await startProject(kind);
      await createNotes(project, ["[[demo:invalid]] one", "two"]);
      await project.drain(await project.worker({ notes: notesPipeline({}) }));
      const attempts = await project.rows<{ input: number; output: number; cost: string }>(
        sql`
          select input_tokens as input, output_tokens as output, cost_nano_usd as cost
          from rowmill.attempts
          order by request_id, attempt`,
      );
      expect(attempts).toHaveLength(4);
      for (const attempt of attempts) {
        expect(attempt.input).toBeGreaterThan(0);
        // gpt-4o-mini in a batch: 0.075 and 0.30 dollars a million.
        expect(Number(attempt.cost)).toBe(Math.ceil(attempt.input * 75 + attempt.output * 300));
      }
    });
  },
  bookKeepers,
);
