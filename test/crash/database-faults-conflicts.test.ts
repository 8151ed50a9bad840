/** The database answers, but not as it should: the work waits, comes again, and what users do goes first. */
import { expect, it, vi } from "vitest";
import { raw, sql } from "../../src/postgres/database.js";
import { lockSweep } from "../../src/store/requests/sweeps.js";
import { runIntake } from "../../src/worker/rounds/intake.js";
import { batchesAre, eventually, playScene } from "../support/database-scenes.js";
import { describeDatabases } from "../support/databases.js";
import { notesPipeline } from "../support/notes.js";
import type { TestProject } from "../support/project.js";

// A scene takes seconds; a busy machine needs more.
vi.setConfig({ testTimeout: 120_000 });

/** What the server may say of a statement that would go well another time, in turn. */
const passing: Readonly<Record<string, readonly string[]>> = {
  "serialisation failures, deadlocks and locks that do not come": ["40001", "40P01", "55P03"],
  "statements that last too long, and a full disk of the database": ["57014", "53100", "53100"],
};
const failuresEach = 3;
const tables = ["rowmill.requests", "rowmill.batches", "rowmill.attempts", "public.note_summaries"];

describeDatabases(
  "A database in trouble",
  () => {
    it.concurrent.each(Object.entries(passing))("waits out %s", async (_, sqlStates) => {
      await playScene({}, async ({ project, work, add, finished }) => {
        await project.worker({ notes: notesPipeline() });
        const writes = await failFirst(project, sqlStates);
        await work();
        await work();
        await add(20, "later note");
        await finished();
        for (const seen of await writes()) expect(seen).toBeGreaterThan(failuresEach);
      });
    });

    it.concurrent(
      "takes no writes for a moment, as in a failover, and connections of that moment are left",
      async () => {
        let hold = true;
        await playScene({ gateway: { faults: { hold: () => hold } } }, async (scene) => {
          const { project, work, add, finished } = scene;
          await work();
          await work();
          await batchesAre(project, "running");
          await add(20, "later note");
          await setReadOnly(project, "on");
          hold = false;
          project.gateway.release();
          // Those who connect now keep what they found at their login, as with a server that became a replica.
          await project.database.pool.query(terminateOthers);
          await eventually(
            () => sessions(project),
            (count) => count >= 2,
          );
          await setReadOnly(project, "off");
          await finished();
        });
      },
    );

    it.concurrent("lets a user's transaction on target rows go first, whatever order it takes them in", async () => {
      await playScene({ notes: 10 }, async ({ project, work, finished }) => {
        await project.worker({ notes: notesPipeline() });
        const user = await project.database.pool.connect();
        try {
          await user.query("begin");
          // The worker's insert waits for this one, with the rows before it in hand.
          await user.query(
            `insert into public.note_summaries (id, summary, rowmill_at, rowmill_model)
            values (10, 'of the user', now(), '')`,
          );
          await work();
          await eventually(
            () => blocked(project),
            (count) => count > 0,
          );
          await user.query(
            `insert into public.note_summaries (id, summary, rowmill_at, rowmill_model)
            values (1, 'of the user', now(), '')`,
          );
          await user.query("commit");
        } finally {
          user.release();
        }
        await finished();
        const left = sql`select id from public.note_summaries where summary = 'of the user'`;
        expect(await project.rows(left)).toEqual([]);
      });
    });

    it.concurrent("works next to a snapshot that is held all the time, and answers what is there now", async () => {
      await playScene({}, async ({ project, work, add, finished }) => {
        const reader = await project.database.pool.connect();
        try {
          await reader.query("begin isolation level repeatable read");
          const before = await reader.query("select count(*)::int as rows from public.notes");
          await work();
          await add(20, "later note");
          await finished();
          await project.run(sql`delete from public.notes where id = 1`);
          await project.database.pool.query("vacuum rowmill.requests, rowmill.queue, rowmill.lines, rowmill.arrivals");
          const after = await reader.query("select count(*)::int as rows from public.notes");
          expect(after.rows).toEqual(before.rows);
          await eventually(
            () => stateOf(project, "1"),
            (state) => state === "gone",
          );
        } finally {
          await reader.query("rollback");
          reader.release();
        }
      });
    });

    it.concurrent("lets intake mark a sweep while a chunk is being compared", async () => {
      await playScene({}, async ({ project }) => {
        const context = await project.worker({ notes: notesPipeline() });
        const [id = 0] = context.pipelines.keys();
        await project.run(sql`truncate public.notes`);
        await project.database.transaction(async (tx) => {
          expect(await lockSweep(tx, id)).not.toBeNull();
          // Waiting here for the sweep, with the intake lock in hand, it would be in a deadlock with a sweeper that
          // found keys.
          expect(await runIntake(context)).toMatchObject({ arrivals: expect.any(Number) });
        });
        expect(await project.rows(sql`select wanted_reason from rowmill.sweeps`)).toEqual([
          { wanted_reason: "arrival" },
        ]);
      });
    });
  },
  ["pg18"],
);

/** Each of the tables refuses its first writes so. Gives back how many writes each has seen by then. */
async function failFirst(project: TestProject, sqlStates: readonly string[]): Promise<() => Promise<number[]>> {
  for (const [index, table] of tables.entries()) {
    await project.run(raw(`create sequence public.writes_${index}`));
    await project.run(
      raw(`create function public.fail_${index}() returns trigger language plpgsql as $$
        declare
          states text[] := '{${sqlStates.join(",")}}';
          -- A sequence is not rolled back.
          place int := nextval('public.writes_${index}');
        begin
        if place <= ${failuresEach} then
          raise exception 'not now' using errcode = states[place];
        end if;
        return null; end $$`),
    );
    await project.run(
      raw(`create trigger fail before insert or update on ${table}
        for each statement execute function public.fail_${index}()`),
    );
  }
  return () =>
    Promise.all(
      tables.map(async (_, index) => {
        const [row] = await project.rows<{ writes: number }>(
          raw(`select last_value::int as writes from public.writes_${index}`),
        );
        return row?.writes ?? 0;
      }),
    );
}

/** For sessions that begin from now on. */
async function setReadOnly(project: TestProject, value: "on" | "off"): Promise<void> {
  const name = new URL(project.url).pathname.slice(1);
  await project.database.pool.query(
    `begin read write; alter database ${name} set default_transaction_read_only = ${value}; commit`,
  );
}

const others = "datname = current_database() and backend_type = 'client backend' and pid <> pg_backend_pid()";
const terminateOthers = `select pg_terminate_backend(pid) from pg_stat_activity where ${others}`;

async function sessions(project: TestProject): Promise<number> {
  return count(project, `from pg_stat_activity where ${others}`);
}

/** Sessions that wait for a lock of another. */
async function blocked(project: TestProject): Promise<number> {
  return count(project, `from pg_stat_activity where ${others} and cardinality(pg_blocking_pids(pid)) > 0`);
}

async function count(project: TestProject, from: string): Promise<number> {
  const [row] = await project.rows<{ count: number }>(raw(`select count(*)::int as count ${from}`));
  return row?.count ?? 0;
}

async function stateOf(project: TestProject, key: string): Promise<string | undefined> {
  const [row] = await project.rows<{ state: string }>(sql`select state from rowmill.requests where key = ${key}`);
  return row?.state;
}
