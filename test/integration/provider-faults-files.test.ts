/** A provider whose files misbehave: gone, late, damaged, foreign. What becomes of the rows, and what a person sees. */
import { afterEach, expect, it } from "vitest";
import type { Call, Fault, GatewayFaults } from "../../src/gateway/engine/faults.js";
import type { GatewayOptions } from "../../src/gateway/gateway.js";
import { RETURNS_MAX } from "../../src/model/words/what-next.js";
import { believeMissing } from "../../src/store/ledger/recovery.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { batchRows, createNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import {
  executions,
  expectAllAnsweredOnce,
  faultsOf,
  hurry,
  impatient,
  listen,
  passTime,
  pauseOf,
  refusal,
  resumeAll,
  statusOf,
  times,
  type Warnings,
} from "../support/provider-faults.js";

interface AnswerLine {
  custom_id: string;
  response: { status_code: number; body: { choices: { message: { content: string } }[] } };
}

/** The line as another client might have written it: another name, another answer. */
function forged(line: string, rename: (customId: string) => string): string {
  const answer = JSON.parse(line) as AnswerLine;
  for (const { message } of answer.response.body.choices) message.content = '{"summary":"forged"}';
  return JSON.stringify({ ...answer, custom_id: rename(answer.custom_id) });
}

function inOutput(change: (line: string, index: number) => readonly string[] | undefined) {
  let index = 0;
  const transformOutput: GatewayFaults["transformOutput"] = (line, { file }) =>
    file === "output" ? change(line, index++) : undefined;
  return { transformOutput };
}

