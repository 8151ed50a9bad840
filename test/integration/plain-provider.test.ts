/**
 * The engine on the second shape of a provider: the input goes with the create, and a create whose reply was lost is
 * found by circumstance alone. Every row is answered once, and nothing is asked twice but where the promise says so.
 */
import { afterEach, expect, test } from "vitest";
import { pipeline, z } from "../../src/index.js";
import { ProviderError, type Provider } from "../../src/model/provider/provider.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { describeDatabases, bookKeepers } from "../support/databases.js";
import { batchRows, createNotes, insertNotes, plain } from "../support/notes.js";
import {
  passPauses,
  untilCreated,
  plainNotes,
  startPlainProject,
  type PlainProject,
} from "../support/plain-project.js";
import type { PlainStandInOptions } from "../support/plain-stand-in.js";
import { quick } from "../support/movies.js";
import { sql } from "../support/project.js";

/** More than any of these scenes takes. */
const ROUNDS_MAX = 40;

describeDatabases(
  "A provider that shows nothing of ours",
  (kind) => {
    let at: PlainProject;

    afterEach(async () => {
      await at.project.check();
      await at.close();
    });

    async function start(rows: number, options: PlainStandInOptions = {}): Promise<void> {
      at = await startPlainProject(kind, options);
      await createNotes(at.project, plain(rows));
    }

    async function expectAllAnsweredOnce(rows: number): Promise<void> {
      expect(await at.accounts()).toEqual({
        states: { succeeded: rows },
        askedTwice: 0,
        executed: rows,
        missing: 0,
      });
    }

    async function pauses(): Promise<(string | null)[]> {
      const rows = await at.project.rows<{ reason: string | null }>(
        sql`select pause_reason as reason from rowmill.pipelines where paused_at is not null`,
      );
      return rows.map(({ reason }) => reason);
    }

    const resume = () =>
      at.project.run(sql`update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`);

    test("answers every row once by one create", async () => {
      await start(7);
      await at.project.drain(await at.worker());
      await expectAllAnsweredOnce(7);
      expect(at.standIn.calls.get("create")).toBe(1);
      expect(await batchRows(at.project)).toMatchObject([{ state: "settled", requests: 7, creates: 1 }]);
    });

    test("finds the one create whose reply was lost after its effect", async () => {
      await start(5, { faults: [{ call: "create", at: "after", fault: { kind: "drop" } }] });
      await at.project.drain(await at.worker());
      await expectAllAnsweredOnce(5);
      expect(at.standIn.calls.get("create")).toBe(1);
    });

    test("repeats a create that had no effect, where no other client uses the account", async () => {
      await start(5, { faults: [{ call: "create", at: "before", fault: { kind: "drop" } }] });
      await at.project.drain(await at.worker({ provider: { exclusive: true } }));
      await expectAllAnsweredOnce(5);
      expect(at.standIn.calls.get("create")).toBe(2);
    });

    test("asks you before it repeats a create in an account that others may use", async () => {
      await start(5, { faults: [{ call: "create", at: "before", fault: { kind: "drop" } }] });
      const worker = await at.worker();
      await drainPast(worker);
      expect(await pauses()).toEqual([expect.stringContaining("was lost")]);
      expect(at.standIn.calls.get("create")).toBe(1);
      await resume();
      await at.project.drain(worker);
      await expectAllAnsweredOnce(5);
      expect(at.standIn.calls.get("create")).toBe(2);
    });

    test("leaves another client's batch of as many requests alone, and takes its own", async () => {
      await start(5, { faults: [{ call: "create", at: "after", fault: { kind: "drop" } }] });
      const worker = await at.worker();
      // Made between the baseline and the end of the window: at once after ours.
      await untilCreated(at, worker);
      const foreign = at.standIn.createForeign(5);
      await at.project.drain(worker);
      await expectAllAnsweredOnce(5);
      expect(foreign).toMatchObject({ state: "finished", stopAskedAtMs: null, isDeleted: false });
    });

    test("refutes another client's batch by its results when its own was never made", async () => {
      await start(5, { faults: [{ call: "create", at: "before", fault: { kind: "drop" } }] });
      const worker = await at.worker();
      await untilCreated(at, worker);
      const foreign = at.standIn.createForeign(5);
      await drainPast(worker);
      expect(await pauses()).toHaveLength(1);
      await resume();
      await at.project.drain(worker);
      await expectAllAnsweredOnce(5);
      expect(foreign).toMatchObject({ state: "finished", stopAskedAtMs: null, isDeleted: false });
      expect(foreign.counts).toMatchObject({ good: 5 });
    });

    test("takes its own create that takes effect late, within the time that it may take", async () => {
      let arrive = (): void => undefined;
      const after = new Promise<void>((resolve) => (arrive = resolve));
      await start(5, { faults: [{ call: "create", at: "before", fault: { kind: "late", after } }] });
      const worker = await at.worker({
        pipelines: (provider) => ({ notes: plainNotes({ provider, reconcileWindow: "2m" }) }),
      });
      await untilCreated(at, worker);
      await at.project.round(worker);
      expect(at.standIn.batches.all).toEqual([]);
      arrive();
      for (let minutes = 0; minutes < 3; minutes += 1) await passPauses(at);
      await at.project.drain(worker);
      await expectAllAnsweredOnce(5);
      expect(at.standIn.calls.get("create")).toBe(1);
    });

    test("keeps the creates of two pipelines apart that have as many rows, by making one at a time", async () => {
      await start(4, { faults: [{ call: "create", at: "after", fault: { kind: "drop" }, times: 2 }] });
      await at.project.run(
        sql`create table public.others (id int primary key generated always as identity, body text)`,
      );
      await at.project.run(
        sql`insert into public.others (body) select 'Other text ' || n from generate_series(1, 4) n`,
      );
      const others = (provider: Provider) =>
        pipeline({
          ...quick,
          provider,
          source: { table: "others", key: "id", columns: ["body"] },
          request: { model: "plain-small", maxOutputTokens: 100, user: "{{ body }}" },
          answer: z.object({ summary: z.string() }),
          target: { table: "other_summaries" },
          reconcile: { window: "500ms" },
        });
      const pipelines = (provider: Provider) => ({
        notes: plainNotes({ provider }),
        others: others(provider),
      });
      await at.project.drain(await at.worker({ pipelines }));
      const [row] = await at.project.rows<{ answered: number }>(
        sql`select count(*)::int as answered from public.other_summaries where summary is not null`,
      );
      expect(row?.answered).toBe(4);
      expect(await at.accounts()).toEqual({
        states: { succeeded: 8 },
        askedTwice: 0,
        executed: 8,
        missing: 0,
      });
      expect(at.standIn.batches.all).toHaveLength(2);
    });

    test("gives two workers one create between them", async () => {
      await start(6, { faults: [{ call: "create", at: "after", fault: { kind: "drop" } }] });
      await at.project.drain(await at.worker(), await at.worker());
      await insertNotes(at.project, plain(3, "later"));
      await at.project.drain(await at.worker(), await at.worker());
      await expectAllAnsweredOnce(9);
    });

    test("asks you before it sends rows again whose results are gone", async () => {
      const gone = { kind: "reply", status: 410 } as const;
      await start(3, { faults: [{ call: "results", at: "before", fault: gone, times: 3 }] });
      const worker = await at.worker();
      await drainPast(worker);
      expect(await pauses()).toEqual([expect.stringContaining("results of plain_")]);
      expect(at.standIn.executions).toHaveLength(3);
      at.standIn.faults.add({ call: "results", at: "before", fault: gone });
      await resume();
      await at.project.drain(worker);
      // Paid again, as the person was told.
      expect(await at.accounts()).toEqual({
        states: { succeeded: 3 },
        askedTwice: 3,
        executed: 6,
        missing: 0,
      });
    });

    test("reads results again that were cut or stalled, and ends each row once", async () => {
      await start(8, {
        faults: [
          { call: "results", at: "after", fault: { kind: "cut", afterBytes: 500 }, times: 2 },
          { call: "results", at: "after", fault: { kind: "stall", afterBytes: 300 } },
        ],
      });
      await at.project.drain(await at.worker({ provider: { timeouts: { stallMs: 100 } } }));
      await expectAllAnsweredOnce(8);
    });

    test("ends the row alone that the create refuses, and sends the others", async () => {
      at = await startPlainProject(kind);
      await createNotes(at.project, [...plain(3), "[[demo:bad-line]] this one", ...plain(2, "text")]);
      await at.project.drain(await at.worker());
      expect(await at.accounts()).toEqual({
        states: { failed: 1, succeeded: 5 },
        askedTwice: 0,
        executed: 5,
        missing: 1,
      });
    });

    test("never cancels a batch that may be another's, however often it is looked for", async () => {
      await start(3, { faults: [{ call: "create", at: "after", fault: { kind: "drop" } }] });
      const worker = await at.worker();
      await untilCreated(at, worker);
      const foreign = [at.standIn.createForeign(3), at.standIn.createForeign(3)];
      await at.project.drain(worker);
      await at.project.run(sql`update rowmill.batches set submitted_at = submitted_at - interval '1 hour',
        planned_at = planned_at - interval '1 hour'`);
      await at.project.drain(worker);
      await expectAllAnsweredOnce(3);
      expect(at.standIn.calls.get("stop")).toBeUndefined();
      for (const batch of foreign) expect(batch.counts.good).toBe(3);
    });

    test("sends and collects although its words cannot be stored", async () => {
      await start(2);
      const odd = <Batch extends { statusText: string; refs: unknown }>(batch: Batch): Batch => ({
        ...batch,
        statusText: `${batch.statusText}\u0000\uD800`,
        refs: { ...(batch.refs as object), word: "\u0000" },
      });
      const pipelines = (provider: Provider) => ({
        notes: plainNotes({
          provider: {
            ...provider,
            create: async (...asked) => odd(await provider.create(...asked)),
            status: async (...asked) => odd(await provider.status(...asked)),
          },
        }),
      });
      await at.project.drain(await at.worker({ pipelines }));
      await expectAllAnsweredOnce(2);
    });

    test("asks you when every create is refused in words that cannot be stored", async () => {
      await start(2);
      const pipelines = (provider: Provider) => ({
        notes: plainNotes({
          provider: {
            ...provider,
            create: () =>
              Promise.reject(
                new ProviderError("refused", "no \u0000", { refusal: { about: "definition", limit: null } }),
              ),
          },
        }),
      });
      await drainPast(await at.worker({ pipelines }));
      expect(await pauses()).toEqual([expect.stringContaining("refuses every request")]);
    });

    test("waits at most a day for a provider that names no number", async () => {
      await start(2);
      const busy = () => new ProviderError("retryable", "busy", { retryAfterMs: NaN });
      let creates = 0;
      const pipelines = (provider: Provider) => ({
        notes: plainNotes({
          provider: {
            ...provider,
            create: (...asked) => ((creates += 1) > 1 ? provider.create(...asked) : Promise.reject(busy())),
          },
        }),
      });
      await at.project.drain(await at.worker({ pipelines }));
      await expectAllAnsweredOnce(2);
    });

    test("waits for room at the provider without counting a failure", async () => {
      await start(2, { openMax: 1 });
      const worker = await at.worker();
      await untilCreated(at, worker);
      const [batch] = await at.project.rows<{ failures: number; state: string }>(
        sql`select failures, state from rowmill.batches`,
      );
      expect(batch).toMatchObject({ failures: 0 });
      expect(at.standIn.batches.all).toEqual([]);
    });

    async function drainPast(worker: WorkerContext): Promise<void> {
      for (let rounds = 0; rounds < ROUNDS_MAX && (await pauses()).length === 0; rounds += 1) {
        await at.project.round(worker);
        await passPauses(at);
      }
    }
  },
  bookKeepers,
);
