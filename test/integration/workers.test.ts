/** Worker processes as they run in earnest: loops, queue, leases, heartbeat; several at once, and one that dies. */
import type { ChildProcess } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import type pg from "pg";
import { afterEach, beforeEach, expect, it } from "vitest";
import { prepareSchemas } from "../../src/app/open/open-project.js";
import * as batches from "../../src/store/batches/batches.js";
import { pinnedPool } from "../../src/postgres/pinned-pool.js";
import { startWorker, type Worker } from "../../src/worker/process/worker.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { runRescuer } from "../../src/worker/rounds/rescuer.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { films } from "../support/films.js";
import { createMovies, differences, insertMovies, moviesPipeline } from "../support/movies.js";
import { sql, startProject, type TestProject, startWorkerProcess } from "../support/project.js";

const patience = { timeout: 25_000, interval: 50 };

describeDatabases(
  "Workers",
  (kind) => {
    let project: TestProject;
    let hold: boolean;
    const running: Worker[] = [];
    const children: ChildProcess[] = [];
    beforeEach(async () => {
      hold = false;
      project = await startProject(kind, { gateway: { faults: { hold: () => hold } } });
      await createMovies(project);
    });
    afterEach(async () => {
      for (const child of children.splice(0)) child.kill("SIGKILL");
      await Promise.all(running.splice(0).map((worker) => worker.stop()));
      await project.check().finally(() => project.close());
    });

    async function work(count: number): Promise<void> {
      for (let index = 0; index < count; index++) {
        running.push(await startWorker(await project.worker({ movies: moviesPipeline() }), { flush: true }));
      }
    }

    async function labelled(): Promise<number> {
      const [row] = await project.rows<{ rows: number }>(sql`select count(*)::int as rows from public.movie_labels`);
      return row?.rows ?? 0;
    }

    it("that cannot begin leave nothing behind that asks the database", async () => {
      const context = await project.worker({ movies: moviesPipeline() });
      const { pool } = context.database;
      const step: WorkerContext["step"] = async (name, perform) => {
        // When the queue has its connection, on which it waits for jobs.
        if (name === "worker.beat") {
          await expect.poll(() => pool.totalCount - pool.idleCount, patience).toBeGreaterThan(0);
          throw new Error("no heartbeat");
        }
        return perform();
      };
      await expect(startWorker({ ...context, step }, { flush: true })).rejects.toThrow("no heartbeat");
      expect(pool.totalCount - pool.idleCount).toBe(0);
    });

    it("learn from a closed database that their process ends, and nothing about pools", async () => {
      const { database } = await project.worker({ movies: moviesPipeline() });
      await database.close();
      const words = /did not answer: this process is ending/;
      await expect(database.rows(sql`select 1`)).rejects.toThrow(words);
      await expect(database.transaction((tx) => tx.rows(sql`select 1`))).rejects.toThrow(words);
      await expect(prepareSchemas(database)).rejects.toThrow(words);
    });

    it("give the queue's statements, like their own, a time after which a frozen process holds no job", async () => {
      const { database } = await project.worker({ movies: moviesPipeline() });
      const timeouts = async (client: Pick<pg.PoolClient, "query">) =>
        (
          await client.query<{ idle: number; pinned: boolean }>(
            `select
              extract(epoch from current_setting('idle_in_transaction_session_timeout')::interval)::float8 as idle,
              current_setting('search_path') = 'pg_catalog, pg_temp' as pinned`,
          )
        ).rows[0];
      const client = await pinnedPool(database.pool).connect();
      try {
        expect(await timeouts(client)).toEqual({ idle: 10, pinned: true });
        await client.query("begin");
        expect(await timeouts(client)).toEqual({ idle: 10, pinned: true });
        await client.query("rollback");
      } finally {
        client.release();
      }
      expect(await timeouts(database.pool)).toEqual({ idle: 0, pinned: false });
    });

    it("label what is there and what comes, each row once, several at once", async () => {
      const all = films().slice(0, 300);
      await insertMovies(project, all.slice(0, 100));
      await work(kind === "embedded" ? 1 : 3);
      for (let start = 100; start < 300; start += 20) await insertMovies(project, all.slice(start, start + 20));
      await expect.poll(labelled, patience).toBe(300);
      expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
      const journal = await project.gateway.journal.summary();
      expect(journal.executed).toBe(300);
      expect(new Set(journal.executedByCustomId.values())).toEqual(new Set([1]));
    });

    it("sign off when they are stopped, and leave batches to the next one", async () => {
      hold = true;
      await insertMovies(project, films().slice(0, 10));
      await work(1);
      const states = async () =>
        (await project.rows<{ state: string }>(sql`select state from rowmill.batches`)).map((row) => row.state);
      await expect.poll(states, patience).toEqual(["running"]);
      await Promise.all(running.splice(0).map((worker) => worker.stop()));
      expect(await project.rows(sql`select id from rowmill.workers`)).toEqual([]);
      hold = false;
      project.gateway.release();
      await work(1);
      await expect.poll(labelled, patience).toBe(10);
      expect((await project.gateway.journal.summary()).executed).toBe(10);
    });

    it("start at once on a database that has nothing yet, without getting in each other's way", async () => {
      const starts = await Promise.allSettled([1, 2, 3, 4].map(() => project.worker({ movies: moviesPipeline() })));
      expect(starts.map((start) => (start.status === "rejected" ? String(start.reason) : "ready"))).toEqual([
        "ready",
        "ready",
        "ready",
        "ready",
      ]);
      const triggers = await project.rows(sql`select tgname from pg_trigger where tgname like 'rowmill%'`);
      expect(triggers).toHaveLength(4);
    });

    it("free the jobs of a dead one by the id of its pool, and wake batches that have no job", async () => {
      const context = await project.worker({ movies: moviesPipeline() });
      await insertMovies(project, films().slice(0, 5));
      hold = true;
      await project.round(context);
      const [batch] = await project.rows<{ id: string }>(sql`select id from rowmill.batches`);
      await project.run(sql`insert into rowmill.workers (id, pool_id, host, pid, version, seen_at)
      values (gen_random_uuid(), 'pool-of-the-dead', 'host', 1, '0', now() - interval '1 minute')`);
      await project.run(sql`update rowmill_worker._private_jobs set locked_by = 'pool-of-the-dead', locked_at = now()`);
      await project.run(
        sql`update rowmill_worker._private_job_queues set locked_by = 'pool-of-the-dead', locked_at = now()`,
      );
      expect(await runRescuer(context)).toMatchObject({ workers: 1 });
      expect(await project.rows(sql`select id from rowmill_worker._private_jobs where locked_by is not null`)).toEqual(
        [],
      );
      await project.run(sql`delete from rowmill_worker._private_jobs`);
      expect(await runRescuer(context)).toEqual({ workers: 0, batches: 1 });
      expect(await project.rows(sql`select key from rowmill_worker.jobs`)).toEqual([{ key: `batch:${batch?.id}` }]);
      hold = false;
      project.gateway.release();
      await project.drain(context);
    });

    if (kind !== "embedded") {
      it("take no batch for which they waited while a newer version's migration took it away", async () => {
        const context = await project.worker({ movies: moviesPipeline() });
        await insertMovies(project, films().slice(0, 5));
        hold = true;
        await project.round(context);
        const [batch] = await project.rows<{ id: string }>(sql`select id from rowmill.batches`);
        const blocked = () =>
          project.rows(
            sql`
              select 1 as one
              from pg_stat_activity
              where datname = current_database() and cardinality(pg_blocking_pids(pid)) > 0`,
          );
        const { claim } = await project.database.transaction(async (tx) => {
          await tx.run(sql`update rowmill.deployment set oldest_version = 99`);
          await tx.run(sql`update rowmill.batches set lease_token = null, lease_until = null, lease_worker = null`);
          const holder = { token: randomUUID(), worker: context.workerId };
          const waiting = batches.claim(context.database, batch?.id ?? "", holder);
          await expect.poll(blocked, patience).toHaveLength(1);
          return { claim: waiting };
        });
        expect(await claim).toBeNull();
      });

      it("take over from one that is killed, and nothing is asked twice", async () => {
        hold = true;
        await insertMovies(project, films().slice(0, 50));
        // Makes the tables and triggers, so that the child only works.
        await project.worker({ movies: moviesPipeline() });
        const child = await startWorkerProcess(project);
        children.push(child);
        const states = async () =>
          (await project.rows<{ state: string }>(sql`select state from rowmill.batches`)).map((row) => row.state);
        await expect.poll(states, patience).toEqual(["running"]);
        child.kill("SIGKILL");
        await once(child, "exit");
        hold = false;
        project.gateway.release();
        await work(1);
        await project.run(
          sql`update rowmill.workers set seen_at = now() - interval '1 minute' where pid = ${child.pid}`,
        );
        await expect.poll(labelled, patience).toBe(50);
        const journal = await project.gateway.journal.summary();
        expect(journal.executed).toBe(50);
        expect(journal.batches).toHaveLength(1);
      }, 90_000);
    }
  },
  bookKeepers,
);
