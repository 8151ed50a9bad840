/**
 * The one question that a worker repeats: what it names, what it leaves out, and that nothing else is asked when
 * nothing is due.
 */
import { randomBytes } from "node:crypto";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { catalogueState } from "../../src/sources/table/catalogue-state.js";
import { raw, type Reader, type Sql } from "../../src/postgres/database.js";
import { askDue, holds, type Due } from "../../src/store/ledger/due.js";
import * as pipelines from "../../src/store/pipelines/pipelines.js";
import { enqueue } from "../../src/store/requests/queue.js";
import { wantSweep } from "../../src/store/requests/sweeps.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { concernsOf } from "../../src/worker/process/concerns.js";
import { startWorker } from "../../src/worker/process/worker.js";
import { bookKeepers, describeDatabases, newestKinds } from "../support/databases.js";
import { createNotes, insertNotes, notesPipeline, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";

/** Roles belong to the whole server, where other tests run: no one else may use this one. */
const intruder = raw(`intruder_${randomBytes(4).toString("hex")}`);
/** Tries to find a moment in which no other test makes or drops a role. */
const QUIET_TRIES_MAX = 50;
const PIPELINES = 5;
/** So many questions and looks in a row: some of them ask for more than the others. */
const QUIET_ROUNDS = 8;
const patience = { timeout: 25_000, interval: 20 };

function ask(context: WorkerContext): Promise<Due> {
  return askDue(context.read, { pipelines: [...context.pipelines.values()], thorough: true });
}

describeDatabases(
  "What is due",
  (kind) => {
    let project: TestProject;
    let hold: boolean;
    beforeEach(async () => {
      hold = false;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createNotes(project, plain(5));
    });
    afterEach(() => project.check().finally(() => project.close()));

    const ofNotes = (due: Due) => [...due.pipelines.values()][0];

    it("follows rows from arrival to answer, and is nothing after that", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      expect(ofNotes(await ask(worker))?.sweep?.wanted).toBe(true);
      hold = true;
      await project.round(worker, { flush: false });
      expect(ofNotes(await ask(worker))).toMatchObject({ arrived: false, ready: 5, approved: true });
      await insertNotes(project, plain(1, "one more"));
      expect(ofNotes(await ask(worker))).toMatchObject({ arrived: true, current: true });
      await project.round(worker);
      await project.run(sql`update rowmill.batches set next_at = now() - interval '1 second'`);
      expect(await ask(worker)).toMatchObject({ batches: 1, orphan: false, dead: false });
      await project.run(sql`delete from rowmill_worker._private_jobs`);
      expect(await ask(worker)).toMatchObject({ orphan: true });
      hold = false;
      project.gateway.release();
      await project.drain(worker);
      const due = await ask(worker);
      expect(due).toMatchObject({ batches: 0, orphan: false, dead: false });
      expect(ofNotes(due)).toMatchObject({ arrived: false, ready: 0, nextReadyMs: null, flush: false });
    });

    it("makes each sweep wait for what has arrived, also after another worker did the previous one", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      await project.drain(worker);
      const { signal } = new AbortController();
      const queue = { poolId: () => null, look: () => undefined, ended: Promise.resolve() };
      const sweeper = concernsOf(worker, { flush: false, queue, signal }).find(({ name }) => name === "sweeper");
      const begins = async (): Promise<boolean> => sweeper?.work(await ask(worker)) !== null;
      const want = async (): Promise<void> => {
        for (const id of worker.pipelines.keys()) await wantSweep(project.database, id, "the test");
      };
      const clock = vi.spyOn(performance, "now");
      try {
        await insertNotes(project, plain(1, "one more"));
        await want();
        expect(await begins()).toBe(false);
        await project.round(worker);
        expect(await begins()).toBe(false);
        clock.mockReturnValue(performance.now() + 3_600_000);
        await insertNotes(project, plain(1, "and one more"));
        await want();
        expect(await begins()).toBe(false);
      } finally {
        clock.mockRestore();
      }
    });

    it("says when a back-off ends, and names no row before", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      await project.round(worker, { flush: false });
      await project.run(sql`update rowmill.queue set not_before = now() + interval '1 hour'`);
      const one = ofNotes(await ask(worker));
      expect(one).toMatchObject({ ready: 0, oldestWaitMs: null });
      expect(one?.nextReadyMs).toBeGreaterThan(3_500_000);
    });

    it("changes its revision after everything that may let other work continue, and otherwise keeps it", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      const [pipeline] = worker.pipelines.values();
      const id = pipeline?.id ?? 0;
      await project.round(worker, { flush: false });
      let revision = (await ask(worker)).revision;
      expect((await ask(worker)).revision).toBe(revision);
      const changes = [
        () => pipelines.pause(worker.database, id, { kind: "person", reason: "a test" }),
        () => pipelines.resume(worker.database, id),
        () => pipelines.requestFlush(worker.database, id),
        () => project.round(worker),
        () => pipelines.forgetAnswers(worker.database, id),
        () =>
          project.run(
            sql`
              insert into rowmill.learned_limits (account, model, enqueued_tokens, message)
              values ('a', 'b', 1, 'c')`,
          ),
      ];
      for (const change of changes) {
        await change();
        const next = (await ask(worker)).revision;
        expect(next, String(change)).not.toBe(revision);
        revision = next;
      }
    });

    it("holds until something is committed, whoever does it", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      const other = await project.worker({ notes: notesPipeline() });
      const [pipeline] = worker.pipelines.values();
      const { id = 0, definitionHash = "" } = pipeline ?? {};
      await project.round(worker, { flush: false });
      const request = sql`select id::text as id from rowmill.requests limit 1`;
      const changes = [
        () => insertNotes(project, plain(1, "one more")),
        () => pipelines.requestFlush(other.database, id),
        () => pipelines.withdrawApproval(other.database, id, "a test"),
        () => pipelines.approve(other.database, id, { definitionHash, by: "a test", account: "a" }),
        () => pipelines.pause(other.database, id, { kind: "person", reason: "a test" }),
        () => pipelines.resume(other.database, id),
        () => wantSweep(other.database, id, "a test"),
        async () => enqueue(other.database, id, [(await project.database.first<{ id: string }>(request))?.id ?? ""]),
        () => project.round(other),
        () => project.run(sql`update rowmill.deployment set oldest_version = oldest_version`),
      ];
      for (const change of changes) {
        let due = await ask(worker);
        // Other tests share the server, and each commit of theirs makes an answer one of the past.
        await expect.poll(async () => holds(worker.read, (due = await ask(worker))), patience).toBe(true);
        await change();
        expect(await holds(worker.read, due), String(change)).toBe(false);
      }
    });

    // The embedded database has one session, where each transaction waits for the one before.
    if (kind !== "embedded")
      it("holds no longer when a transaction ends that began before it", async () => {
        const worker = await project.worker({ notes: notesPipeline() });
        await project.round(worker, { flush: false });
        const before = await project.database.transaction(async (tx) => {
          await tx.run(sql`insert into public.notes (body) values ('A note that is committed late.')`);
          return ask(worker);
        });
        expect(ofNotes(before)?.arrived).toBe(false);
        expect(await holds(worker.read, before)).toBe(false);
      });

    it("includes when the next batch is due, a provider's wait is over, or a silent worker is dead", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      hold = true;
      await project.round(worker);
      const isNext = async (seconds: number) =>
        expect(((await ask(worker)).nextMs ?? 0) / 1_000).toBeCloseTo(seconds, -2);
      await project.run(sql`update rowmill.batches set next_at = now() + interval '900 seconds'`);
      await isNext(900);
      await project.run(
        sql`update rowmill.batches set lease_token = gen_random_uuid(), lease_until = now() + interval '1200 seconds'`,
      );
      await isNext(1200);
      await project.run(sql`insert into rowmill.learned_limits (account, model, enqueued_tokens, not_before, message)
        values ('a', 'b', 1, now() + interval '600 seconds', 'c')`);
      await isNext(600);
      await project.run(
        sql`
          insert into rowmill.workers (id, host, pid, version, seen_at)
          values (gen_random_uuid(), 'h', 1, '1', now() + interval '280 seconds')`,
      );
      await isNext(300);
      await project.run(sql`delete from rowmill.workers where host = 'h'`);
      await project.run(sql`update rowmill.batches set lease_token = null, lease_until = null, next_at = now()`);
      hold = false;
      project.gateway.release();
      await project.drain(worker);
    });

    it("is nothing of a pipeline with another definition, a paused source or none at all", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      const [pipeline] = worker.pipelines.values();
      const id = pipeline?.id ?? 0;
      await pipelines.pause(worker.database, id, { kind: "source", reason: "a test" });
      expect(ofNotes(await ask(worker))).toMatchObject({ current: true, pauseKind: "source" });
      await project.run(sql`update rowmill.pipelines set definition_hash = 'another' where id = ${id}`);
      expect(ofNotes(await ask(worker))).toMatchObject({ current: false, approved: false });
      const none = { pipelines: [{ id: id + 1, definitionHash: "" }], thorough: false };
      expect((await askDue(worker.read, none)).pipelines.size).toBe(0);
      await project.run(sql`update rowmill.deployment set suspicion = 'a test', suspected_at = now()`);
      expect(ofNotes(await ask(worker))?.pauseKind).toBe("deployment");
      await project.run(sql`update rowmill.deployment set suspicion = null, suspected_at = null`);
    });

    it("is refused by a version that is too old for the ledger, also where the question itself cannot be asked any more", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      await project.run(sql`update rowmill.deployment set oldest_version = 99`);
      await expect(ask(worker)).rejects.toMatchObject({ code: "version_too_old" });
      await project.run(sql`alter table rowmill.sweeps rename column phase to stage`);
      await expect(ask(worker)).rejects.toMatchObject({ code: "version_too_old" });
      await project.run(sql`update rowmill.deployment set oldest_version = 1`);
      await expect(ask(worker)).rejects.toMatchObject({ code: "database_refused" });
      await project.run(sql`alter table rowmill.sweeps rename column stage to phase`);
    });

    it("is all that a worker asks when nothing happens, however many pipelines it has", async () => {
      await project.run(sql`delete from public.notes`);
      const many = Array.from({ length: PIPELINES }, (_, index) => [
        `notes${index}`,
        { ...notesPipeline(), target: { table: `answers${index}` } },
      ]);
      const context = await project.worker(Object.fromEntries(many));
      await project.round(context);
      /** Before each round: what else was asked, and which steps were made. */
      let between: string[] = [];
      const rounds: string[][] = [];
      const noted = (statement: Sql): Sql => {
        // Both the question and the look whether its answer holds.
        if (statement.text.includes("pg_current_snapshot")) rounds.push(between.splice(0));
        else between.push(statement.text);
        return statement;
      };
      const read: Reader = {
        rows: (statement) => context.read.rows(noted(statement)),
        first: (statement) => context.read.first(noted(statement)),
        column: (statement) => context.read.column(noted(statement)),
        value: (statement) => context.read.value(noted(statement)),
        number: (statement) => context.read.number(noted(statement)),
      };
      const step: WorkerContext["step"] = (name, work) => {
        between.push(name);
        return context.step(name, work);
      };
      const refreshSource: WorkerContext["refreshSource"] = (pipeline) => {
        between.push(`source of ${pipeline.config.name}`);
        return context.refreshSource(pipeline);
      };
      const worker = await startWorker({ ...context, read, step, refreshSource }, { flush: false });
      try {
        // What belongs to a start comes first: sources, the provider's list, clean-up.
        const lately = () => (rounds.length < QUIET_ROUNDS ? null : rounds.slice(-QUIET_ROUNDS).flat());
        await expect.poll(() => lately()?.filter((one) => one !== "worker.beat"), patience).toEqual([]);
      } finally {
        await worker.stop();
      }
    }, 60_000);
  },
  bookKeepers,
);

