/**
 * One pipeline over a table of notes, real workers, and a database that misbehaves on the way to them. PostgreSQL 18.
 */
import { setTimeout as pause } from "node:timers/promises";
import { isDeepStrictEqual } from "node:util";
import { expect } from "vitest";
import type { GatewayOptions } from "../../src/gateway/gateway.js";
import { sql } from "../../src/postgres/database.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { startWorker, type Worker } from "../../src/worker/process/worker.js";
import { findViolations } from "./invariants.js";
import { openUsersDatabase } from "./users-database.js";
import { createNotes, insertNotes, notesPipeline, plain } from "./notes.js";
import { startProject, type TestProject } from "./project.js";

/** Leases that are not given back last 20 s, back-off doubles, and the machine may be busy. */
const PATIENCE_MS = 90_000;
const LOOK_PAUSE_MS = 100;

/** Looks again and again until it is so; tests that run at once cannot use `expect.poll`. */
export async function eventually<T>(look: () => Promise<T>, isSo: (seen: T) => boolean): Promise<void> {
  const until = Date.now() + PATIENCE_MS;
  for (;;) {
    const seen = await look();
    if (isSo(seen)) return;
    if (Date.now() > until) throw new Error(`Still so after ${PATIENCE_MS} ms: ${JSON.stringify(seen)}`);
    await pause(LOOK_PAUSE_MS);
  }
}

export interface Scene {
  readonly project: TestProject;
  /** Starts a worker that connects by this URL; default: directly. */
  work(url?: string): Promise<WorkerContext>;
  add(count: number, word: string): Promise<void>;
  /** What is taken away when the workers have stopped, the last first. */
  afterwards(end: () => Promise<void>): void;
  /** All notes have their answer, each was asked once, and nothing is under way any more. */
  finished(): Promise<void>;
}

export interface SceneOptions {
  readonly gateway?: Partial<GatewayOptions>;
  readonly notes?: number;
  /** A server of the test's own; default: that of the run. */
  readonly serverUrl?: string;
}

/** Plays it, stops the workers, looks at the invariants, and takes everything away. */
export async function playScene(options: SceneOptions, play: (scene: Scene) => Promise<void>): Promise<void> {
  const { gateway, serverUrl, notes = 20 } = options;
  const made = await startProject("pg18", gateway === undefined ? {} : { gateway });
  const project = serverUrl === undefined ? made : moved(made, serverUrl);
  const workers: Worker[] = [];
  const ends: (() => Promise<void>)[] = [];
  try {
    await createNotes(project, plain(notes));
    await play({
      project,
      work: async (url = project.url) => {
        const pipelines = { notes: notesPipeline({ reconcileWindow: "1s" }) };
        const context = await project.worker(pipelines, { url, timeouts: { createMs: 2_000 } });
        workers.push(await startWorker(context, { flush: true }));
        return context;
      },
      add: (count, word) => insertNotes(project, plain(count, word)),
      afterwards: (end) => ends.unshift(end),
      finished: () => expectFinished(project),
    });
    await Promise.all(workers.map((worker) => worker.stop()));
    await project.check();
  } finally {
    await Promise.all(workers.map((worker) => worker.stop()));
    for (const end of ends) await end();
    if (project !== made) await project.database.close();
    await made.close();
  }
}

/** The same gateway and folder, and the ledger in another server's database. */
function moved(project: TestProject, url: string): TestProject {
  const database = openUsersDatabase({ connectionString: url, ssl: false });
  return {
    ...project,
    url,
    database,
    rows: (statement) => database.rows(statement),
    run: (statement) => database.run(statement),
    check: async () => expect(await findViolations(database)).toEqual([]),
  };
}

async function expectFinished(project: TestProject): Promise<void> {
  await eventually(
    () => unfinished(project),
    (left) => isDeepStrictEqual(left, { missing: 0, busy: 0 }),
  );
  const [notes] = await project.rows<{ count: number }>(sql`select count(*)::int as count from public.notes`);
  const [answers] = await project.rows<{ count: number }>(
    sql`select count(*)::int as count from public.note_summaries`,
  );
  expect(answers).toEqual(notes);
  const journal = await project.gateway.journal.summary();
  expect(journal.executed).toBe(notes?.count);
  expect(new Set(journal.executedByContent.values())).toEqual(new Set([1]));
  expect(await project.rows(sql`select pause_reason from rowmill.pipelines`)).toEqual([{ pause_reason: null }]);
}

/** The database may be away at the moment: then nothing is finished. */
async function unfinished(project: TestProject): Promise<{ missing: number; busy: number } | string> {
  try {
    const [left] = await project.rows<{ missing: number; busy: number }>(sql`
      select (select count(*)::int
      from public.notes n
      left join public.note_summaries s using (id)
      where s.summary is null) as missing,
        (select count(*)::int from rowmill.batches where settled_at is null) as busy`);
    return left ?? "nothing";
  } catch (error) {
    return String(error);
  }
}

/** Until the batches, oldest first, are in these states. */
export function batchesAre(project: TestProject, ...wanted: string[]): Promise<void> {
  return eventually(
    async () => {
      const rows = await project.rows<{ state: string }>(
        sql`select state from rowmill.batches order by planned_at, id`,
      );
      return rows.map((row) => row.state);
    },
    (seen) => isDeepStrictEqual(seen, wanted),
  );
}
