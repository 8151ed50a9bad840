/** The intent protocol: whatever becomes of the calls to the provider, each request is paid for once. */
import { readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { Call, Fault } from "../../src/gateway/engine/faults.js";
import { pipeline, z } from "../../src/index.js";
import { advanceBatch } from "../../src/worker/turn/advance.js";
import { runPlanner } from "../../src/worker/rounds/planner.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { batchRows, createNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { inputsAt, intentOf } from "../support/raw-provider.js";

const isCreate = (call: Call) => call.method === "POST" && call.route === "/v1/batches";
const isUpload = (call: Call) => call.method === "POST" && call.route === "/v1/files";

/** A create without an effect is looked for so much longer than the window. */
const quickCreate = { timeouts: { createMs: 1_000 } };

/** A fault for the first `times` calls that match, nothing afterwards. */
function firstTimes(times: number, matches: (call: Call) => boolean, fault: Fault): (call: Call) => Fault | undefined {
  let left = times;
  return (call) => (matches(call) && left-- > 0 ? fault : undefined);
}

describeDatabases(
  "Submitting",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function expectAllAnsweredOnce(rows: number): Promise<void> {
      expect(new Set((await requests(project)).map((row) => row.state))).toEqual(new Set(["succeeded"]));
      const journal = await project.gateway.journal.summary();
      expect(journal.executed).toBe(rows);
      expect(journal.batches).toHaveLength(1);
    }

    it("adopts the batch whose create got no reply, instead of paying twice", async () => {
      const afterEffect = firstTimes(1, isCreate, { kind: "drop" });
      project = await startProject(kind, { gateway: { faults: { afterEffect } } });
      await createNotes(project, plain(5));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      await expectAllAnsweredOnce(5);
      expect(await batchRows(project)).toMatchObject([{ state: "settled", creates: 1 }]);
    });

    it("adopts it by another worker too, when the first one is gone", async () => {
      const afterEffect = firstTimes(1, isCreate, {
        kind: "reply",
        status: 500,
        body: { error: { message: "Sorry." } },
      });
      project = await startProject(kind, { gateway: { faults: { afterEffect } } });
      await createNotes(project, plain(5));
      const first = await project.worker({ notes: notesPipeline() });
      await project.round(first);
      await project.drain(await project.worker({ notes: notesPipeline() }));
      await expectAllAnsweredOnce(5);
    });

    it("creates again when the first create had no effect, with a new input file, after the window", async () => {
      const beforeEffect = firstTimes(1, isCreate, { kind: "drop" });
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(5));
      await project.drain(await project.worker({ notes: notesPipeline({ reconcileWindow: "500ms" }) }, quickCreate));
      await expectAllAnsweredOnce(5);
      const calls = (await project.gateway.journal.summary()).calls;
      expect(calls.get("POST /v1/files")).toBe(2);
      expect(await batchRows(project)).toMatchObject([{ state: "settled", creates: 2 }]);
    });

    it("makes a create harmless that a frozen worker posts after the fence", async () => {
      const beforeEffect = firstTimes(1, isCreate, { kind: "drop" });
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(5));
      const worker = await project.worker({ notes: notesPipeline({ reconcileWindow: "500ms" }) }, quickCreate);
      await project.round(worker);
      const [frozen] = await project.rows<{ id: string; file: string }>(
        sql`select id, provider_data ->> 'staged' as file from rowmill.batches`,
      );
      await project.drain(worker);
      // The frozen worker wakes up and posts what it meant to post.
      const [notes] = worker.pipelines.values();
      const late = await notes?.provider.create(intentOf(frozen?.file ?? "", { batch: frozen?.id ?? "" }));
      const ended = await project.gateway.until(late?.id ?? "");
      expect(ended.status).toBe("failed");
      expect((await project.gateway.journal.summary()).executed).toBe(5);
    });

    it("cancels and records a duplicate for the same requests", async () => {
      let hold = true;
      const afterEffect = firstTimes(1, isCreate, { kind: "drop" });
      project = await startProject(kind, { gateway: { faults: { afterEffect, hold: () => hold } } });
      await createNotes(project, plain(5));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker);
      const [batch] = await project.rows<{ id: string; file: string }>(
        sql`select id, provider_data ->> 'staged' as file from rowmill.batches`,
      );
      const [notes] = worker.pipelines.values();
      await notes?.provider.create(intentOf(batch?.file ?? "", { batch: batch?.id ?? "" }));
      await project.run(sql`update rowmill.batches set next_at = now()`);
      await project.round(worker);
      hold = false;
      project.gateway.release();
      await project.drain(worker);
      expect(new Set((await requests(project)).map((row) => row.state))).toEqual(new Set(["succeeded"]));
      const duplicates = await project.rows<{ cancelled: boolean }>(
        sql`select cancelled_at is not null as cancelled from rowmill.duplicate_batches`,
      );
      expect(duplicates).toEqual([{ cancelled: true }]);
    });

    it("never takes a cancelled duplicate for the right batch, although the right one has failed in the meantime", async () => {
      let first = "";
      let failed = false;
      const afterEffect = firstTimes(1, isCreate, { kind: "drop" });
      project = await startProject(kind, {
        gateway: {
          faults: {
            afterEffect,
            hold: () => !failed,
            // The first one is the older, also where both came within a second.
            showBatch: (batch) =>
              batch.id === first
                ? { ...batch, created_at: batch.created_at - 5, ...(failed ? { status: "failed" } : {}) }
                : batch,
          },
        },
      });
      await createNotes(project, plain(5));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker);
      const [batch] = await project.rows<{ id: string; file: string }>(
        sql`select id, provider_data ->> 'staged' as file from rowmill.batches`,
      );
      first = (await project.gateway.journal.summary()).batches[0]?.batchId ?? "";
      const [notes] = worker.pipelines.values();
      const second = await notes?.provider.create(intentOf(batch?.file ?? "", { batch: batch?.id ?? "" }));
      await project.run(sql`update rowmill.batches set next_at = now()`);
      // The second one is recorded and cancelled, the first one not taken yet.
      await project.round({
        ...worker,
        step: (name, work) =>
          name === "submit.record" ? Promise.reject(new Error("The worker died.")) : worker.step(name, work),
      });
      const duplicates = sql`
        select provider_batch_id as id
        from rowmill.duplicate_batches
        where cancelled_at is not null`;
      expect(await project.rows(duplicates)).toEqual([{ id: second?.id }]);
      failed = true;
      project.gateway.release();
      await project.run(sql`update rowmill.batches set next_at = now()`);
      await project.drain(worker);
      const [judged] = await batchRows(project);
      expect(judged).toMatchObject({ state: "rejected", provider_batch_id: first });
      expect(new Set((await requests(project)).map((row) => row.state))).toEqual(new Set(["succeeded"]));
    });

    it("adopts a file that was uploaded when its reply was lost, and deletes unequal ones of the same name", async () => {
      const afterEffect = firstTimes(4, isUpload, { kind: "drop" });
      project = await startProject(kind, { gateway: { faults: { afterEffect } } });
      await createNotes(project, plain(5));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      await expectAllAnsweredOnce(5);
    });

    it("renders again when the spool file is lost, and keeps it to itself while it is there", async () => {
      let refuseUploads = true;
      const beforeEffect = (call: Call): Fault | undefined =>
        isUpload(call) && refuseUploads
          ? { kind: "reply", status: 503, body: {}, headers: { "x-should-retry": "false" } }
          : undefined;
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(5));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker);
      const [file] = await readdir(worker.spoolFolder);
      const path = join(worker.spoolFolder, file ?? "");
      expect((await stat(path)).mode & 0o777).toBe(0o600);
      expect((await stat(worker.spoolFolder)).mode & 0o777).toBe(0o700);
      await writeFile(path, "something else");
      refuseUploads = false;
      await project.drain(worker);
      await expectAllAnsweredOnce(5);
      expect(await readdir(worker.spoolFolder)).toEqual([]);
    });

    it("waits out a 429 on create without taking it for an unknown ending", async () => {
      const beforeEffect = firstTimes(1, isCreate, {
        kind: "reply",
        status: 429,
        body: { error: { message: "Slow down.", code: "rate_limit_exceeded" } },
      });
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(5));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      await expectAllAnsweredOnce(5);
      // The worker's first look, and none for the create.
      expect((await project.gateway.journal.summary()).calls.get("GET /v1/batches")).toBe(1);
    });

    it("tries again when the file is not to be found right after its upload", async () => {
      let blind = 1;
      project = await startProject(kind, {
        gateway: { missingInput: "refused", faults: { seesInput: () => blind-- <= 0 } },
      });
      await createNotes(project, plain(5));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      await expectAllAnsweredOnce(5);
    });

    it("pauses with the reason when the key is refused, returns nothing, and continues after resume", async () => {
      let refuse = true;
      const beforeEffect = (call: Call): Fault | undefined =>
        refuse && isUpload(call)
          ? {
              kind: "reply",
              status: 401,
              body: {
                error: { message: "Incorrect API key provided: sk-abcd1234.", code: "invalid_api_key" },
              },
            }
          : undefined;
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(5));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.drain(worker);
      const [paused] = await project.rows<{ pause_kind: string; pause_reason: string }>(
        sql`select pause_kind, pause_reason from rowmill.pipelines`,
      );
      expect(paused?.pause_kind).toBe("account");
      expect(paused?.pause_reason).not.toContain("abcd1234");
      expect((await requests(project)).map((row) => row.state)).toEqual(Array.from({ length: 5 }, () => "batched"));
      refuse = false;
      await project.run(sql`update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`);
      await project.run(sql`update rowmill.batches set next_at = now()`);
      await project.drain(worker);
      await expectAllAnsweredOnce(5);
    });

    it("pauses with the reason when the provider does not know the batch any more, and returns nothing", async () => {
      let known = true;
      const beforeEffect = (call: Call): Fault | undefined =>
        known || call.route !== "/v1/batches/:id" || call.method !== "GET"
          ? undefined
          : {
              kind: "reply",
              status: 404,
              body: { error: { message: "No batch found with id 'batch_1'.", code: null } },
            };
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { beforeEffect, hold: () => hold } } });
      await createNotes(project, plain(3));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker);
      known = false;
      await project.run(sql`update rowmill.batches set next_at = now()`);
      await project.drain(worker);
      const [paused] = await project.rows(sql`select pause_kind, pause_reason from rowmill.pipelines`);
      expect(paused).toMatchObject({
        pause_kind: "account",
        pause_reason: expect.stringContaining("No batch found"),
      });
      expect((await requests(project)).map((row) => row.state)).toEqual(["batched", "batched", "batched"]);
      known = true;
      hold = false;
      project.gateway.release();
      await project.run(sql`update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`);
      await project.run(sql`update rowmill.batches set next_at = now()`);
      await project.drain(worker);
      await expectAllAnsweredOnce(3);
    });

    it("fetches a file again that was cut short, and loses no answer by it", async () => {
      let cuts = 2;
      const afterEffect = (call: Call): Fault | undefined =>
        call.route === "/v1/files/:id/content" && cuts-- > 0 ? { kind: "cut", afterBytes: 700 } : undefined;
      project = await startProject(kind, { gateway: { faults: { afterEffect } } });
      await createNotes(project, plain(10));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      await expectAllAnsweredOnce(10);
      expect(await outcomes(project)).toEqual({ answered: 10 });
    });

    it("learns the enqueued-token limit, sends smaller batches, and never the same size again", async () => {
      project = await startProject(kind, { gateway: { limits: { enqueuedTokensPerModel: 300 } } });
      await createNotes(project, plain(40));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      expect(new Set((await requests(project)).map((row) => row.state))).toEqual(new Set(["succeeded"]));
      expect((await project.gateway.journal.summary()).executed).toBe(40);
      const batches = await project.rows<{ state: string; lines: number }>(
        sql`select state, lines from rowmill.batches order by planned_at, id`,
      );
      const refused = batches.filter((batch) => batch.state === "rejected").map((batch) => batch.lines);
      expect(refused.length).toBeGreaterThanOrEqual(1);
      const largestSent = Math.max(
        ...batches.filter((batch) => batch.state === "settled").map((batch) => batch.lines ?? 0),
      );
      expect(largestSent).toBeLessThan(Math.min(...refused));
      expect([...new Set(refused)]).toHaveLength(refused.length);
    });

    it("fails one bad line alone when the provider refuses the file for it; the others go out again", async () => {
      project = await startProject(kind);
      await createNotes(project, [...plain(2), "[[demo:bad-line]] refused", ...plain(3, "later note")]);
      await project.drain(await project.worker({ notes: notesPipeline() }));
      expect((await requests(project)).map((row) => [row.key, row.state, row.error_code])).toEqual(
        [1, 2, 3, 4, 5, 6].map((key) => (key === 3 ? ["3", "failed", "permanent"] : [String(key), "succeeded", null])),
      );
      expect((await project.gateway.journal.summary()).executed).toBe(5);
      expect(await outcomes(project)).toEqual({ answered: 5, noRoom: 5, permanent: 1 });
    });

    it("finishes ending a refused batch after a crash half way, and does not try its file again", async () => {
      let refuseUploads = true;
      const beforeEffect = (call: Call): Fault | undefined =>
        isUpload(call) && refuseUploads
          ? { kind: "reply", status: 503, body: {}, headers: { "x-should-retry": "false" } }
          : undefined;
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(5));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker);
      refuseUploads = false;
      // A crash between keeping the refusal and ending the requests: the batch still stands where it was.
      await project.run(
        sql`update rowmill.batches set provider_errors = '[{"code":"odd","line":null,"message":"No.","param":null}]'`,
      );
      await project.drain(worker);
      const journal = await project.gateway.journal.summary();
      expect(journal.executed).toBe(5);
      const [refused, ...later] = await batchRows(project);
      expect(refused).toMatchObject({ state: "rejected", creates: 0, requests: 5 });
      expect(later.map((batch) => batch.state)).toEqual(later.map(() => "settled"));
      expect(later.reduce((sum, batch) => sum + batch.requests, 0)).toBe(5);
    });

    it("blames no row for a line that the file does not have, and counts the refusals", async () => {
      const refusal = {
        kind: "reply",
        status: 400,
        body: { error: { message: "No.", code: "odd", param: null, type: "x" } },
      } as const;
      const beforeEffect = firstTimes(1, isCreate, refusal);
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(2));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      expect(await outcomes(project)).toEqual({ answered: 2, batchRefused: 2 });
    });

    it("pauses when every line would be refused alike, such as an unknown model", async () => {
      project = await startProject(kind, { gateway: { models: ["gpt-4o-mini"] } });
      await createNotes(project, plain(3));
      const notes = pipeline({
        source: { table: "notes", key: "id", columns: ["body"] },
        ...quick,
        request: { model: "gpt-4.1-nano", user: "{{ body }}" },
        answer: z.object({ summary: z.string() }),
        target: { table: "note_summaries" },
      });
      await project.drain(await project.worker({ notes }));
      const [paused] = await project.rows<{ pause_kind: string; pause_reason: string }>(
        sql`select pause_kind, pause_reason from rowmill.pipelines`,
      );
      expect(paused).toMatchObject({
        pause_kind: "provider",
        pause_reason: expect.stringContaining("gpt-4.1-nano"),
      });
      expect((await requests(project)).map((row) => row.state)).toEqual(["waiting", "waiting", "waiting"]);
    });

    it("keeps within the user's own batch limits", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(25));
      const notes = pipeline({
        source: { table: "notes", key: "id", columns: ["body"] },
        ...quick,
        batch: { maxRequests: 10 },
        request: { model: "gpt-4o-mini", user: "{{ body }}" },
        target: { table: "note_answers" },
      });
      await project.drain(await project.worker({ notes }));
      expect((await batchRows(project)).map((batch) => batch.requests).sort((a, b) => b - a)).toEqual([10, 10, 5]);
    });

    it("deletes its files at the provider once they are no longer needed", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(3));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.drain(worker);
      await project.round(worker);
      expect(await inputsAt(project.gateway.url)).toEqual([]);
      const calls = (await project.gateway.journal.summary()).calls;
      expect(calls.get("DELETE /v1/files/:id")).toBe(2);
    });

    it("flushes in a round by itself what waits, though more rows have just arrived", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(2));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker, { flush: false });
      await project.run(sql`insert into notes (body) values ('It came a moment later.')`);
      await project.run(sql`update rowmill.pipelines set flush_at = clock_timestamp()`);
      expect(await runPlanner(worker, false)).toBe(1);
      await project.drain(worker);
      await project.check();
    });

    it("lets one of many workers act on a batch at a time", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(5));
      const workers = [
        await project.worker({ notes: notesPipeline() }),
        await project.worker({ notes: notesPipeline() }),
      ];
      const [first] = workers;
      if (!first) throw new Error("There is no worker.");
      await project.round(first, { flush: false });
      await runPlanner(first, true);
      const [batch] = await project.rows<{ id: string }>(sql`select id from rowmill.batches`);
      const signal = new AbortController().signal;
      await Promise.all(
        workers.flatMap((worker) => [1, 2, 3].map(() => advanceBatch(worker, batch?.id ?? "", signal))),
      );
      await project.drain(...workers);
      await expectAllAnsweredOnce(5);
    });
  },
  bookKeepers,
);
