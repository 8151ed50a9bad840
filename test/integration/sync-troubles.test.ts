/** A source elsewhere that hangs, changes all the time, comes back after days, or asks for a person. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { pipeline, z } from "../../src/index.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { syncPipeline } from "../../src/worker/rounds/sync.js";
import * as syncs from "../../src/store/syncs/syncs.js";
import { describeDatabases } from "../support/databases.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { Shelf } from "../support/shelf.js";

const never = new AbortController().signal;

describeDatabases("A source elsewhere", (kind) => {
  let project: TestProject;
  let shelf: Shelf;
  beforeEach(async () => {
    project = await startProject(kind);
    shelf = new Shelf();
  });
  afterEach(() => project.check().finally(() => project.close()));

  const films = () => ({
    films: pipeline({
      source: shelf.source(),
      polling: { min: "10ms", max: "10ms" },
      request: { model: "gpt-4o-mini", user: "Sum up: {{ title }}", maxOutputTokens: 100 },
      answer: z.object({ summary: z.string() }),
      target: { table: "film_labels" },
    }),
  });
  const copied = async () =>
    (await project.rows<{ id: string }>(sql`select id from rowmill_data.films order by id`)).map(({ id }) => id);
  const sync = async (worker: WorkerContext, { full = false, signal = never } = {}) => {
    await syncs.want(worker.database, "films", { full });
    for (const one of worker.pipelines.values()) await syncPipeline(worker, one, signal);
  };
  const standing = async (worker: WorkerContext) => (await syncs.list(worker.database))[0];
  const put = (count: number) => {
    for (let n = 0; n < count; n++) shelf.put(String(n).padStart(5, "0"), `Film ${n}`);
  };

  it("that hangs in a page is left when the worker ends: the lease is free, and the next one goes on", async () => {
    put(25);
    const worker = await project.worker(films());
    const stopping = new AbortController();
    shelf.onPage = () => {
      stopping.abort();
      return new Promise<never>(() => undefined);
    };
    await sync(worker, { signal: stopping.signal });
    expect(await project.rows(sql`select lease_token, failures from rowmill.syncs`)).toEqual([
      { lease_token: null, failures: 0 },
    ]);
    await sync(await project.worker(films()));
    expect(await copied()).toHaveLength(25);
    expect((await standing(worker))?.phase).toBe("idle");
  });
});