describeDatabases(
  "A provider whose files misbehave",
  (kind) => {
    let project: TestProject;
    let warnings: Warnings;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    async function start(bodies: readonly string[], gateway: Partial<GatewayOptions>): Promise<WorkerContext> {
      project = await startProject(kind, { gateway: { shuffleSeed: null, ...gateway } });
      await createNotes(project, bodies);
      warnings = listen();
      return project.worker({ notes: notesPipeline() }, { timeouts: impatient, log: warnings.log });
    }

    async function states(): Promise<string[]> {
      return (await requests(project)).map((row) => row.state);
    }

    async function summaries(): Promise<string[]> {
      const rows = await project.rows<{ summary: string }>(sql`select summary from public.note_summaries order by id`);
      return rows.map((row) => row.summary);
    }

    async function pausedTimes(): Promise<number> {
      const [row] = await project.rows<{ count: number }>(
        sql`select count(*)::int as count from rowmill.pipeline_events where event = 'paused'`,
      );
      return row?.count ?? -1;
    }

    let held = false;
    const hold = () => held;

    /** The provider has ended the batch, and no worker has read its files. */
    async function endUncollected(worker: WorkerContext): Promise<string> {
      held = true;
      await project.round(worker);
      held = false;
      project.gateway.release();
      const [batch] = (await project.gateway.journal.summary()).batches;
      const ended = await project.gateway.until(batch?.batchId ?? "");
      expect(await batchRows(project)).toMatchObject([{ state: "running" }]);
      return ended.output_file_id ?? "";
    }

    it("loses the answers: reported once with their number, and after resume only these rows are sent again", async () => {
      const worker = await start([...plain(2), "[[demo:error 400]] in the other file"], { faults: { hold } });
      const [notes] = worker.pipelines.values();
      const fileId = await endUncollected(worker);
      expect(await notes?.provider.staging?.remove(fileId)).toBe(true);
      await hurry(project, worker);
      const pause = await pauseOf(project);
      expect(pause?.kind).toBe("provider");
      expect(pause?.reason).toMatch(
        new RegExp(
          `The provider has batch batch_\\w+, but not its file ${fileId} any more: the answers of 2 rows are lost. .*costs money again: rowmill resume notes$`,
        ),
      );
      expect(await statusOf(project)).toContain("the answers of 2 rows are lost");
      expect(await states()).toEqual(["batched", "batched", "failed"]);
      await resumeAll(project);
      await hurry(project, worker);
      expect(await states()).toEqual(["succeeded", "succeeded", "failed"]);
      expect(await pausedTimes()).toBe(1);
      expect(await outcomes(project)).toEqual({ answered: 2, missing: 2, permanent: 1 });
      const [missing] = await project.rows(sql`select detail from rowmill.attempts where outcome = 'missing' limit 1`);
      expect(missing).toEqual({ detail: `The provider no longer has file ${fileId} of the batch.` });
      expect(await executions(project)).toEqual([2, 2, 1]);
    });

    it("lost the answers, which was reported while the batch ran: no row is sent again", async () => {
      const worker = await start(plain(2), { faults: { hold } });
      const [notes] = worker.pipelines.values();
      await notes?.provider.staging?.remove(await endUncollected(worker));
      const [batch] = await project.rows<{ id: string }>(sql`select id from rowmill.batches`);
      await believeMissing(worker.database, [batch?.id ?? ""]);
      await hurry(project, worker);
      expect(await states()).toEqual(["succeeded", "succeeded"]);
      expect(await pausedTimes()).toBe(0);
    });

    it("loses the answers of a paused pipeline: Rowmill looks less and less often, and reports it after resume", async () => {
      const worker = await start(plain(2), { faults: { hold } });
      const [notes] = worker.pipelines.values();
      await notes?.provider.staging?.remove(await endUncollected(worker));
      await project.run(
        sql`update rowmill.pipelines set pause_kind = 'person', pause_reason = 'lunch', paused_at = now()`,
      );
      const looks = 6;
      for (let look = 0; look < looks; look++) {
        await project.round(worker);
        await passTime(project, "0 seconds");
      }
      expect(await pauseOf(project)).toEqual({ kind: "person", reason: "lunch" });
      const [batch] = await project.rows<{ polls: number; downloads: number }>(
        sql`select polls, downloads from rowmill.batches`,
      );
      // One look finds that the batch has ended, two believe that the file is late. A slow round may hold two of the
      // others.
      expect(batch?.downloads).toBe(2);
      expect(batch?.polls).toBeGreaterThanOrEqual(looks - 3);
      await resumeAll(project);
      await project.round(worker);
      expect((await pauseOf(project))?.reason).toContain("the answers of 2 rows are lost");
      expect(await executions(project)).toEqual([1, 1]);
    });

    it("shows a file late: Rowmill reads it when it is there, and pauses nothing", async () => {
      const late = faultsOf("readLines", times(2, refusal(404, "No such File object: file-1")));
      const worker = await start(plain(3), { faults: { beforeEffect: late } });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
      expect(await pausedTimes()).toBe(0);
    });

    it("finds neither file nor batch, as with a key of another project: nothing is believed lost", async () => {
      let wrongKey = false;
      const beforeEffect = (call: Call): Fault | undefined =>
        wrongKey && call.method === "GET" ? refusal(404, "Nothing found with that id.") : undefined;
      const worker = await start(plain(3), { faults: { beforeEffect, hold } });
      await endUncollected(worker);
      await project.run(sql`update rowmill.batches set next_at = clock_timestamp()`);
      wrongKey = true;
      await hurry(project, worker);
      expect(await pauseOf(project)).toMatchObject({
        kind: "account",
        reason: expect.stringContaining("Check that the key belongs to the project"),
      });
      wrongKey = false;
      await resumeAll(project);
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
    });

    it("stalls within a file: the connection is given up, warned of, and the file read again", async () => {
      const stall = faultsOf("readLines", times(2, { kind: "stall", afterBytes: 700 }));
      const worker = await start(plain(4), { faults: { afterEffect: stall } });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 4);
      expect(warnings.messages.join()).toContain("stalled: no byte for 300 ms");
    });

    it("writes a byte order mark and lines that end as on Windows: every answer is read", async () => {
      const worker = await start(plain(3), {
        faults: inOutput((line, index) => [`${index === 0 ? "\ufeff" : ""}${line}\r`]),
      });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
      expect(await outcomes(project)).toEqual({ answered: 3 });
    });

    it("answers a previous attempt before the current one: the previous one counts for nothing, and the right answer is kept", async () => {
      const previous = (line: string) => [forged(line, (id) => id.replace(/^(\d+)-\d+-/, "$1-1-")), line];
      const worker = await start(["[[demo:error-once 500]] first", "[[demo:error-once 500]] second"], {
        faults: inOutput(previous),
      });
      await hurry(project, worker);
      expect(await states()).toEqual(["succeeded", "succeeded"]);
      expect(await outcomes(project)).toEqual({ answered: 2, transient: 2 });
      // The first one fell over, which is the stated reason for the second.
      expect(await executions(project)).toEqual([2, 2]);
      expect(await summaries()).not.toContain("forged");
    });

    it("answers another content of the row before the present one: it says nothing, and the right answer is kept", async () => {
      const other = (line: string) => [forged(line, (id) => id.replace(/[0-9a-f]{12}$/, "0123456789ab")), line];
      const worker = await start(plain(3), { faults: inOutput(other) });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
      expect(await outcomes(project)).toEqual({ answered: 3 });
      expect(await summaries()).not.toContain("forged");
    });

    it("writes status 0, half a JSON, no choices: each row is sent again for its own stated reason", async () => {
      const damages: ((line: string) => string[])[] = [
        (line) => [line.replace(/"status_code":\s*200/, '"status_code":0')],
        (line) => [line.slice(0, line.length / 2)],
        (line) => [line],
      ];
      const worker = await start([...plain(2), "[[demo:no-choices-once]] third"], {
        faults: inOutput((line, index) => damages[index]?.(line)),
      });
      await hurry(project, worker);
      expect(await states()).toEqual(times(3, "succeeded"));
      const reasons = await project.rows<{ outcome: string; detail: string }>(
        sql`select outcome, detail from rowmill.attempts where outcome <> 'answered' order by request_id`,
      );
      expect(reasons).toEqual([
        { outcome: "transient", detail: "the line has no usable response (status 0)" },
        { outcome: "missing", detail: expect.stringContaining("do not name this request") },
        { outcome: "invalid", detail: "the response has no choices" },
      ]);
      expect(await executions(project)).toEqual([2, 2, 2]);
    });

    it("drops a line that it counts as answered: the file is read three times before the row is sent again", async () => {
      const worker = await start(plain(3), {
        faults: inOutput((line, index) => (index === 1 ? [] : [line])),
      });
      await hurry(project, worker);
      expect(await outcomes(project)).toEqual({ answered: 3, missing: 1 });
      expect(await executions(project)).toEqual([1, 2, 1]);
      const { calls } = await project.gateway.journal.summary();
      expect(calls.get("GET /v1/files/:id/content")).toBe(4);
      expect(await statusOf(project)).toContain("the results do not name 1 requests: missing");
    });

    it.each(["output_file_id", "error_file_id"] as const)(
      "says that it has ended before it says %s: Rowmill asks until it does, and no row is asked twice",
      async (field) => {
        let looks = 0;
        const showBatch: GatewayFaults["showBatch"] = (batch) =>
          batch.status === "completed" && looks++ < 2 ? { ...batch, [field]: null } : batch;
        const worker = await start([...plain(2), "[[demo:error 400]] third"], { faults: { showBatch } });
        await hurry(project, worker);
        expect(await states()).toEqual(["succeeded", "succeeded", "failed"]);
        expect(await outcomes(project)).toEqual({ answered: 2, permanent: 1 });
        expect(await executions(project)).toEqual([1, 1, 1]);
        expect(await pausedTimes()).toBe(0);
      },
    );

    /** From the first look at the ended batch on; the lines are counted all the same. */
    function neverNamed(field: "output_file_id" | "error_file_id") {
      const until = { named: false };
      const showBatch: GatewayFaults["showBatch"] = (batch) => (until.named ? batch : { ...batch, [field]: null });
      return { until, showBatch };
    }

    it.each([true, false])(
      "counts answers and never names their file: after eight looks the pipeline pauses; found after resume: %s",
      async (foundAtLast) => {
        const { until, showBatch } = neverNamed("output_file_id");
        const worker = await start(plain(3), { faults: { showBatch } });
        await hurry(project, worker);
        const pause = await pauseOf(project);
        expect(pause?.kind).toBe("provider");
        expect(pause?.reason).toMatch(
          /^The provider counts 3 answers in batch batch_\w+, but names no file with them: 3 rows have no answer\. Rowmill asked 8 times\. .*costs money again: rowmill resume notes$/,
        );
        expect(await executions(project)).toEqual([1, 1, 1]);
        until.named = foundAtLast;
        await resumeAll(project);
        // Nothing is named yet where the batch is asked once more; the batch that follows is as it should be.
        if (!foundAtLast) {
          await project.round(worker, { flush: false });
          until.named = true;
        }
        await hurry(project, worker);
        expect(await states()).toEqual(times(3, "succeeded"));
        expect(await executions(project)).toEqual(times(3, foundAtLast ? 1 : 2));
        expect(await outcomes(project)).toEqual({ answered: 3, ...(foundAtLast ? {} : { missing: 3 }) });
        expect(await pausedTimes()).toBe(1);
      },
    );

    it("counts rows that failed and never names their file: they cost nothing, and are sent again without a word", async () => {
      const { showBatch } = neverNamed("error_file_id");
      const worker = await start([...plain(2), "[[demo:error 400]] third"], { faults: { showBatch } });
      await hurry(project, worker);
      expect((await requests(project)).map((row) => [row.state, row.error_code])).toEqual([
        ["succeeded", null],
        ["succeeded", null],
        ["failed", "missing"],
      ]);
      expect(await executions(project)).toEqual([1, 1, RETURNS_MAX]);
      expect(await pausedTimes()).toBe(0);
    });

    it.each([
      ["valid lines about rows of others", '{"custom_id":"1-1-aaaaaaaaaaaa","response":null,"error":null}'],
      ["empty lines", ""],
      ["its own first line", null],
    ])(
      "sends an answer and then %s without end: Rowmill reports it, and sends the rest again after resume",
      async (_, more) => {
        let isEndless = true;
        const endless = inOutput((line, index) => {
          if (!isEndless) return undefined;
          return index === 0 ? [line, ...times(3_000, more ?? line)] : [];
        });
        const worker = await start(plain(3), { faults: endless });
        await hurry(project, worker);
        expect(await states()).toEqual(["succeeded", "batched", "batched"]);
        expect((await pauseOf(project))?.reason).toMatch(
          /has 3 requests, and file \S+ cannot be read to its end: it has more than 1006 lines.*2 rows have no answer/,
        );
        isEndless = false;
        await resumeAll(project);
        await hurry(project, worker);
        expect(await executions(project)).toEqual([1, 2, 2]);
        expect(await outcomes(project)).toEqual({ answered: 3, missing: 2 });
      },
    );

    it("sends every answer and then lines without end: all answers count, and nothing is reported", async () => {
      const endless = inOutput((line, index) => (index < 2 ? undefined : [line, ...times(3_000, line)]));
      const worker = await start(plain(3), { faults: endless });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
      expect(await pausedTimes()).toBe(0);
    });

    it.each([
      ["more than it answered", { total: 9, completed: 9, failed: 9 }],
      ["nothing", { total: 0, completed: 0, failed: 0 }],
    ])("counts %s: the lines decide, and nothing is sent again", async (_, counts) => {
      const worker = await start(plain(3), {
        faults: { showBatch: (batch) => ({ ...batch, request_counts: counts }) },
      });
      await hurry(project, worker);
      await expectAllAnsweredOnce(project, 3);
      expect(await outcomes(project)).toEqual({ answered: 3 });
      expect(warnings.messages).toEqual([]);
    });

    it.each([null, "absent", ""] as const)(
      "writes %o for a file that is not there, all rows failed or none: each has its answer or its reason",
      async (absentFileIds) => {
        const worker = await start(plain(2), { absentFileIds });
        await hurry(project, worker);
        await expectAllAnsweredOnce(project, 2);
        await project.run(sql`update public.notes set body = '[[demo:error 400]] ' || id`);
        await hurry(project, worker);
        expect((await requests(project)).map((row) => [row.state, row.error_code])).toEqual(
          times(2, ["failed", "permanent"]),
        );
        expect((await batchRows(project)).map((batch) => batch.provider_status)).toEqual(times(2, "completed"));
        expect(await statusOf(project)).toMatch(/^notes +0 +0 +0 +2 /m);
        expect(await executions(project)).toEqual(times(4, 1));
        expect(await pausedTimes()).toBe(0);
        expect(warnings.messages).toEqual([]);
      },
    );
  },
  bookKeepers,
);
