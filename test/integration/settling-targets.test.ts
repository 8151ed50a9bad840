/** Targets that publish what they were given when nothing waits any more. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { ConnectorError, defineTarget, pipeline, z } from "../../src/index.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { describeDatabases } from "../support/databases.js";
import { quick } from "../support/movies.js";
import { createNotes, plain } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { stageWorker, type Boundary } from "../support/stage-worker.js";

describeDatabases("A target that settles", (kind) => {
  let project: TestProject;
  /** What it has, and what it published. */
  const [given, published] = [new Set<string>(), new Set<string>()];
  let settles = 0;
  let before = (): Promise<void> => Promise.resolve();
  beforeEach(async () => {
    project = await startProject(kind);
    for (const one of [given, published]) one.clear();
    settles = 0;
    before = () => Promise.resolve();
  });
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  const target = defineTarget<{ summary: string }>({
    most: { changes: 2 },
    write: async (changes) => {
      for (const { key } of changes) given.add(key);
      return Promise.resolve();
    },
    settle: async () => {
      await before();
      settles += 1;
      for (const key of given) published.add(key);
    },
  });
  const worker = (): Promise<WorkerContext> =>
    project.worker({
      notes: pipeline({
        source: { table: "notes", key: "id", columns: ["body"] },
        ...quick,
        request: { model: "gpt-4o-mini", maxOutputTokens: 100, user: "{{ body }}" },
        answer: z.object({ summary: z.string() }),
        target,
      }),
    });

  it("is called once after the last of several writes", async () => {
    await createNotes(project, plain(5));
    const context = await worker();
    await project.drain(context);
    expect(published).toEqual(new Set(["1", "2", "3", "4", "5"]));
    // Perhaps also when the worker began, before the first answer.
    for (const one of [given, published]) one.clear();
    settles = 0;
    await project.run(sql`update public.notes set body = 'Another text.'`);
    await project.drain(context);
    expect(published).toEqual(new Set(["1", "2", "3", "4", "5"]));
    expect(settles).toBe(1);
    await project.drain(context);
    expect(settles).toBe(1);
  });

  it("is called again when it throws, and the trouble is written down", async () => {
    await createNotes(project, plain(3));
    const context = await worker();
    await project.drain(context);
    await project.run(sql`update public.notes set body = 'Another text.' where id = 2`);
    before = () => Promise.reject(new ConnectorError("again", "There is no space left.", { retryAfterMs: 3_600_000 }));
    published.clear();
    await project.drain(context);
    expect(published.size).toBe(0);
    expect(await project.rows(sql`select trouble from rowmill.deliverers`)).toEqual([
      { trouble: "There is no space left." },
    ]);
    before = () => Promise.resolve();
    await project.run(sql`update rowmill.deliverers set next_at = now()`);
    await project.drain(context);
    expect(published.size).toBe(3);
    expect(await project.rows(sql`select trouble, settle_at from rowmill.deliverers`)).toEqual([
      { trouble: null, settle_at: null },
    ]);
  });

  it.each<Boundary>(["before deliver.settle", "after deliver.settle", "before deliver.settled"])(
    "is called by a worker that ran all the time although the one that wrote died %s",
    async (at) => {
      await createNotes(project, plain(3));
      const [running, dying] = [await worker(), stageWorker(await worker())];
      await project.drain(running);
      await project.run(sql`update public.notes set body = 'Another text.' where id = 2`);
      published.clear();
      await dying.run((context) => project.round(context).then(() => project.drain(context)), { what: "dies", at });
      dying.stop();
      const toldBefore = settles;
      published.clear();
      await project.run(sql`update rowmill.deliverers set lease_until = now() where lease_until is not null`);
      await project.drain(running);
      expect(settles).toBeGreaterThan(toldBefore);
      expect(published).toEqual(new Set(["1", "2", "3"]));
    },
  );

  it("is called once more where a write was confirmed while it settled", async () => {
    await createNotes(project, plain(3));
    const context = await worker();
    await project.drain(context);
    await project.run(sql`update public.notes set body = 'Another text.' where id = 2`);
    before = async () => {
      before = () => Promise.resolve();
      await project.run(sql`
          update rowmill.deliverers
          set settle_at = settle_at + interval '1 microsecond'`);
    };
    const toldBefore = settles;
    await project.drain(context);
    expect(settles).toBe(toldBefore + 2);
  });
});
