/**
 * What circumstance alone must never lead to: rows that are paid twice, a search without an end, a row blamed for
 * another's batch.
 */
import { afterEach, expect, test, vi } from "vitest";
import { idleState } from "../../src/app/open/idle.js";
import { pipeline, z } from "../../src/index.js";
import type { Provider, Results } from "../../src/model/provider/provider.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, insertNotes, outcomes, plain } from "../support/notes.js";
import type { PlainBatch } from "../support/plain-batches.js";
import {
  passPauses,
  untilCreated,
  plainNotes,
  startPlainProject,
  type PlainProject,
} from "../support/plain-project.js";
import type { PlainStandInOptions } from "../support/plain-stand-in.js";
import { sql } from "../support/project.js";

/** More than any of these scenes takes. */
const ROUNDS_MAX = 40;
const DAY_MS = 86_400_000;

const dropAt = (at: "before" | "after", skip = 0) => ({ call: "create", at, skip, fault: { kind: "drop" } }) as const;

describeDatabases(
  "A create that only circumstance finds",
  (kind) => {
    let at: PlainProject;

    afterEach(async () => {
      vi.restoreAllMocks();
      await at.project.check();
      await at.close();
    });

    async function start(rows: number, options: PlainStandInOptions = {}): Promise<void> {
      at = await startPlainProject(kind, options);
      await createNotes(at.project, plain(rows));
    }

    const answeredOnce = (rows: number) => ({
      states: { succeeded: rows },
      askedTwice: 0,
      executed: rows,
      missing: 0,
    });

    test("is found although it looks like a duplicate of an earlier batch", async () => {
      await start(4, { faults: [dropAt("before")] });
      const worker = await at.worker({ provider: { exclusive: true } });
      await at.project.drain(worker);
      await at.project.run(sql`update rowmill.batches set submitted_at = now() - interval '10 minutes'`);
      // The effect of the next one, of as many requests, is listed before its reply is known to be lost.
      at.standIn.faults.add(dropAt("after"));
      await insertNotes(at.project, plain(4, "later"));
      await at.project.drain(worker);
      expect(await at.accounts()).toEqual(answeredOnce(8));
      expect(await duplicates()).toBe(0);
    });

    test("is taken although it was reported as a duplicate of an earlier batch", async () => {
      await start(4, { faults: [dropAt("after")] });
      const worker = await at.worker({ provider: { exclusive: true } });
      await at.project.round(worker);
      const [lost] = at.standIn.batches.all;
      await at.project
        .run(sql`insert into rowmill.duplicate_batches (account, provider_batch_id, batch_id, reason, certain)
        select account, ${lost?.id ?? ""}, id, 'seen late', false from rowmill.batches`);
      await at.project.drain(worker);
      expect(await at.accounts()).toEqual(answeredOnce(4));
      expect(await duplicates()).toBe(0);
    });

    test("is found a day later, when the presumed batch proves to be another one", async () => {
      await start(5, { faults: [dropAt("after")], hold: (batch) => batch.requests[0]?.id === "foreign-0" });
      const foreign = at.standIn.createForeign(5);
      const worker = await withoutClock();
      await untilCreated(at, worker);
      await untilPresumed(worker);
      expect(await presumedId()).toBe(foreign.id);
      for (const batch of at.standIn.batches.all) shift(batch, -DAY_MS);
      await ageLedger();
      at.standIn.batches.expire(foreign.id, 5);
      await drainPast(worker);
      expect(await pauses()).toEqual([]);
      expect(await at.accounts()).toEqual(answeredOnce(5));
    });

    test("is not looked for among batches that were made hours later", async () => {
      await start(5, { faults: [dropAt("before")], hold: (batch) => batch.requests[0]?.id === "foreign-0" });
      const worker = await withoutClock();
      await untilCreated(at, worker);
      const foreign = at.standIn.createForeign(5);
      await untilPresumed(worker);
      shift(foreign, -DAY_MS);
      await ageLedger();
      at.standIn.createForeign(5);
      at.standIn.batches.expire(foreign.id, 5);
      await drainPast(worker);
      expect(await pauses()).toEqual([expect.stringContaining("was lost")]);
      expect(await presumedId()).toBeNull();
    });

    test("waits to be looked for again until another open create has ended", async () => {
      await start(4, {
        faults: [dropAt("before"), dropAt("before")],
        hold: (batch) => batch.requests[0]?.id === "foreign-0",
      });
      const worker = await withOthers();
      await untilCreated(at, worker);
      const foreign = at.standIn.createForeign(4);
      await untilPresumed(worker);
      await at.project.run(
        sql`insert into public.others (body) select 'Other text ' || n from generate_series(1, 3) n`,
      );
      await drainPast(worker);
      expect(await pauses()).toEqual([expect.stringContaining("3 requests")]);
      at.standIn.batches.expire(foreign.id, 4);
      for (let rounds = 0; rounds < 5; rounds += 1) {
        await at.project.round(worker);
        await passPauses(at);
      }
      const [first] = await at.project.rows<{ failures: number; presumed: boolean }>(
        sql`select failures, presumed from rowmill.batches where presumed`,
      );
      expect(first).toEqual({ failures: 0, presumed: true });
      await resume();
      await drainPast(worker);
      expect(await pauses()).toEqual([expect.stringContaining("4 requests")]);
    });

    test("is believed when its results come late, and not sent again", async () => {
      await start(5, { faults: [dropAt("after")] });
      let looks = 0;
      const worker = await wrapped((provider) => ({
        ...provider,
        results: (batch, options) => ((looks += 1) === 1 ? nothingYet(batch.refs) : provider.results(batch, options)),
      }));
      await drainPast(worker);
      expect(await at.accounts()).toEqual(answeredOnce(5));
    });

    test("blames no row for another's batch whose failures are not shown", async () => {
      await start(5, { faults: [dropAt("before")] });
      const worker = await wrapped((provider) => ({
        ...provider,
        results: (batch, options) =>
          foreign === undefined || batch.id === foreign.id
            ? failuresAlone(batch.refs)
            : provider.results(batch, options),
      }));
      await untilCreated(at, worker);
      const foreign: PlainBatch | undefined = at.standIn.createForeign(5);
      await drainPast(worker);
      expect(await pauses()).toEqual([expect.stringContaining("was lost")]);
      await resume();
      await drainPast(worker);
      expect(await at.accounts()).toEqual(answeredOnce(5));
      expect(await outcomes(at.project)).toEqual({ answered: 5 });
    });

    test("is looked for again when another client removes the batch that was taken for it", async () => {
      await start(5, { faults: [dropAt("before")], hold: (batch) => batch.requests[0]?.id === "foreign-0" });
      const worker = await at.worker();
      await untilCreated(at, worker);
      const foreign = at.standIn.createForeign(5);
      await untilPresumed(worker);
      foreign.isDeleted = true;
      await drainPast(worker);
      expect(await pauses()).toEqual([expect.stringContaining("was lost")]);
    });

    test("is looked for when the reply names no batch", async () => {
      await start(3);
      const worker = await wrapped((provider) => ({
        ...provider,
        create: async (...asked) => ({ ...(await provider.create(...asked)), id: "" }),
      }));
      await drainPast(worker);
      expect(await at.accounts()).toEqual(answeredOnce(3));
    });

    test("is not sent by a worker that stood still after its intent", async () => {
      await start(3);
      let baselines = 0;
      let skippedMs = 0;
      const now = performance.now.bind(performance);
      vi.spyOn(performance, "now").mockImplementation(() => {
        if (baselines === 1) skippedMs += 30_000;
        return now() + skippedMs;
      });
      const worker = await wrapped((provider) => ({
        ...provider,
        baseline: (options) => {
          baselines += 1;
          return provider.baseline?.(options) ?? Promise.resolve(null);
        },
      }));
      await at.project.drain(worker);
      expect(await at.accounts()).toEqual(answeredOnce(3));
      expect([baselines, at.standIn.calls.get("create")]).toEqual([2, 1]);
    });

    test("asks the provider nothing while another create waits for you", async () => {
      await start(4, { faults: [dropAt("before")] });
      const worker = await withOthers();
      await drainPast(worker);
      await at.project.run(sql`insert into public.others (body) values ('Other text')`);
      await at.project.round(worker);
      const listed = at.standIn.calls.get("list");
      for (let rounds = 0; rounds < 3; rounds += 1) {
        await passPauses(at);
        await at.project.round(worker);
      }
      expect(at.standIn.calls.get("list")).toBe(listed);
      const { idle, blocked } = await idleState(worker);
      expect({ idle, reasons: blocked.map(({ reason }) => reason) }).toEqual({
        idle: true,
        reasons: [expect.stringContaining("was lost"), expect.stringContaining("needs your attention")],
      });
    });

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

    async function withOthers(): Promise<WorkerContext> {
      await at.project.run(
        sql`create table public.others (id int primary key generated always as identity, body text)`,
      );
      return at.worker({
        pipelines: (provider) => ({ notes: plainNotes({ provider }), others: others(provider) }),
      });
    }

    const wrapped = (wrap: (provider: Provider) => Provider) =>
      at.worker({ pipelines: (provider) => ({ notes: plainNotes({ provider: wrap(provider) }) }) });

    /** Its replies bear no time. */
    const withoutClock = () =>
      wrapped((provider) => ({
        ...provider,
        baseline: () => Promise.resolve({ newest: null, clock: null }),
      }));

    async function* nothingYet(refs: Parameters<Provider["results"]>[0]["refs"]): Results {
      await Promise.resolve();
      yield* [];
      return { complete: true, lines: 0, gone: [], unread: null, pending: null, refs };
    }

    async function* failuresAlone(refs: Parameters<Provider["results"]>[0]["refs"]): Results {
      await Promise.resolve();
      yield* [];
      return {
        complete: false,
        lines: 0,
        gone: [],
        unread: null,
        pending: { text: "counts 5 failures", isPaid: false },
        refs,
      };
    }

    function shift(batch: PlainBatch, ms: number): void {
      Object.assign(batch, { madeAtMs: batch.madeAtMs + ms });
    }

    const ageLedger = () =>
      at.project.run(sql`
          update rowmill.batches
          set planned_at = planned_at - interval '1 day', submitted_at = submitted_at - interval '1 day',
        provider_data = provider_data || jsonb_build_object('intendedAt',
          (provider_data ->> 'intendedAt')::float8 - 86400)`);

    async function duplicates(): Promise<number> {
      return (await at.project.rows(sql`select 1 from rowmill.duplicate_batches`)).length;
    }

    async function presumedId(): Promise<string | null> {
      const [row] = await at.project.rows<{ id: string }>(
        sql`select provider_batch_id as id from rowmill.batches where presumed`,
      );
      return row?.id ?? null;
    }

    async function pauses(): Promise<(string | null)[]> {
      const rows = await at.project.rows<{ reason: string | null }>(
        sql`select pause_reason as reason from rowmill.pipelines where paused_at is not null`,
      );
      return rows.map(({ reason }) => reason);
    }

    const resume = () =>
      at.project.run(sql`update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`);

    async function drainPast(worker: WorkerContext): Promise<void> {
      for (let rounds = 0; rounds < ROUNDS_MAX && (await pauses()).length === 0; rounds += 1) {
        await at.project.round(worker);
        const [row] = await at.project.rows(sql`select 1 from rowmill.batches where settled_at is null`);
        if (row === undefined && (await at.accounts()).missing === 0) return;
        await passPauses(at);
      }
    }

    async function untilPresumed(worker: WorkerContext): Promise<void> {
      for (let rounds = 0; rounds < ROUNDS_MAX && (await presumedId()) === null; rounds += 1) {
        await at.project.round(worker);
        await passPauses(at);
      }
    }
  },
  bookKeepers,
);
