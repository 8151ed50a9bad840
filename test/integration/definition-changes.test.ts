/**
 * Answers to a definition that changed while its batch was in flight count as if the batch had settled before the
 * change.
 */
import { afterEach, expect, it } from "vitest";
import { adoptBatch, prepareAdoption } from "../../src/app/adopt/adopt-batch.js";
import { sweepAll } from "../../src/app/open/round.js";
import { pipeline, z } from "../../src/index.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, outcomes, plain, requests } from "../support/notes.js";
import { approve } from "../../src/worker/rounds/approval.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { createTutorialBatch } from "../support/tutorial-batch.js";
import type { WorkerContext } from "../../src/worker/context.js";

const ROWS = 5;
const source = { table: "notes", key: "id", columns: ["body"] } as const;
const request = { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" };
const target = { table: "note_answers", addColumns: true };
const first = z.object({ summary: z.string(), mood: z.string().optional() });
const polite = { ...request, system: "Please." };

/** Never approved by itself. */
const common = { source, onChange: "reask" as const, ...quick, request, answer: first, target, approveAboveUsd: 0 };

describeDatabases(
  "Answers to an older definition",
  (kind) => {
    let project: TestProject;
    let hold: boolean;
    let lose = false;
    afterEach(async () => {
      await project.check().finally(() => project.close());
    });

    /** A batch is at the provider. */
    async function send(notes = pipeline(common), bodies = plain(ROWS)): Promise<void> {
      hold = true;
      // As many lines as the provider counts, and none about our requests.
      const transformOutput = () => (lose ? [`{"custom_id":"somebody-else","response":null}`] : undefined);
      project = await startProject(kind, { gateway: { faults: { hold: () => hold, transformOutput } } });
      await createNotes(project, bodies);
      await project.round(await project.worker({ notes }));
    }

    async function collect(notes: ReturnType<typeof pipeline>): Promise<WorkerContext> {
      const worker = await project.worker({ notes }, { approve: false });
      hold = false;
      project.gateway.release();
      await project.drain(worker);
      return worker;
    }

    async function approveAndDrain(worker: WorkerContext): Promise<void> {
      for (const bound of worker.pipelines.values()) await approve(worker, bound, "the test");
      await project.drain(worker);
    }

    const executed = async () => (await project.gateway.journal.summary()).executed;
    const states = async () => (await requests(project)).map(({ state }) => state);
    const answers = () => project.rows<Record<string, unknown>>(sql`select * from public.note_answers order by id`);
    const kept = () =>
      project.rows<{ outcome: string; detail: string; answer: string | null }>(
        sql`select outcome, detail, answer from rowmill.attempts order by request_id`,
      );
    const times = <T>(value: T) => Array.from({ length: ROWS }, () => value);

    it("are accepted before the new one is approved; then its rows are sent again, once", async () => {
      await send();
      const worker = await collect(pipeline({ ...common, request: polite }));
      expect(await outcomes(project)).toEqual({ answered: ROWS });
      expect((await answers()).map(({ summary }) => typeof summary)).toEqual(times("string"));
      expect(await states()).toEqual(times("waiting"));
      expect(await executed()).toBe(ROWS);
      await approveAndDrain(worker);
      expect(await states()).toEqual(times("succeeded"));
      expect(await executed()).toBe(2 * ROWS);
    });

    it("that were cut off are sent again where the new one gives them more room", async () => {
      const short = pipeline({ ...common, attempts: 1 });
      await send(
        short,
        plain(ROWS).map((body) => `[[demo:truncate]] ${body}`),
      );
      await collect(pipeline({ ...common, attempts: 1, request: { ...request, maxOutputTokens: 1_000 } }));
      expect(await outcomes(project)).toEqual({ cutShort: ROWS });
      expect(await states()).toEqual(times("waiting"));
    });

    it("are collected by no worker whose definition is replaced while it collects", async () => {
      await send();
      const old = await project.worker({ notes: pipeline(common) });
      hold = false;
      project.gateway.release();
      const newer: WorkerContext[] = [];
      const slow: WorkerContext = {
        ...old,
        step: async (name, work) => {
          if (name === "collect.chunk" && newer.length === 0) {
            const worker = await project.worker({ notes: pipeline({ ...common, request: polite }) });
            newer.push(worker);
            await sweepAll(worker, new AbortController().signal);
          }
          return old.step(name, work);
        },
      };
      for (let round = 0; round < 40 && newer.length === 0; round++) {
        await project.run(sql`update rowmill.batches set next_at = now()`);
        await project.round(slow);
      }
      expect(await outcomes(project)).toEqual({});
      await project.run(
        sql`
          update rowmill.batches
          set lease_token = null, lease_until = null, next_at = now()
          where settled_at is null`,
      );
      await project.drain(...newer);
      expect(await states()).toEqual(times("succeeded"));
      expect(await executed()).toBe(2 * ROWS);
    });

    it("wait for the new one where a superseded worker hears that their lines were refused", async () => {
      await send(pipeline(common), [...plain(1), "[[demo:bad-line]] This one."]);
      const old = await project.worker({ notes: pipeline(common) });
      const newer = await project.worker({ notes: pipeline({ ...common, request: polite }) }, { approve: false });
      await sweepAll(newer, new AbortController().signal);
      hold = false;
      project.gateway.release();
      for (let round = 0; round < 40 && (await outcomes(project))["permanent"] !== 1; round++) {
        await project.run(sql`update rowmill.batches set next_at = now() where settled_at is null`);
        await project.round(old);
      }
      expect(await states()).toEqual(["waiting", "waiting"]);
    });

    it("stand where the definition comes back before they are sent again", async () => {
      await send();
      await collect(pipeline({ ...common, request: polite }));
      await approveAndDrain(await project.worker({ notes: pipeline(common) }));
      expect(await states()).toEqual(times("succeeded"));
      expect(await executed()).toBe(ROWS);
    });

    it("are sent again only where the request differs", async () => {
      await send();
      const user = (row: { body: string | null }) =>
        row.body?.includes("number 2,") ? `${row.body} Please.` : row.body;
      const worker = await collect(pipeline({ ...common, request: { ...request, user } }));
      expect(await states()).toEqual(["succeeded", "waiting", "succeeded", "succeeded", "succeeded"]);
      await approveAndDrain(worker);
      expect(await executed()).toBe(ROWS + 1);
    });

    it("are judged by the schema that asked, which the new one does not take", async () => {
      await send();
      const answer = z.object({ summary: z.int(), words: z.array(z.string()) });
      const columns = { summary: "length" };
      await collect(pipeline({ ...common, answer, target: { ...target, columns } }));
      expect(await outcomes(project)).toEqual({ unwritable: ROWS });
      // The field now goes into a column of integers, which holds no text.
      expect((await kept())[0]?.detail).toMatch(/note_answers"\."length" is of type bigint/);
      expect(JSON.parse((await kept())[0]?.answer ?? "")).toMatchObject({ summary: expect.any(String) });
    });

    it("are written where a field was added, and into the column of one that was dropped", async () => {
      await send();
      const answer = z.object({ words: z.array(z.string()) });
      await collect(pipeline({ ...common, answer }));
      expect(await outcomes(project)).toEqual({ answered: ROWS });
      expect((await answers())[0]).toMatchObject({ summary: expect.any(String), words: null });
    });

    it("are kept in the ledger where the target lost a column, and their rows are sent again", async () => {
      await send();
      await project.run(sql`alter table public.note_answers drop column mood`);
      const worker = await collect(pipeline({ ...common, answer: z.object({ summary: z.string() }) }));
      expect(await answers()).toEqual([]);
      for (const { outcome, detail, answer } of await kept()) {
        expect({ outcome, detail }).toEqual({
          outcome: "unwritable",
          detail: expect.stringContaining('has no column "mood"'),
        });
        expect(Object.keys(JSON.parse(answer ?? "") as object)).toEqual(["summary", "mood"]);
      }
      expect(await states()).toEqual(times("waiting"));
      await approveAndDrain(worker);
      expect(await states()).toEqual(times("succeeded"));
    });

    it("go into the column that the config names for their field now", async () => {
      await send();
      await project.run(sql`alter table public.note_answers rename column summary to short`);
      const columns = { summary: "short" };
      await collect(pipeline({ ...common, request: polite, target: { ...target, columns } }));
      expect((await answers())[0]).toMatchObject({ short: expect.any(String) });
    });

    it("are judged by their own definition when it changed twice", async () => {
      await send();
      await project.round(await project.worker({ notes: pipeline({ ...common, request: polite }) }));
      const worker = await collect(pipeline({ ...common, answer: z.object({ words: z.string() }) }));
      expect(await outcomes(project)).toEqual({ answered: ROWS });
      await approveAndDrain(worker);
      expect(await executed()).toBe(2 * ROWS);
    });

    it("answer the row as it was asked, although other columns are declared by now", async () => {
      await send();
      await project.run(sql`alter table public.notes add column title text`);
      await project.run(sql`update public.notes set body = 'Another one.' where id = 2`);
      const worker = await collect(
        pipeline({
          ...common,
          source: { ...source, columns: ["title", "body"] },
          request: { ...request, user: "{{ title }}: {{ body }}" },
        }),
      );
      expect(await outcomes(project)).toEqual({ answered: ROWS - 1, stale: 1 });
      expect((await answers()).map(({ id }) => id)).toEqual([1, 3, 4, 5]);
      expect(await states()).toEqual(times("waiting"));
      await approveAndDrain(worker);
      expect(await states()).toEqual(times("succeeded"));
    });

    it("that are invalid count as tries of the definition that asked", async () => {
      await send(pipeline({ ...common, attempts: 1 }), ["[[demo:invalid-once]] first", ...plain(1)]);
      const worker = await collect(pipeline({ ...common, attempts: 3, request: polite }));
      const endings = sql`select ending, outcome from rowmill.attempts order by request_id`;
      expect(await project.rows(endings)).toEqual([
        { ending: "failed", outcome: "invalid" },
        { ending: "succeeded", outcome: "answered" },
      ]);
      // A failed row is sent again by the new definition too.
      expect(await states()).toEqual(["waiting", "waiting"]);
      await approveAndDrain(worker);
      expect(await states()).toEqual(["succeeded", "succeeded"]);
    });

    it("that the provider lost for the last time fail under no definition that never asked", async () => {
      await send();
      await project.run(sql`update rowmill.requests set returns = 9`);
      lose = true;
      const worker = await collect(pipeline({ ...common, request: polite }));
      expect(await outcomes(project)).toEqual({ missing: ROWS });
      expect(await states()).toEqual(times("waiting"));
      lose = false;
      await approveAndDrain(worker);
      expect(await states()).toEqual(times("succeeded"));
    });

    it("are checked by the validate of the present config", async () => {
      await send();
      await collect(
        pipeline({
          ...common,
          request: polite,
          validate: (_, row) => (row.body?.includes("number 3,") ? "no threes" : null),
        }),
      );
      expect(await outcomes(project)).toEqual({ answered: ROWS - 1, invalid: 1 });
    });

    it("go into the rows of the source itself, which are sent again under the new one", async () => {
      const own = { ...common, target: { ...target, table: "notes" } };
      await send(pipeline(own));
      const worker = await collect(pipeline({ ...own, request: polite }));
      const labelled = sql`select count(summary)::int as labelled from public.notes`;
      expect(await project.rows(labelled)).toEqual([{ labelled: ROWS }]);
      expect(await states()).toEqual(times("waiting"));
      await approveAndDrain(worker);
      expect(await executed()).toBe(2 * ROWS);
    });

    it("of a batch that was adopted count for the definition that adopted it", async () => {
      hold = true;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(ROWS));
      const adopting = z.object({ categories: z.array(z.string()), summary: z.string() });
      const worker = await project.worker({ notes: pipeline({ ...common, answer: adopting }) });
      const { signal } = new AbortController();
      await sweepAll(worker, signal);
      const lines = plain(ROWS).map((text, index) => ({ customId: `task-${index + 1}`, text }));
      const { batchId } = await createTutorialBatch(project.gateway.url, lines);
      const [bound] = worker.pipelines.values();
      if (bound === undefined) throw new Error("There is no pipeline.");
      const adoption = await prepareAdoption(worker, bound, { batchId, pattern: "task-{id}", signal });
      await adoptBatch(worker, bound, adoption);
      await collect(pipeline({ ...common, answer: z.object({ words: z.string() }) }));
      expect(await outcomes(project)).toEqual({ answered: ROWS });
      expect((await answers())[0]).toMatchObject({ categories: expect.any(Array) });
    });

    it("are read by the strict schema where a previous version of Rowmill registered it", async () => {
      await send();
      await project.run(sql`update rowmill.definitions d set answer_schema = (p.definition ->> 'answer')::json,
        definition = d.definition - 'target' - 'attempts' from rowmill.pipelines p`);
      await collect(pipeline({ ...common, answer: z.object({ words: z.string() }) }));
      expect(await outcomes(project)).toEqual({ answered: ROWS });
    });

    it("are not used where it is unknown what was asked, and their text is kept", async () => {
      await send();
      await project.run(sql`delete from rowmill.definitions`);
      await collect(pipeline({ ...common, request: polite }));
      expect(await outcomes(project)).toEqual({ stale: ROWS });
      expect((await kept()).map(({ answer }) => typeof answer)).toEqual(times("string"));
    });

    it("leave no secret and no function in the ledger", async () => {
      await send(pipeline({ ...common, request: { ...request, user: (row) => `${row.body} (hidden)` } }));
      const [row] = await project.rows<{ text: string }>(sql`select d::text as text from rowmill.definitions d`);
      expect(row?.text).toContain("gpt-4o-mini");
      expect(row?.text).not.toMatch(/hidden|sk-/);
    });
  },
  bookKeepers,
);
