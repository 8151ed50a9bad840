/** What `rowmill plan` finds in real databases: exact where it can be, and nothing is touched. */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, it } from "vitest";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { serverKind, unlessServer } from "../support/cli.js";
import { pipeline, z } from "../../src/index.js";
import * as planned from "../../src/store/requests/planned-rows.js";
import { createNotes, insertNotes, notesPipeline, plain } from "../support/notes.js";
import { askingOf, everythingIn, planHere } from "../support/plan-here.js";
import { sql, startProject, type TestProject } from "../support/project.js";

const NOTHING = {
  fresh: 0,
  changed: 0,
  redefined: 0,
  again: 0,
  arrived: 0,
  heldByLimit: 0,
  answered: 0,
  failed: 0,
  inFlight: 0,
  skipped: 0,
  refused: 0,
  counted: null,
  reasons: null,
};

describeDatabases(
  "A plan",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind, { empty: true });
    });
    afterEach(() => project.close());

    it("counts the rows of the source before the first up, and makes nothing", async () => {
      await createNotes(project, plain(7));
      const before = await everythingIn(project.database);
      const plan = await planHere(project, { notes: notesPipeline() }, { requestsShown: 2 });
      expect(await everythingIn(project.database)).toBe(before);
      expect(plan).toMatchObject({ ledger: "missing", findings: [], pipelines: [{ name: "notes", findings: [] }] });
      expect(plan.pipelines[0]?.setup).toMatchObject({
        target: { table: '"public"."note_summaries"', exists: false },
        triggers: ['"public"."notes"'],
      });
      expect(askingOf(plan)).toMatchObject({
        definition: { state: "new", compared: null, asksAgain: 0 },
        rows: { ...NOTHING, send: 7, fresh: 7, counted: "exactly" },
        packing: { batches: 1, requests: 7, requestsEach: 7, decidedBy: "rows", later: null },
        start: { kind: "waits", rows: 1_000, waitMs: 600_000 },
        estimate: { rows: 7, arrived: 0, tries: 3, answersCounted: 0 },
        budget: null,
        approval: { state: "notNeeded", aboveUsd: 1 },
        pause: null,
        requests: [
          { key: "1", model: "gpt-4o-mini", maxOutputTokens: 100, system: null, user: plain(1)[0] },
          { key: "2", user: plain(2)[1] },
        ],
      });
    });

    it("counts what tries spent before the first up, in the budget's period", async () => {
      await createNotes(project, plain(3));
      await project.worker({ others: notesPipeline() });
      await project.run(sql`
        insert into rowmill.tries (pipeline, definition_hash, prompt, provider, account, model, endpoint, rows,
          asked_at)
        select 'notes', 'x', 'x', 'openai', 'x', 'gpt-4o-mini', 'x', 1, now() - make_interval(days => i)
        from unnest(array[0, 90]) i`);
      await project.run(sql`
        insert into rowmill.try_answers (try, place, key, content_hash, room, cost_nano_usd, reserved_nano_usd,
          asked_at)
        select no, 0, '1', 'x', 1, case when asked_at > now() - interval '1 day' then 2000000 end,
          case when asked_at > now() - interval '1 day' then 0 else 5000000 end, asked_at
        from rowmill.tries`);
      const spent = async (per: "day" | "total" | "run") => {
        const budget = { usd: 0.01, per };
        return askingOf(await planHere(project, { notes: notesPipeline({ budget }) })).budget;
      };
      expect(await spent("day")).toMatchObject({ spentNanoUsd: 2_000_000, reservedNanoUsd: 0, leftNanoUsd: 8_000_000 });
      expect(await spent("total")).toMatchObject({ spentNanoUsd: 7_000_000, leftNanoUsd: 3_000_000 });
      expect(await spent("run")).toMatchObject({ spentNanoUsd: 0 });
    });

    it("tells new, changed and answered rows apart while changes arrive, as the next round then sends them", async () => {
      await createNotes(project, plain(10));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.drain(worker);
      expect(askingOf(await planHere(project, { notes: notesPipeline() }))).toMatchObject({
        definition: { state: "unchanged", compared: null },
        rows: { ...NOTHING, send: 0, answered: 10 },
        start: { kind: "nothing" },
        approval: { state: "given" },
      });
      await project.run(sql`update public.notes set body = 'Another ' || body where id <= 3`);
      await insertNotes(project, plain(2, "more"));
      const before = await everythingIn(project.database);
      const arriving = askingOf(await planHere(project, { notes: notesPipeline() }));
      expect(await everythingIn(project.database)).toBe(before);
      expect(arriving.rows).toEqual({ ...NOTHING, send: 5, arrived: 5, answered: 10 });
      await project.round(worker, { flush: false });
      const { rows, estimate } = askingOf(await planHere(project, { notes: notesPipeline() }));
      expect(rows).toEqual({ ...NOTHING, send: 5, fresh: 2, changed: 3, answered: 7 });
      expect(estimate).toMatchObject({ rows: 5, answersCounted: 10 });
      await project.drain(worker);
      expect(await project.rows(sql`select count(*)::int as n from rowmill.attempts`)).toEqual([{ n: 15 }]);
      await project.check();
    });

    it("counts answered rows as such where onChange, or your decision, says that they keep their answers", async () => {
      await createNotes(project, plain(5));
      await project.drain(await project.worker({ notes: notesPipeline() }));
      const user = "Now: {{ body }}";
      const kept = { definition: { asksAgain: 0 }, rows: { ...NOTHING, send: 0, answered: 5 } };
      const newOnly = { notes: notesPipeline({ user, onChange: "newOnly" }) };
      const planned = askingOf(await planHere(project, newOnly, { requestsShown: 3 }));
      expect(planned).toMatchObject({ ...kept, requests: [] });
      await project.worker(newOnly);
      const undone = { notes: notesPipeline({ user, onChange: "ask" }) };
      expect(askingOf(await planHere(project, undone)), "it was decided for this definition").toMatchObject(kept);
      await insertNotes(project, ["One more."]);
      const more = askingOf(await planHere(project, undone));
      expect(more.rows).toEqual({ ...NOTHING, send: 1, arrived: 1, answered: 5 });
    });

    it("shows and measures no answered row that keeps its answer, only the failed ones that go out", async () => {
      await createNotes(project, ["A heist.", "A heist.", "A heist.", "[[demo:invalid]] one", "[[demo:invalid]] two"]);
      await project.drain(await project.worker({ notes: notesPipeline({ attempts: 1 }) }));
      const edited = { notes: notesPipeline({ attempts: 1, user: "Now: {{ body }}", onChange: "newOnly" }) };
      const asking = askingOf(await planHere(project, edited, { requestsShown: 5 }));
      expect(asking).toMatchObject({ rows: { send: 2 }, measured: { read: 2, of: 2 }, repeated: null });
      expect(asking.requests.map(({ key }) => key).toSorted()).toEqual(["4", "5"]);
    });

    it("compares an edited definition row by row beside a worker that has the old one", async () => {
      await createNotes(project, [...plain(6), "", "fine"]);
      const worker = await project.worker({ notes: notesPipeline() });
      await project.drain(worker);
      const edited = { notes: notesPipeline({ user: "{% if body contains 'number 2' %}Now: {% endif %}{{ body }}" }) };
      const before = await everythingIn(project.database);
      const one = askingOf(await planHere(project, edited, { requestsShown: 3 }));
      expect(await everythingIn(project.database)).toBe(before);
      expect(one).toMatchObject({
        definition: { state: "changed", compared: { read: 8, of: 8 }, asksAgain: 1 },
        rows: { ...NOTHING, send: 1, redefined: 1, answered: 6, failed: 1 },
        approval: { state: "notNeeded" },
        requests: [{ key: "2", user: "Now: This is note number 2, plain and short." }],
      });
      const all = { notes: notesPipeline({ user: "Now: {{ body }}" }) };
      const edit = askingOf(await planHere(project, all));
      // An empty row still has no message, so it stays failed.
      expect(edit.definition).toMatchObject({ asksAgain: 7 });
      expect(edit.rows).toEqual({ ...NOTHING, send: 7, redefined: 7, failed: 1 });
      expect(edit.definition.likelyNanoUsd).toBe(edit.estimate.likelyNanoUsd);
      const kept = askingOf(
        await planHere(project, { notes: notesPipeline({ user: "Now: {{ body }}", onChange: "newOnly" }) }),
      );
      expect(kept.rows).toEqual({ ...NOTHING, send: 0, answered: 7, failed: 1 });
      expect(kept.definition).toMatchObject({ decision: "newOnly", asksAgain: 0, keepsAnswer: 7, inFlight: null });

      const next = await project.worker(all);
      await project.round(next, { flush: false });
      const swept = askingOf(await planHere(project, all));
      expect(swept).toMatchObject({ definition: { state: "unchanged", compared: null, asksAgain: 0 } });
      expect(swept.rows).toEqual({ ...NOTHING, send: 7, redefined: 7, failed: 1 });
      const back = askingOf(await planHere(project, { notes: notesPipeline() }));
      expect(back.rows).toEqual({ ...NOTHING, send: 0, answered: 7, failed: 1 });
      await project.check();
    });

    it("samples the records where there are more than it reads", async () => {
      await createNotes(project, plain(40));
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker, { flush: false });
      const [pipelineId = 0] = worker.pipelines.keys();
      const waiting = await planned.waitingReasons(project.database, pipelineId, { waiting: 40, max: 40 });
      expect(waiting).toEqual({ read: 40, fresh: 40, changed: 0, redefined: 0, again: 0 });
      const some = await planned.waitingReasons(project.database, pipelineId, { waiting: 40_000, max: 10 });
      expect(some.fresh).toBe(some.read);
      expect(some.read).toBeLessThan(20);
      await project.drain(worker);
      const all = await planned.askedRequests(project.database, pipelineId, { asked: 40, max: 40 });
      expect(new Set(all.map(({ key }) => key)).size).toBe(40);
      const few = await planned.askedRequests(project.database, pipelineId, { asked: 12, max: 10 });
      expect(few).toHaveLength(10);
      expect(all.map(({ fingerprint }) => fingerprint)).toEqual(
        expect.arrayContaining(few.map(({ fingerprint }) => fingerprint)),
      );
    });

    it("respects limit, existing rows, and a budget that is nearly spent", async () => {
      await createNotes(project, plain(9));
      const of = (more: object) =>
        pipeline({
          source: { table: "notes", key: "id", columns: ["body"], ...more },
          request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
          answer: z.object({ summary: z.string() }),
          target: { table: "note_summaries" },
          limit: 4,
          batch: { maxRequests: 3 },
          budget: { usd: 0.000_05, per: "total" },
        });
      const plan = askingOf(await planHere(project, { notes: of({}) }));
      expect(plan).toMatchObject({
        rows: { send: 4, fresh: 4, heldByLimit: 5 },
        packing: { batches: 1, requests: 1, decidedBy: "budget", later: { requests: 3, because: "noMoney" } },
        budget: { usd: 0.000_05, per: "total", spentNanoUsd: 0, leftNanoUsd: 50_000, stops: true },
      });
      const skipping = askingOf(await planHere(project, { notes: of({ existing: "skip" }) }));
      expect(skipping.rows).toMatchObject({ send: 0, fresh: 0, skipped: 9 });
    });

    it("names rows that cannot be asked, with an example, and rows without a key", async () => {
      await createNotes(project, [...plain(3), "boom", ""]);
      await project.run(sql`create table public.loose (id int unique, body text)`);
      await project.run(sql`insert into public.loose values (1, 'one'), (null, 'two'), (null, 'three')`);
      const notes = pipeline({
        source: { table: "notes", key: "id", columns: ["body"] },
        request: {
          model: "gpt-4o-mini",
          user: (row) => {
            if (row.body === "boom") throw new Error("no boom");
            return row.body === "" ? null : row.body;
          },
        },
        target: { table: "note_texts" },
      });
      const loose = pipeline({
        source: { table: "loose", key: "id", columns: ["body"] },
        request: { model: "gpt-4o-mini", user: "{{ body }}" },
        target: { table: "loose_texts" },
      });
      const { pipelines } = await planHere(project, { notes, loose });
      expect(pipelines.map(({ findings }) => findings.map(({ level, text }) => `${level}: ${text}`))).toEqual([
        [
          "warning: 1 of 5 rows cannot be sent (unrenderable), such as row 4: request.user failed: no boom",
          "warning: 1 of 5 rows cannot be sent (empty), such as row 5: There is nothing to ask: its message is empty.",
        ],
        ["warning: 2 rows have no key and cannot be sent: a key column is null, so the row has no key."],
      ]);
    });

    it("collects every fault of the target, and plans the rows all the same", async () => {
      await createNotes(project, plain(2));
      await project.run(sql`create table public.note_summaries (id text, summary int not null, extra int not null)`);
      const plan = await planHere(project, { notes: notesPipeline() });
      expect(askingOf(plan).rows.send).toBe(2);
      expect(plan.pipelines[0]?.findings.length).toBeGreaterThan(2);
      expect(
        plan.pipelines[0]?.findings.every(({ level, fixes, sql: statements }) =>
          level === "problem" ? fixes.length + statements.length > 0 : true,
        ),
      ).toBe(true);
    });
  },
  bookKeepers,
);

