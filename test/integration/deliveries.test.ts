/** Answers that go to a system elsewhere: here another PostgreSQL, written to as a user would. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { prepareRestore, restoreLedger } from "../../src/app/deployment/restore-ledger.js";
import { idleState } from "../../src/app/open/idle.js";
import { ConnectorError, defineTarget, pipeline, push, z, type PipelineSpec } from "../../src/index.js";
import * as deployment from "../../src/store/ledger/deployment.js";
import { deliverDue } from "../../src/worker/rounds/deliverer.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { openElsewhere, type Elsewhere } from "../support/elsewhere.js";
import { quick } from "../support/movies.js";
import { createNotes, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { stageWorker, type Boundary } from "../support/stage-worker.js";

const answer = z.object({ summary: z.string() });

function delivered(target: PipelineSpec<"body", "id", typeof answer>["target"]) {
  return pipeline({
    source: { table: "notes", key: "id", columns: ["body"] },
    ...quick,
    request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
    answer,
    target,
  });
}

describeDatabases(
  "A target elsewhere",
  (kind) => {
    let project: TestProject;
    let elsewhere: Elsewhere;
    beforeEach(async () => {
      [project, elsewhere] = await Promise.all([startProject(kind), openElsewhere()]);
    });
    afterEach(async () => {
      await project.check().finally(() => Promise.all([project.close(), elsewhere.close()]));
    });

    const worker = (): Promise<WorkerContext> => project.worker({ notes: delivered(elsewhere.target()) });
    const states = () =>
      project.rows<{ state: string; lines: number }>(
        sql`select state, count(*)::int as lines from rowmill.deliveries group by state order by state`,
      );
    const line = async (key: string) => {
      const [found] = await project.rows<{ state: string; failures: number; reason: string | null; waits: number }>(sql`
        select state, failures, reason, extract(epoch from next_at - now())::float8 as waits
        from rowmill.deliveries
        where key = ${key}`);
      return found;
    };
    const deliverer = async () => {
      const [found] = await project.rows<{ failures: number; trouble: string | null; waits: number }>(sql`
        select failures, trouble, extract(epoch from next_at - now())::float8 as waits
        from rowmill.deliverers`);
      return found;
    };
    /** As if the longest wait and lease were over. */
    const waitLong = async (): Promise<void> => {
      await project.run(sql`update rowmill.deliveries set next_at = now() where state = 'waiting'`);
      await project.run(sql`update rowmill.deliverers set next_at = now()`);
      await project.run(sql`update rowmill.deliverers set lease_until = now() where lease_until is not null`);
    };
    const deliver = async (context: WorkerContext): Promise<void> => {
      for (const one of context.pipelines.values()) await deliverDue(context, one, new AbortController().signal);
    };
    const isDown = (error: Error): void => {
      elsewhere.before = async () => {
        throw error;
      };
    };
    const isUp = (): void => {
      elsewhere.before = () => Promise.resolve();
    };
    const asked = async () => (await project.gateway.journal.summary()).executed;
    const pauseOf = async () => {
      const [found] = await project.rows<{ kind: string | null; reason: string | null }>(
        sql`select pause_kind as kind, pause_reason as reason from rowmill.pipelines`,
      );
      return found;
    };
    /** What stands there is what Rowmill has. */
    const expectSame = async (): Promise<void> => {
      const own = await project.rows(sql`
        select id::text as key, summary
        from rowmill_data.notes_answers
        order by id::text collate "C"`);
      expect((await elsewhere.rows()).map(({ key, summary }) => ({ key, summary }))).toEqual(own);
    };

    it("gets every answer once, also from two workers", async () => {
      await createNotes(project, plain(40));
      await project.drain(await worker(), await worker());
      expect(await states()).toEqual([{ state: "delivered", lines: 40 }]);
      expect((await elsewhere.rows()).map(({ writes }) => writes)).toEqual(Array.from({ length: 40 }, () => 1));
      await expectSame();
    });

    it("gets the newest of several answers to a row, when it was down for an hour", async () => {
      await createNotes(project, plain(3));
      const context = await worker();
      isDown(new ConnectorError("again", "It is down.", { retryAfterMs: 3_600_000 }));
      await project.drain(context);
      await project.run(sql`update public.notes set body = 'Another text, of the afternoon.' where id = 2`);
      await project.drain(context);
      expect(await states()).toEqual([{ state: "waiting", lines: 3 }]);
      expect(await deliverer()).toMatchObject({ failures: 1, trouble: "It is down." });
      expect((await deliverer())?.waits).toBeGreaterThan(3_000);
      expect((await line("1"))?.failures).toBe(0);
      const why = [{ pipeline: "notes", reason: expect.stringMatching(/^3 answers were not delivered .*It is down/s) }];
      expect(await idleState(context)).toMatchObject({ idle: true, blocked: why });
      // A worker that ends just before the next try leaves them as much as one that ends long before.
      await project.run(sql`update rowmill.deliverers set next_at = now() + interval '2 seconds'`);
      expect(await idleState(context, { ended: true })).toMatchObject({ idle: false, blocked: why });
      isUp();
      await waitLong();
      await deliver(context);
      expect(await states()).toEqual([{ state: "delivered", lines: 3 }]);
      expect((await elsewhere.rows()).map(({ writes }) => writes)).toEqual([1, 1, 1]);
      expect(await deliverer()).toMatchObject({ failures: 0, trouble: null });
      expect(await asked()).toBe(4);
      await expectSame();
    });

    it("refuses one row: the others are delivered, and it fails in the end, until you replay it", async () => {
      await elsewhere.run("create table summaries (key text primary key check (key <> '2'), summary text, writes int)");
      await createNotes(project, plain(3));
      const context = await worker();
      await project.drain(context);
      expect(await states()).toEqual([
        { state: "delivered", lines: 2 },
        { state: "waiting", lines: 1 },
      ]);
      expect(await line("2")).toMatchObject({ failures: 1, reason: expect.stringContaining("summaries_key_check") });
      for (let tries = 1; tries < 8; tries++) {
        await waitLong();
        await deliver(context);
      }
      expect(await line("2")).toMatchObject({ state: "failed", failures: 8 });
      const kept = await project.rows(sql`select state::text as state from rowmill.requests where key = '2'`);
      expect(kept).toEqual([{ state: "succeeded" }]);
      expect(await asked()).toBe(3);
    });

    it("tells by its fence when a frozen worker wakes with an older answer", async () => {
      await createNotes(project, plain(2));
      const frozen = stageWorker(await worker());
      const other = await worker();
      await frozen.run((context) => project.drain(context), { what: "freezes", at: "before deliver.write" });
      expect(frozen.isFrozen).toBe(true);
      await project.run(sql`update public.notes set body = 'A newer text.'`);
      await waitLong();
      await project.drain(other);
      const before = await elsewhere.rows();
      const calls = elsewhere.calls.length;
      await frozen.thaw();
      frozen.stop();
      expect(elsewhere.calls).toHaveLength(calls + 1);
      expect(await elsewhere.rows()).toEqual(before);
      expect(await states()).toEqual([{ state: "delivered", lines: 2 }]);
      expect((await pauseOf())?.kind).toBeNull();
      await expectSame();
    });

    it("is not paused by a worker that wakes with its refusal after another one delivered", async () => {
      await createNotes(project, plain(2));
      const frozen = stageWorker(await worker());
      const other = await worker();
      elsewhere.before = () => Promise.reject(new ConnectorError("stop", "The key is wrong."));
      await frozen.run((context) => project.drain(context), { what: "freezes", at: "before deliver.confirm" });
      elsewhere.before = () => Promise.resolve();
      await waitLong();
      await project.drain(other);
      await frozen.thaw();
      frozen.stop();
      expect(await states()).toEqual([{ state: "delivered", lines: 2 }]);
      expect((await pauseOf())?.kind).toBeNull();
      expect(await deliverer()).toMatchObject({ failures: 0, trouble: null });
    });

    it.each<Boundary>([
      "before deliver.take",
      "after deliver.take",
      "before deliver.write",
      "after deliver.write",
      "before deliver.confirm",
      "after deliver.confirm",
    ])("has every answer once although a worker died %s", async (at) => {
      await createNotes(project, plain(3));
      const dying = stageWorker(await worker());
      await dying.run((context) => project.round(context).then(() => project.drain(context)), { what: "dies", at });
      dying.stop();
      await waitLong();
      await project.drain(await worker());
      expect(await states()).toEqual([{ state: "delivered", lines: 3 }]);
      expect((await elsewhere.rows()).map(({ writes }) => writes)).toEqual([1, 1, 1]);
      expect(await asked()).toBe(3);
    });

    it("gets nothing more from a worker that began with it, once another worker began with another one", async () => {
      await createNotes(project, plain(4));
      const given: string[] = [];
      const other = defineTarget<{ summary: string }>({
        writes: "a list of the test",
        write: async (changes) => void given.push(...changes.map(({ key }) => key)),
      });
      const older = await worker();
      await project.drain(older);
      const newer = await project.worker({ notes: delivered(other) });
      expect([...newer.pipelines.values()][0]?.definitionHash).toBe([...older.pipelines.values()][0]?.definitionHash);
      await project.run(sql`update public.notes set body = 'A newer text.' where id < 3`);
      const calls = elsewhere.calls.length;
      await project.drain(older);
      expect(elsewhere.calls).toHaveLength(calls);
      await project.drain(newer);
      expect(given.toSorted()).toEqual(["1", "2"]);
      expect(await states()).toEqual([{ state: "delivered", lines: 4 }]);
    });

    it("may be that of two pipelines, which do not block each other", async () => {
      await createNotes(project, plain(3));
      const other = delivered(elsewhere.target("others"));
      await project.drain(await project.worker({ notes: delivered(elsewhere.target()), others: other }));
      expect(await states()).toEqual([{ state: "delivered", lines: 6 }]);
      expect((await elsewhere.rows()).map(({ writes }) => writes)).toEqual([2, 2, 2]);
    });

    it("holds a fence that this ledger never gave: the pipeline pauses, and a restored ledger wins", async () => {
      await createNotes(project, plain(2));
      const context = await worker();
      await project.drain(context);
      await elsewhere.run("update summaries set fence_notes = fence_notes + 1000, summary = 'of the lost state'");
      await project.run(sql`update public.notes set body = 'A newer text.' where id = 1`);
      await project.drain(context);
      expect(await line("1")).toMatchObject({ state: "stale", reason: expect.stringContaining("newer answer") });
      expect(await pauseOf()).toMatchObject({ kind: "target", reason: expect.stringContaining("never gave") });
      expect((await elsewhere.rows())[0]?.summary).toBe("of the lost state");
      await project.run(sql`update rowmill.pipelines set pause_kind = null, pause_reason = null, paused_at = null`);
      await deployment.suspect(context.database, "It may be restored.");
      const { signal } = new AbortController();
      const place = { database: { kind: "server", url: project.url }, file: "" } as const;
      await restoreLedger(context, place, { restoration: await prepareRestore(context, signal), signal });
      await project.run(sql`update public.notes set body = 'The newest text.'`);
      await project.drain(context);
      expect(await states()).toEqual([{ state: "delivered", lines: 2 }]);
      await expectSame();
    });

    it("keeps its answers out of another pipeline's pushed rows of the same name", async () => {
      await createNotes(project, plain(1));
      const pushed = pipeline({
        source: push({ key: "id", columns: ["body"] }),
        ...quick,
        request: { model: "gpt-4o-mini", user: "{{ body }}" },
        target: { table: "others" },
      });
      await project.worker({ notes_answers: pushed });
      await expect(worker()).rejects.toThrow(/There is a table .*notes_answers.* already/);
    });

    it("that asks to stop pauses the pipeline with its message", async () => {
      await createNotes(project, plain(1));
      const context = await worker();
      isDown(new ConnectorError("stop", "The key of the target was refused.", { hints: ["Set a new one."] }));
      await project.drain(context);
      expect(await pauseOf()).toEqual({
        kind: "target",
        reason: "The key of the target was refused. Set a new one. Then: rowmill resume notes",
      });
      expect(await states()).toEqual([{ state: "waiting", lines: 1 }]);
    });
  },
  bookKeepers,
);
