/**
 * What the lines of an answer file may say, and what becomes of each request: kept, sent again, or failed with its
 * reason.
 */
import { afterEach, expect, it } from "vitest";
import type { Gateway } from "../../src/gateway/gateway.js";
import type { Call } from "../../src/gateway/engine/faults.js";
import { pipeline, z } from "../../src/index.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { batchRows, createNotes, insertNotes, notesPipeline, outcomes, plain, requests } from "../support/notes.js";
import { requestFlush } from "../../src/store/pipelines/pipelines.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { hurry } from "../support/provider-faults.js";

describeDatabases(
  "Answers",
  (kind) => {
    let project: TestProject;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    it("end each request as its line says: kept, sent again within bounds, or failed with the reason", async () => {
      project = await startProject(kind);
      await createNotes(project, [
        "plain text",
        "[[demo:refuse]] never answers",
        "[[demo:invalid-once]] is fixed at the second try",
        "[[demo:error 400]] cannot be asked",
        "[[demo:error-once 500]] falls over once",
        "",
      ]);
      await hurry(project, await project.worker({ notes: notesPipeline({ attempts: 2 }) }));
      const ended = await requests(project);
      expect(ended.map((row) => [row.state, row.error_code])).toEqual([
        ["succeeded", null],
        ["failed", "refused"],
        ["succeeded", null],
        ["failed", "permanent"],
        ["succeeded", null],
        ["failed", "empty"],
      ]);
      expect(ended.map((row) => row.tries)).toEqual([0, 2, 1, 0, 0, 0]);
      expect(await outcomes(project)).toEqual({
        answered: 3,
        refused: 2,
        invalid: 1,
        permanent: 1,
        transient: 1,
        empty: 1,
      });
      const [kept] = await project.rows<{ answer: string | null }>(
        sql`select answer from rowmill.attempts where outcome = 'invalid'`,
      );
      expect(kept?.answer).toBeTypeOf("string");
    });

    it("are checked by the user's validate, whose reason is kept", async () => {
      project = await startProject(kind);
      await createNotes(project, ["a good one", "a bad one"]);
      const notes = pipeline({
        source: { table: "notes", key: "id", columns: ["body"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: (row) => row.body },
        answer: z.object({ summary: z.string() }),
        validate: (_answer, row) => (row.body?.includes("bad") ? "It is bad." : null),
        attempts: 1,
        target: { table: "note_summaries" },
      });
      await project.drain(await project.worker({ notes }));
      expect((await requests(project)).map((row) => [row.state, row.error])).toEqual([
        ["succeeded", null],
        ["failed", "It is bad."],
      ]);
    });

    /** A batch of ten rows that the provider ends before it has answered all of them, collected. */
    async function endEarly(end: (gateway: Gateway, batchId: string) => void): Promise<void> {
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(10));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker);
      const [created] = (await project.gateway.journal.summary()).batches;
      hold = false;
      const id = created?.batchId ?? "";
      end(project.gateway, id);
      await project.gateway.until(id);
      await project.drain(worker);
    }

    it("of an expired batch are kept, and only the rest is sent again", async () => {
      await endEarly((gateway, id) => gateway.expire(id, { afterRequests: 4 }));
      const journal = await project.gateway.journal.summary();
      expect(journal.executed).toBe(10);
      expect([...journal.executedByContent.values()]).toEqual(Array.from({ length: 10 }, () => 1));
      expect(await outcomes(project)).toEqual({ answered: 10, expired: 6 });
    });

    it("of a batch that was cancelled at the provider are kept, and only the rest is sent again", async () => {
      await endEarly((gateway, id) => gateway.cancel(id, { afterRequests: 7 }));
      expect((await project.gateway.journal.summary()).executed).toBe(10);
      expect(await outcomes(project)).toEqual({ answered: 10, cancelled: 3 });
    });

    it("whose lines are missing, repeated or foreign are counted once, and the missing are sent again", async () => {
      let first = true;
      const transformOutput = (line: string) => {
        if (!line.includes("number 3,")) return first ? [line, line] : undefined;
        const dropped = first;
        first = false;
        return dropped ? [`{"custom_id":"somebody-else","response":null}`, "not json at all"] : undefined;
      };
      project = await startProject(kind, { gateway: { shuffleSeed: null, faults: { transformOutput } } });
      await createNotes(project, plain(3));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      expect((await requests(project)).map((row) => row.state)).toEqual(["succeeded", "succeeded", "succeeded"]);
      expect(await outcomes(project)).toEqual({ answered: 3, missing: 1 });
    });

    it("that cannot be stored fail alone, by their own reason", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(20));
      await project.run(
        sql`
          create table public.note_summaries (id int primary key, summary text check (summary not like '%number 7,%'))`,
      );
      await project.drain(await project.worker({ notes: notesPipeline() }));
      const failed = (await requests(project)).filter((row) => row.state !== "succeeded");
      expect(failed.map((row) => [row.key, row.state, row.error_code])).toEqual([["7", "failed", "unwritable"]]);
      expect(failed[0]?.error).toContain("note_summaries_summary_check");
    });

    it("to an older definition are accepted, and do not count as answers to a newer one", async () => {
      let hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(5));
      const old = await project.worker({ notes: notesPipeline() });
      await project.round(old);
      const changed = {
        ...notesPipelineSpec,
        request: { ...notesPipelineSpec.request, system: "Answer in one word." },
      };
      const renewed = await project.worker({ notes: pipeline(changed) });
      hold = false;
      project.gateway.release();
      await project.drain(renewed);
      expect(await outcomes(project)).toEqual({ answered: 10 });
      expect((await project.gateway.journal.summary()).executed).toBe(10);
      expect((await batchRows(project)).map((batch) => batch.state)).toEqual(["settled", "settled"]);
    });

    it("are never asked for by a batch that an older definition rendered and no worker sent", async () => {
      let refuseUploads = true;
      const refusal = {
        kind: "reply",
        status: 503,
        body: {},
        headers: { "x-should-retry": "false" },
      } as const;
      const beforeEffect = (call: Call) =>
        refuseUploads && call.method === "POST" && call.route === "/v1/files" ? refusal : undefined;
      project = await startProject(kind, { gateway: { faults: { beforeEffect } } });
      await createNotes(project, plain(5));
      await project.round(await project.worker({ notes: notesPipeline() }));
      refuseUploads = false;
      const changed = {
        ...notesPipelineSpec,
        request: { ...notesPipelineSpec.request, system: "Answer in one word." },
      };
      await project.drain(await project.worker({ notes: pipeline(changed) }));
      expect((await project.gateway.journal.summary()).executed).toBe(5);
      expect(await outcomes(project)).toEqual({ answered: 5, noRoom: 5 });
    });

    it("are sent again when the prompt changes, but only where the rendered request differs", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(5));
      await project.drain(await project.worker({ notes: pipeline(notesPipelineSpec) }));
      // The same text for all rows but one.
      const user = (row: { body: string | null }) =>
        row.body?.includes("number 2,") ? `${row.body} Please.` : row.body;
      const changed = { ...notesPipelineSpec, request: { ...notesPipelineSpec.request, user } };
      await project.drain(await project.worker({ notes: pipeline(changed) }));
      expect((await project.gateway.journal.summary()).executed).toBe(6);
      // And back: nothing but that row is sent again.
      await project.drain(await project.worker({ notes: pipeline(notesPipelineSpec) }));
      expect((await project.gateway.journal.summary()).executed).toBe(7);
    });

    it("without a schema go into one column, `answer`", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(3));
      const notes = pipeline({
        source: { table: "notes", key: "id", columns: ["body"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: "{{ body }}" },
        target: { table: "note_answers" },
      });
      await project.drain(await project.worker({ notes }));
      const rows = await project.rows<{ answer: string; rowmill_model: string }>(
        sql`select answer, rowmill_model from public.note_answers order by id`,
      );
      expect(rows).toHaveLength(3);
      expect(rows.every((row) => row.answer.length > 0 && row.rowmill_model.length > 0)).toBe(true);
    });

    it("of flushed rows come at once; rows that arrive after a flush wait again", async () => {
      project = await startProject(kind);
      await createNotes(project, plain(3));
      const worker = await project.worker({ notes: pipeline(notesPipelineSpec) });
      await requestFlush(project.database, [...worker.pipelines.keys()][0] ?? 0);
      await project.round(worker, { flush: false });
      expect((await batchRows(project)).map((batch) => batch.requests)).toEqual([3]);
      await project.round(worker, { flush: false });
      await insertNotes(project, plain(2, "later"));
      await project.round(worker, { flush: false });
      expect(await batchRows(project)).toHaveLength(1);
      await project.drain(worker);
    });

    it("come for later rows too, once the deadline or the threshold is reached, and not before", async () => {
      project = await startProject(kind);
      await createNotes(project, []);
      const notes = pipeline({ ...notesPipelineSpec, when: { rows: 4, maxWait: "1h" } });
      const worker = await project.worker({ notes });
      await insertNotes(project, plain(3));
      await project.round(worker, { flush: false });
      expect(await batchRows(project)).toEqual([]);
      await insertNotes(project, plain(1, "fourth"));
      await project.round(worker, { flush: false });
      expect((await batchRows(project)).map((batch) => batch.requests)).toEqual([4]);
      await insertNotes(project, plain(2, "later"));
      await project.round(worker, { flush: false });
      expect(await batchRows(project)).toHaveLength(1);
      await project.run(sql`update rowmill.queue set since = now() - interval '61 minutes'`);
      await project.round(worker, { flush: false });
      expect((await batchRows(project)).map((batch) => batch.requests)).toEqual([4, 2]);
      await project.drain(worker);
    });
  },
  bookKeepers,
);

const notesPipelineSpec = {
  source: { table: "notes", key: "id", columns: ["body"] },
  ...quick,
  request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
  answer: z.object({ summary: z.string() }),
  target: { table: "note_summaries" },
} as const;
