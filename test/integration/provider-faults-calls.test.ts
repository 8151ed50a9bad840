/**
 * A provider whose calls misbehave: late, lost, refused, limited. What the rows, the pipeline and `rowmill status`
 * then say.
 */
import { rm } from "node:fs/promises";
import { afterEach, expect, it, vi } from "vitest";
import type { Call, Fault, GatewayFaults } from "../../src/gateway/engine/faults.js";
import type { GatewayOptions } from "../../src/gateway/gateway.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { batchRows, createNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import {
  drop,
  emptyList,
  executions,
  expectAllAnsweredOnce,
  faultsOf,
  hurry,
  impatient,
  is,
  listen,
  passTime,
  pauseOf,
  refusal,
  resumeAll,
  statusOf,
  times,
  type ProviderCall,
  type Warnings,
} from "../support/provider-faults.js";
import { inputsAt, intentOf, markIn } from "../support/raw-provider.js";

const ROWS = 3;
const unwell = refusal(503, "The server is overloaded.");

describeDatabases(
  "A provider whose calls misbehave",
  (kind) => {
    let project: TestProject;
    let warnings: Warnings;
    afterEach(async () => {
      vi.restoreAllMocks();
      await project.check().finally(() => project.close());
    });

    /** Three texts wait for a worker that has no patience. */
    async function start(
      gateway: Partial<GatewayOptions>,
      timeouts: { createMs?: number } = {},
    ): Promise<WorkerContext> {
      project = await startProject(kind, { gateway });
      await createNotes(project, plain(ROWS));
      warnings = listen();
      const options = { timeouts: { ...impatient, ...timeouts }, log: warnings.log };
      return project.worker({ notes: notesPipeline() }, options);
    }

    async function created(): Promise<string[]> {
      return (await project.gateway.journal.summary()).batches.map(({ batchId }) => batchId);
    }

    async function duplicates(): Promise<object[]> {
      return project.rows(sql`
        select provider_batch_id as id, cancelled_at is not null as cancelled, reserved_nano_usd > 0 as counted
        from rowmill.duplicate_batches`);
    }

    async function callsOf(route: string): Promise<number> {
      return (await project.gateway.journal.summary()).calls.get(route) ?? 0;
    }

    it("hangs on a create that took effect: Rowmill gives up, looks for the batch and finds it; status shows it", async () => {
      let end = () => {};
      const hanging = new Promise<undefined>((resolve) => {
        end = () => resolve(undefined);
      });
      const afterEffect = (call: Call) => (is("createBatch")(call) ? hanging : undefined);
      const worker = await start({ faults: { afterEffect } }, { createMs: 400 });
      await hurry(project, worker).finally(end);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await created()).toHaveLength(1);
      expect(warnings.messages.join()).toMatch(/may have taken effect.*no full reply .*within 400 ms/);
      expect(await statusOf(project)).toContain("found at the provider after its reply was lost");
    });

    it("lists a batch late, within the window: it is waited for and adopted, and no second one is made", async () => {
      const lost = faultsOf("createBatch", [drop]);
      const late = faultsOf("findBatches", times(3, emptyList));
      const worker = await start({ faults: { afterEffect: (call) => lost(call) ?? late(call) } });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await created()).toHaveLength(1);
      expect(await batchRows(project)).toMatchObject([{ state: "settled", creates: 1 }]);
      expect(await duplicates()).toEqual([]);
    });

    /** Runs what it was given although its file is deleted, and lists it only when told. */
    function listsLate(held: (batchId: string) => boolean) {
      const state = { listed: false };
      const lost = faultsOf("createBatch", [drop]);
      const faults = {
        afterEffect: (call: Call) => lost(call) ?? (is("findBatches")(call) && !state.listed ? emptyList : undefined),
        hold: (batch: { id: string; status: string }) => batch.status === "in_progress" && held(batch.id),
      };
      return { state, faults };
    }

    it("lists a batch beyond the window: the duplicate is found, cancelled before it runs, counted and reported", async () => {
      let hold = true;
      const { state, faults } = listsLate(() => hold);
      const unwillingToCancel = faultsOf("cancelBatch", [...times(4, unwell), ...times(4, drop)]);
      const worker = await start({ faults: { ...faults, beforeEffect: unwillingToCancel } });
      await project.round(worker);
      const [first = ""] = await created();
      await project.gateway.until(first, (batch) => batch.status === "in_progress");
      await passTime(project, "3 minutes");
      await project.round(worker);
      expect(await created()).toHaveLength(2);
      state.listed = true;
      await passTime(project, "1 hour");
      // Two looks whose cancels fail, one that cancels, one that finds nothing to do.
      for (const cancelled of [false, false, true, true]) {
        await project.round(worker);
        expect(await duplicates()).toEqual([{ id: first, cancelled, counted: true }]);
      }
      expect(await callsOf("POST /v1/batches/:id/cancel")).toBe(9);
      await project.gateway.until(first);
      hold = false;
      project.gateway.release();
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(warnings.messages.join()).toContain("seen late; cancelling it");
      const status = await statusOf(project);
      expect(status).toMatch(
        /notes: duplicate batch \(.*seen late: batch_\w+, to be cancelled, and counted as spent\)/,
      );
    });

    it("lists a batch beyond the window that has run by then: its cost is counted as much as the first one's", async () => {
      const { state, faults } = listsLate(() => false);
      const worker = await start({ faults });
      await project.round(worker);
      const [first = ""] = await created();
      await project.gateway.until(first);
      await passTime(project, "3 minutes");
      await hurry(project, worker);
      state.listed = true;
      await project.run(sql`update rowmill.batches set submitted_at = submitted_at - interval '1 hour'`);
      await project.round(worker);
      expect(await duplicates()).toEqual([{ id: first, cancelled: true, counted: true }]);
      const [sums] = await project.rows(sql`select
        (select sum(cost_nano_usd)
        from rowmill.attempts) = (select sum(reserved_nano_usd)
        from rowmill.duplicate_batches) as equal`);
      expect(sums).toEqual({ equal: true });
      // For the stated reason, and told: twice.
      expect(await executions(project)).toEqual(times(ROWS, 2));
      expect(await outcomes(project)).toEqual({ answered: ROWS });
    });

    it("lists a batch beyond the window whose duplicate was refused: its possible cost is counted anyway", async () => {
      let blind = false;
      const { state, faults } = listsLate(() => false);
      const worker = await start({
        missingInput: "failed",
        faults: { ...faults, seesInput: () => !blind },
      });
      await project.round(worker);
      const [first = ""] = await created();
      await project.gateway.until(first);
      await passTime(project, "3 minutes");
      blind = true;
      await project.round(worker);
      await project.gateway.until((await created())[1] ?? "", ({ status }) => status === "failed");
      blind = false;
      await hurry(project, worker);
      expect((await batchRows(project)).map((batch) => batch.state)).toEqual(["rejected", "settled"]);
      state.listed = true;
      await project.run(sql`update rowmill.batches set settled_at = settled_at - interval '1 hour',
        submitted_at = submitted_at - interval '1 hour'`);
      await project.round(worker);
      expect(await duplicates()).toEqual([{ id: first, cancelled: true, counted: true }]);
    });

    it.each(["the definition changed", "its rows and its file are gone"])(
      "lists a batch beyond the window, and %s before a second one was created: its possible cost is counted anyway",
      async (why) => {
        const { state, faults } = listsLate(() => false);
        let refusing = false;
        const beforeEffect = (call: Call): Fault | undefined =>
          refusing && is("uploadInput")(call) ? unwell : undefined;
        const worker = await start({ faults: { ...faults, beforeEffect } });
        await project.round(worker);
        const [first = ""] = await created();
        await project.gateway.until(first);
        await passTime(project, "3 minutes");
        refusing = true;
        await project.round(worker);
        expect(await batchRows(project)).toMatchObject([{ state: "uploading", creates: 1 }]);
        let next = worker;
        if (why === "the definition changed")
          next = await project.worker({ notes: notesPipeline({ user: "Again: {{ body }}" }) }, { timeouts: impatient });
        else {
          await project.run(sql`delete from public.notes`);
          await rm(worker.spoolFolder, { recursive: true, force: true });
        }
        refusing = false;
        await hurry(project, next);
        state.listed = true;
        await project.run(sql`update rowmill.batches set settled_at = settled_at - interval '1 hour',
          submitted_at = submitted_at - interval '1 hour'`);
        await project.round(next);
        expect(await duplicates()).toEqual([{ id: first, cancelled: true, counted: true }]);
      },
    );

    it("lists a batch when its input file is deleted, and not before: it is adopted, and no second one is made", async () => {
      const lost = faultsOf("createBatch", [drop]);
      let deleted = false;
      const afterEffect = (call: Call): Fault | undefined => {
        if (is("deleteFile")(call)) deleted = true;
        return lost(call) ?? (is("findBatches")(call) && !deleted ? emptyList : undefined);
      };
      const worker = await start({ faults: { afterEffect } });
      await project.round(worker);
      await project.gateway.until((await created())[0] ?? "");
      await passTime(project, "3 minutes");
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await created()).toHaveLength(1);
      expect(await statusOf(project)).toContain("found at the provider after its input file was deleted");
    });

    it("lists two batches when both replies were lost: the one whose file is there is taken, though it is younger", async () => {
      let hold = true;
      const lost = faultsOf("createBatch", [drop, drop]);
      let listed = false;
      const afterEffect = (call: Call): Fault | undefined =>
        lost(call) ?? (is("findBatches")(call) && !listed ? emptyList : undefined);
      let first = "";
      // By the provider's clock, in whole seconds.
      const showBatch: GatewayFaults["showBatch"] = (batch) => ({
        ...batch,
        created_at: batch.created_at - (batch.id === first ? 5 : 0),
      });
      const worker = await start({ faults: { afterEffect, showBatch, hold: () => hold } });
      await project.round(worker);
      [first = ""] = await created();
      await passTime(project, "3 minutes");
      await project.round(worker);
      const [, second] = await created();
      listed = true;
      await passTime(project, "0 seconds");
      await project.round(worker);
      expect(await batchRows(project)).toMatchObject([{ state: "running", provider_batch_id: second }]);
      expect(await duplicates()).toMatchObject([{ id: first, cancelled: true }]);
      hold = false;
      project.gateway.release();
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
    });

    it("refuses to cancel one of two duplicates: Rowmill reports it, cancels the other one, and tries again at the next look", async () => {
      let refusing = "";
      const beforeEffect = (call: Call): Fault | undefined =>
        is("cancelBatch")(call) && call.path.includes(refusing) ? refusal(409, "Not now.") : undefined;
      const worker = await start({ faults: { beforeEffect, hold: ({ status }) => status === "validating" } });
      await project.round(worker);
      const [notes] = worker.pipelines.values();
      const { batches } = await project.gateway.journal.summary();
      const mark = markIn(batches[0]?.metadata);
      const [batch] = await project.rows<{ file: string }>(
        sql`select provider_data ->> 'staged' as file from rowmill.batches`,
      );
      for (const intent of times(2, intentOf(batch?.file ?? "", mark))) await notes?.provider.create(intent);
      const [, one = "", other = ""] = await created();
      await project.run(sql`update rowmill.batches set submitted_at = submitted_at - interval '1 hour'`);
      refusing = one;
      await project.round(worker);
      const cancelled = async () =>
        (
          await project.rows<{ id: string }>(
            sql`select provider_batch_id as id from rowmill.duplicate_batches where cancelled_at is not null`,
          )
        ).map(({ id }) => id);
      expect(await duplicates()).toHaveLength(2);
      expect(await cancelled()).toEqual([other]);
      expect(warnings.messages.join()).toContain("a duplicate could not be canceled");
      refusing = "no batch";
      await project.round(worker);
      expect((await cancelled()).sort()).toEqual([one, other].sort());
    });

    it("has an orphan batch that is two days old, as old as the last known one: Rowmill notices it", async () => {
      const strange = { rowmill_batch: "11111111-1111-4111-8111-111111111111" };
      const isStrange = ({ metadata }: { metadata: Readonly<Record<string, string>> | null }) =>
        metadata?.["rowmill_batch"] === strange.rowmill_batch;
      const shownAt = (seconds: number) => ({ created_at: seconds - 72 * 3_600 });
      const worker = await start({
        faults: {
          showBatch: (batch) => ({ ...batch, ...(isStrange(batch) ? shownAt(batch.created_at) : {}) }),
          hold: isStrange,
        },
      });
      await hurry(project, worker);
      const [notes] = worker.pipelines.values();
      const [ours] = (await project.gateway.journal.summary()).batches;
      const mark = { ...markIn(ours?.metadata), batch: strange.rowmill_batch };
      const late = await notes?.provider.create(intentOf("file-gone", mark));
      await project.run(sql`update rowmill.batches set submitted_at = submitted_at - interval '100 hours'`);
      await project.round(await project.worker({ notes: notesPipeline() }, { timeouts: impatient }));
      const [deployment] = await project.rows(sql`select suspicion from rowmill.deployment`);
      expect(deployment).toEqual({ suspicion: expect.stringContaining(late?.id ?? "") });
    });

    it.each<[string, ProviderCall, number]>([
      ["redirects a create", "createBatch", 307],
      ["redirects an upload", "uploadInput", 302],
      ["redirects a look at a batch", "retrieveBatch", 308],
      ["says of a create that it is too early", "createBatch", 425],
    ])(
      "%s without end: one file is uploaded, it is tried less and less often, and no row fails",
      async (_, name, status) => {
        let ends = false;
        const away = refusal(status, "Elsewhere.", { headers: { location: "/v2/elsewhere" } });
        const worker = await start({
          faults: { beforeEffect: (call) => (is(name)(call) && !ends ? away : undefined) },
        });
        await hurry(project, worker);
        expect((await requests(project)).map((row) => row.state)).toEqual(times(ROWS, "batched"));
        expect(await batchRows(project)).toHaveLength(1);
        const reason = (await pauseOf(project))?.reason ?? "";
        expect(reason).toContain(`failed 20 times`);
        if (status !== 425) expect(reason).toContain("OPENAI_BASE_URL redirects");
        ends = true;
        await resumeAll(project);
        await hurry(project, worker);
        await expectAllAnsweredOnce(project, ROWS);
        const looks = name === "uploadInput" ? 21 : 1;
        expect(await callsOf("POST /v1/files")).toBe(looks);
      },
    );

    it("refuses a create that it does not like: its rows wait equally long, and go out in one batch again", async () => {
      const worker = await start({
        faults: { beforeEffect: faultsOf("createBatch", [refusal(409, "A conflict.")]) },
      });
      await project.round(worker);
      const [waits] = await project.rows(
        sql`select coalesce(sum(n), 0)::int as rows, count(distinct not_before)::int as instants from rowmill.queue`,
      );
      expect(waits).toEqual({ rows: ROWS, instants: 1 });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await callsOf("POST /v1/files")).toBe(2);
    });

    it("has a failed duplicate of a batch: it cost nothing, and Rowmill does not report it", async () => {
      const worker = await start({});
      await hurry(project, worker);
      const [notes] = worker.pipelines.values();
      const [ours] = (await project.gateway.journal.summary()).batches;
      const late = await notes?.provider.create(intentOf("file-gone", markIn(ours?.metadata)));
      await project.gateway.until(late?.id ?? "", (batch) => batch.status === "failed");
      await project.run(sql`update rowmill.batches set submitted_at = submitted_at - interval '1 hour'`);
      await project.round(worker);
      expect(await callsOf("GET /v1/batches")).toBe(2);
      expect(await duplicates()).toEqual([]);
    });

    it("takes a batch and then does not find its file: no row is blamed, and all rows are sent again", async () => {
      let blind = 2;
      const worker = await start({ missingInput: "failed", faults: { seesInput: () => blind-- <= 0 } });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await outcomes(project)).toEqual({ answered: ROWS, batchRefused: ROWS });
    });

    it("does not find a file five times after its upload: Rowmill uploads it again, and pauses nothing", async () => {
      const missing = refusal(400, "Cannot find file file-1, or organization org-x does not have access.");
      const worker = await start({ faults: { beforeEffect: faultsOf("createBatch", times(5, missing)) } });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(await callsOf("POST /v1/files")).toBe(2);
      expect(await pauseOf(project)).toBeNull();
    });

    it.each<ProviderCall>(["createBatch", "retrieveBatch"])(
      "says 429 and asks for an hour on %s: it is asked again after five minutes, and the rows stay where they are",
      async (name) => {
        const busy = refusal(429, "Slow down.", {
          code: "rate_limit_exceeded",
          headers: { "retry-after": "3600" },
        });
        const worker = await start({ faults: { beforeEffect: faultsOf(name, [busy]) } });
        await project.round(worker);
        const [wait] = await project.rows<{ seconds: number }>(
          sql`select extract(epoch from next_at - clock_timestamp())::int as seconds from rowmill.batches`,
        );
        expect(wait?.seconds).toBeGreaterThan(200);
        expect(wait?.seconds).toBeLessThanOrEqual(300);
        expect(await pauseOf(project)).toBeNull();
        expect((await requests(project)).map((row) => row.state)).toEqual(times(ROWS, "batched"));
        await hurry(project, worker);
        await expectAllAnsweredOnce(project, ROWS);
        expect(await created()).toHaveLength(1);
        // The worker's first look, and none for a create.
        expect(await callsOf("GET /v1/batches")).toBe(1);
      },
    );

    it("says 429 with a short Retry-After, and without one: Rowmill waits and continues silently", async () => {
      const soon = refusal(429, "Slow down.", { headers: { "retry-after-ms": "1" } });
      const busy = refusal(429, "Slow down.");
      const worker = await start({ faults: { beforeEffect: faultsOf("uploadInput", [soon, busy, soon]) } });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, ROWS);
      expect(warnings.messages).toEqual([]);
    });

    // cancelBatch: see the second batch above.
    it.each<ProviderCall>([
      "uploadInput",
      "findInputs",
      "createBatch",
      "findBatches",
      "retrieveBatch",
      "readLines",
      "deleteFile",
    ])(
      "answers 5xx and resets to %s, again and again: warned of, waited out, and each row asked once",
      async (name) => {
        // More than a call tries again by itself, and a create is never tried again.
        const repeated = name === "createBatch" ? 1 : 5;
        const failing = faultsOf(name, [...times(repeated, unwell), ...times(repeated, drop)]);
        const lost = name === "findBatches" ? faultsOf("createBatch", [drop]) : () => undefined;
        const worker = await start({ faults: { beforeEffect: failing, afterEffect: lost } });
        await hurry(project, worker, { each: name === "createBatch" ? "3 minutes" : "0 seconds" });
        for (let round = 0; round < 3; round++) await project.round(worker);
        await expectAllAnsweredOnce(project, ROWS);
        expect(warnings.messages.join()).toMatch(/HTTP 503|overloaded/);
        expect(warnings.messages.join()).toMatch(/no reply from/);
        expect(await pauseOf(project)).toBeNull();
        expect(await duplicates()).toEqual([]);
        expect(await inputsAt(project.gateway.url)).toEqual([]);
      },
    );

    it.each<ProviderCall>(["createBatch", "retrieveBatch", "readLines"])(
      "revokes the key midway, at %s: the pipeline pauses with the reason, and resume continues where it stood",
      async (name) => {
        let revoked = true;
        const no = refusal(401, "Incorrect API key provided: sk-abcd1234.", { code: "invalid_api_key" });
        const beforeEffect = (call: Call): Fault | undefined => (revoked && is(name)(call) ? no : undefined);
        const worker = await start({ faults: { beforeEffect } });
        await hurry(project, worker);
        expect(await pauseOf(project)).toMatchObject({
          kind: "account",
          reason: expect.stringContaining("Then: rowmill resume notes"),
        });
        expect((await requests(project)).map((row) => row.state)).toEqual(times(ROWS, "batched"));
        const status = await statusOf(project);
        expect(status).toContain("notes: paused: could not");
        expect(status).not.toContain("abcd1234");
        revoked = false;
        await resumeAll(project);
        await hurry(project, worker);
        await expectAllAnsweredOnce(project, ROWS);
        expect(await created()).toHaveLength(1);
      },
    );

    it.each(["validating", "finalizing"] as const)(
      "stands in %s for more than a day: the batch is asked about, nothing is sent again, and its answers are kept",
      async (status) => {
        let stuck = true;
        const showBatch: NonNullable<GatewayOptions["faults"]>["showBatch"] = (batch) =>
          stuck ? { ...batch, status, output_file_id: null, error_file_id: null } : batch;
        const worker = await start({ faults: { showBatch } });
        await project.round(worker);
        for (let round = 0; round < 5; round++) {
          await passTime(project, "6 hours");
          await project.round(worker);
        }
        expect(await batchRows(project)).toMatchObject([{ state: "running", provider_status: status }]);
        expect(await pauseOf(project)).toBeNull();
        expect(await statusOf(project)).toMatch(/notes +running +3 /);
        expect(warnings.messages).toEqual([expect.stringMatching(/^Batch batch_\w+ of notes was sent 30 h ago/)]);
        expect(await statusOf(project)).toMatch(new RegExp(`sent 30 h ago and is still ${status}, longer than`));
        const trueNow = performance.now.bind(performance);
        vi.spyOn(performance, "now").mockImplementation(() => trueNow() + 86_400_000);
        await passTime(project, "24 hours");
        await project.round(worker);
        expect(warnings.messages.slice(1)).toEqual([expect.stringMatching(/was sent 54 h ago/)]);
        stuck = false;
        await hurry(project, worker);
        await expectAllAnsweredOnce(project, ROWS);
        expect(await created()).toHaveLength(1);
        expect(await duplicates()).toEqual([]);
      },
    );
  },
  bookKeepers,
);