it.skipIf(serverKind === "embedded")(
  `A user who may only read gets a plan with the grants that up needs, before and after the first up${unlessServer}`,
  async () => {
    const project = await startProject(serverKind, { empty: true });
    const role = `reader_${randomBytes(4).toString("hex")}`;
    try {
      await createNotes(project, plain(3));
      await project.database.pool.query(
        `create role ${role} login password 'secret';
         alter role ${role} set default_transaction_read_only = on`,
      );
      const url = new URL(project.url);
      url.username = role;
      url.password = "secret";
      const reading = { url: url.href };
      const blind = await planHere(project, { notes: notesPipeline() }, reading);
      expect(blind.pipelines[0]).toMatchObject({
        asking: null,
        findings: [
          { text: `The user "${role}" may not read or create triggers on "public"."notes".` },
          { text: `The user "${role}" may not create "public"."note_summaries".` },
        ],
      });

      await project.database.pool.query(`grant select on public.notes to ${role}`);
      const before = await planHere(project, { notes: notesPipeline() }, reading);
      expect(askingOf(before).rows).toMatchObject({ send: 3, fresh: 3 });
      expect(before.findings.map(({ text }) => text)).toEqual([
        `The user "${role}" may not create the schemas rowmill and rowmill_worker.`,
        expect.stringContaining(`The user "${role}" may not`),
      ]);
      expect(before.pipelines[0]?.findings.flatMap(({ sql: statements }) => statements)).toEqual([
        `grant trigger on "public"."notes" to "${role}";`,
        `grant usage, create on schema "public" to "${role}";`,
      ]);

      const worker = await project.worker({ notes: notesPipeline() });
      await project.drain(worker);
      await project.database.pool.query(`grant usage on schema rowmill to ${role};
        grant select on all tables in schema rowmill to ${role}`);
      const foreign = await planHere(project, { notes: notesPipeline() }, reading);
      expect(foreign.ledger).toBe("foreign");
      expect(foreign.findings[0]?.text).toContain("So Rowmill's records were not read: all rows count as new.");
      expect(askingOf(foreign)).toMatchObject({ definition: { state: "unknown" }, rows: { send: 3 } });

      const owner = new URL(project.url).username;
      await project.database.pool.query(`grant ${owner} to ${role}`);
      const member = await planHere(project, { notes: notesPipeline({ user: "Now: {{ body }}" }) }, reading);
      expect(askingOf(member)).toMatchObject({ definition: { state: "changed", asksAgain: 3 }, rows: { send: 3 } });
      await project.check();
    } finally {
      await project.database.pool.query(`drop owned by ${role}; drop role ${role}`);
      await project.close();
    }
  },
);

it.skipIf(serverKind === "embedded")(
  `A table that another session has locked is named, and not waited for${unlessServer}`,
  async () => {
    const project = await startProject(serverKind, { empty: true });
    try {
      await createNotes(project, plain(3));
      const plan = await project.database.transaction(async (tx) => {
        await tx.run(sql`lock table public.notes in access exclusive mode`);
        return planHere(project, { notes: notesPipeline() });
      });
      expect(plan.pipelines).toMatchObject([
        { name: "notes", asking: null, findings: [{ level: "problem", text: expect.stringContaining("lock") }] },
      ]);
    } finally {
      await project.close();
    }
  },
);