describeDatabases(
  "The state of the catalog",
  (kind) => {
    let project: TestProject;
    beforeEach(async () => {
      project = await startProject(kind);
      await createNotes(project, plain(1));
    });
    afterEach(() => project.close());

    it("changes after everything that a look at sources, triggers and targets would see", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      const state = () => catalogueState(worker.database);
      const changes = [
        sql`alter table public.notes add column more int`,
        sql`alter table public.notes alter column more type bigint`,
        sql`alter table public.notes disable trigger user`,
        sql`alter table public.notes enable trigger user`,
        sql`create function public.f() returns trigger language plpgsql as 'begin return new; end'`,
        sql`create or replace function public.f() returns trigger language plpgsql as 'begin return null; end'`,
        sql`create trigger t before insert on public.notes for each row execute function public.f()`,
        sql`create role ${intruder}`,
        sql`alter function public.f() owner to ${intruder}`,
        sql`create table public.parts (id int primary key) partition by range (id)`,
        sql`create table public.part partition of public.parts for values from (0) to (9)`,
        sql`alter table public.parts detach partition public.part`,
        sql`create index on public.notes (more)`,
        sql`alter table public.notes add check (more > 0)`,
        sql`alter table public.notes enable row level security`,
        sql`create policy p on public.notes using (true)`,
        sql`create domain public.d as int`,
        sql`alter table public.notes rename to memos`,
        sql`update rowmill.pipelines set source_signature = 'another'`,
      ];
      let before = await state();
      for (const change of changes) {
        await project.run(change);
        const next = await state();
        expect(next, change.text).not.toBe(before);
        before = next;
      }
      await project.run(sql`drop owned by ${intruder} cascade`);
      await project.run(sql`drop role ${intruder}`);
    });

    it("is the same after rows were written, tables analyzed, and temporary tables made", async () => {
      const worker = await project.worker({ notes: notesPipeline() });
      const work = async (): Promise<void> => {
        await insertNotes(project, plain(1, "one more"));
        await project.run(sql`analyze public.notes`);
        await project.database.transaction(async (tx) => {
          await tx.run(sql`drop table if exists pg_temp.mine`);
          await tx.run(sql`create temporary table mine (id int primary key, word text check (word <> ''))`);
          await tx.run(sql`create index on mine (word)`);
        });
      };
      const [before, after] = await statesAround(worker, work);
      expect(after).toBe(before);
    });

    /** The state includes the roles of the server, so other tests may change it in between: then it is tried again. */
    async function statesAround(worker: WorkerContext, work: () => Promise<void>): Promise<[string, string]> {
      const roles = async () => JSON.stringify(await project.rows(sql`select oid, rolname from pg_roles order by oid`));
      for (let tries = 0; tries < QUIET_TRIES_MAX; tries++) {
        const seen = [await roles()];
        const before = await catalogueState(worker.database);
        seen.push(await roles());
        await work();
        seen.push(await roles());
        const after = await catalogueState(worker.database);
        seen.push(await roles());
        if (new Set(seen).size === 1) return [before, after];
      }
      throw new Error(`In ${QUIET_TRIES_MAX} tries other tests always made or dropped a role.`);
    }
  },
  newestKinds,
);
