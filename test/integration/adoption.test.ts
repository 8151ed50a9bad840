/** A batch that other code created at the provider is collected, and nothing of it is paid twice. */
import type OpenAI from "openai";
import { afterEach, describe, expect, it } from "vitest";
import { adoptBatch, prepareAdoption, type Adopted } from "../../src/app/adopt/adopt-batch.js";
import { sweepAll } from "../../src/app/open/round.js";
import { pipeline, z } from "../../src/index.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { until } from "../support/cli.js";
import { bookKeepers, databaseKinds } from "../support/databases.js";
import { films } from "../support/films.js";
import { createMovies, differences, executions, insertMovies, moviesPipeline, quick } from "../support/movies.js";
import { outcomes } from "../support/notes.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { createTutorialBatch } from "../support/tutorial-batch.js";

const kinds = bookKeepers.filter((kind) => kind !== "pg14" && databaseKinds.includes(kind));
const some = films().slice(0, 40);
const taskOf = (film: { id: number; description: string }) => ({
  customId: `task-${film.id}`,
  text: film.description,
});

/** Every row has its request, and nothing is sent. */
async function sweep(worker: WorkerContext): Promise<void> {
  await sweepAll(worker, new AbortController().signal);
}

async function completed(client: OpenAI, batchId: string): Promise<void> {
  await until(`${batchId} has ended`, async () => (await client.batches.retrieve(batchId)).status === "completed");
}

describe.each(kinds)("A batch of other code on %s", { timeout: 60_000 }, (kind) => {
  let project: TestProject;
  afterEach(async () => {
    await project.check().finally(() => project.close());
  });

  async function startMovies(gateway: { batchDelayMs?: number } = {}): Promise<WorkerContext> {
    project = await startProject(kind, { gateway });
    await createMovies(project);
    await insertMovies(project, some);
    return project.worker({ movies: moviesPipeline() });
  }

  async function adopt(worker: WorkerContext, batchId: string, pattern = "task-{imdb_id}"): Promise<Adopted> {
    const [bound] = worker.pipelines.values();
    if (bound === undefined) throw new Error("no pipeline");
    const { signal } = new AbortController();
    const adoption = await prepareAdoption(worker, bound, { batchId, pattern, signal });
    return adoptBatch(worker, bound, adoption);
  }

  it("is collected when it has ended, and only the other rows are asked", async () => {
    const worker = await startMovies();
    await sweep(worker);
    const { client, batchId, inputFileId } = await createTutorialBatch(
      project.gateway.url,
      some.slice(0, 25).map(taskOf),
    );
    await completed(client, batchId);
    expect(await adopt(worker, batchId)).toMatchObject({ adopted: 25, ended: 0, inFlight: 0, noRow: 0 });
    await project.drain(worker);
    expect(await executions(project)).toEqual(some.map(() => 1));
    expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
    expect(await outcomes(project)).toEqual({ answered: 40 });
    const [spent] = await project.rows<{ spent: boolean }>(
      sql`select bool_and(a.cost_nano_usd > 0) as spent from rowmill.attempts a join rowmill.batches b on b.no = a.batch
        where b.provider_batch_id = ${batchId}`,
    );
    expect(spent?.spent).toBe(true);
    // Ours are deleted at the provider when they are settled, the other code's are not.
    const names = [];
    for await (const file of client.files.list()) names.push(file.id);
    expect(names).toContain(inputFileId);
    expect(names).toHaveLength(2);
  });

  it("is written from the ledger where its target rows are held, by the names of the other code", async ({ skip }) => {
    if (kind === "embedded") skip("the embedded database has one session: no one else can hold a row there");
    const worker = await startMovies();
    await sweep(worker);
    await project.run(sql`insert into public.movie_labels (imdb_id, categories, summary, rowmill_at, rowmill_model)
      select imdb_id, '{}', 'of the user', now(), '' from public.imdb_dataset limit 4`);
    const { client, batchId } = await createTutorialBatch(project.gateway.url, some.map(taskOf));
    await completed(client, batchId);
    await adopt(worker, batchId);
    const user = await project.database.pool.connect();
    await user.query("begin; select 1 from public.movie_labels for update");
    for (let round = 0; round < 3; round++) {
      await project.round(worker);
      await project.run(sql`update rowmill.batches set next_at = now()`);
    }
    expect(await outcomes(project)).toEqual({ answered: 36 });
    await user.query("rollback");
    user.release();
    await project.drain(worker);
    expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
    expect(await outcomes(project)).toEqual({ answered: 40 });
    expect(await executions(project)).toEqual(some.map(() => 1));
  });

  it.each(["input", "output"])(
    "is booked at the price of its own model, by its %s file, and not at that of the pipeline",
    async (named) => {
      const worker = await startMovies();
      await sweep(worker);
      const tasks = some.slice(0, 5).map(taskOf);
      const { client, batchId, inputFileId } = await createTutorialBatch(project.gateway.url, tasks, {
        model: "gpt-4o",
      });
      await completed(client, batchId);
      if (named === "output") await client.files.delete(inputFileId);
      await adopt(worker, batchId);
      await project.drain(worker);
      const [booked] = await project.rows<{ cost: number; input: number; output: number }>(sql`
        select sum(a.cost_nano_usd)::float8 as cost, sum(a.input_tokens)::float8 as input,
          sum(a.output_tokens)::float8 as output
        from rowmill.attempts a join rowmill.batches b on b.no = a.batch where b.provider_batch_id = ${batchId}`);
      expect(booked?.cost).toBe((booked?.input ?? 0) * 1_250 + (booked?.output ?? 0) * 5_000);
    },
  );

  it("is collected when it ends later, and a row that changes meanwhile is sent again", async () => {
    const worker = await startMovies({ batchDelayMs: 700 });
    await sweep(worker);
    const { batchId } = await createTutorialBatch(project.gateway.url, some.map(taskOf));
    expect((await adopt(worker, batchId)).adopted).toBe(40);
    await project.run(
      sql`update imdb_dataset set "Description" = 'Two bakers fall in love.' where imdb_id = ${some[0]?.id}`,
    );
    await project.run(sql`delete from imdb_dataset where imdb_id = ${some[1]?.id}`);
    // A row that gets another key while it is being answered keeps its answer.
    await project.run(sql`update imdb_dataset set imdb_id = 999999 where imdb_id = ${some[2]?.id}`);
    await project.drain(worker);
    expect(await outcomes(project)).toEqual({ answered: 39, gone: 1, stale: 1 });
    expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
    expect((await executions(project)).filter((times) => times > 1)).toEqual([]);
  });

  it("leaves alone what is no row of the table, is answered, or was named before", async () => {
    const worker = await startMovies();
    await project.run(
      sql`delete from imdb_dataset where imdb_id <> all(${some.slice(0, 5).map(({ id }) => id)}::bigint[])`,
    );
    await project.drain(worker);
    await insertMovies(project, some.slice(5, 10));
    const lines = [
      ...some.slice(4, 8).map(taskOf),
      { customId: `task-0${some[5]?.id}`, text: "again" },
      { customId: "task-123456789", text: "no row" },
      { customId: "task-99999999999999999999", text: "no bigint" },
      { customId: "job-1", text: "another name" },
    ];
    const { batchId } = await createTutorialBatch(project.gateway.url, lines);
    const [bound] = worker.pipelines.values();
    if (bound === undefined) throw new Error("no pipeline");
    const { signal } = new AbortController();
    const adoption = await prepareAdoption(worker, bound, { batchId, pattern: "task-{imdb_id}", signal });
    expect(adoption.lines).toMatchObject({
      lines: 8,
      repeated: 1,
      unreadable: 2,
      unreadableExample: "job-1",
    });
    expect(await adoptBatch(worker, bound, adoption)).toMatchObject({
      adopted: 3,
      ended: 1,
      inFlight: 0,
      noRow: 1,
    });
    await project.drain(worker);
    expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
  });

  it("is adopted once, and not without rows, for a pattern without the key, or when the provider does not know it", async () => {
    const worker = await startMovies();
    await sweep(worker);
    const { batchId } = await createTutorialBatch(project.gateway.url, some.map(taskOf));
    await expect(adopt(worker, batchId, "task")).rejects.toMatchObject({
      code: "usage",
      message: 'The pattern "task" does not name {imdb_id}.',
    });
    await expect(adopt(worker, batchId, "job-{imdb_id}")).rejects.toThrow(
      `No custom_id in the batch matches the pattern: the first is "task-${some[0]?.id}".`,
    );
    await expect(adopt(worker, "batch_unknown")).rejects.toMatchObject({ code: "not_found" });
    await adopt(worker, batchId);
    await expect(adopt(worker, batchId)).rejects.toThrow(`${batchId} is already adopted, by the pipeline "movies".`);
    const twice = await createTutorialBatch(project.gateway.url, some.slice(0, 2).map(taskOf));
    await expect(adopt(worker, twice.batchId)).rejects.toThrow("0 done already, 2 in another batch, 0 not in");
    await project.drain(worker);
  });

  it("is refused when its answers are gone, and its rows are sent again", async () => {
    const worker = await startMovies();
    await sweep(worker);
    const { client, batchId } = await createTutorialBatch(project.gateway.url, some.slice(0, 3).map(taskOf));
    await completed(client, batchId);
    const { output_file_id: output = "" } = await client.batches.retrieve(batchId);
    await client.files.delete(output);
    await expect(adopt(worker, batchId)).rejects.toMatchObject({
      code: "refused",
      message: `The provider no longer has the answers of ${batchId}: its file ${output} is gone.`,
      hints: [expect.stringContaining("rowmill up")],
    });
    await project.drain(worker);
    expect(await outcomes(project)).toEqual({ answered: 40 });
    expect(await differences(project)).toEqual({ missing: 0, superfluous: 0 });
  });

  it("is read from its answers when its input file is gone, with a key of two columns", async () => {
    project = await startProject(kind);
    await project.run(sql`create table public.lines (day date, region text, body text, primary key (day, region))`);
    await project.run(
      sql`insert into lines values ('2026-11-22', 'eu-7', 'A short text.'), ('2026-11-23', 'us', 'Another text.')`,
    );
    const worker = await project.worker({
      lines: pipeline({
        source: { table: "lines", key: ["day", "region"], columns: ["body"] },
        ...quick,
        request: { model: "gpt-4o-mini", user: "{{ body }}" },
        answer: z.object({ categories: z.array(z.string()), summary: z.string() }),
        target: { table: "line_labels" },
      }),
    });
    await sweep(worker);
    const { client, batchId, inputFileId } = await createTutorialBatch(project.gateway.url, [
      { customId: "2026-11-22-eu-7", text: "A short text." },
      { customId: "2026-11-23-us", text: "Another text." },
    ]);
    await completed(client, batchId);
    await client.files.delete(inputFileId);
    expect((await adopt(worker, batchId, "{day}-{region}")).adopted).toBe(2);
    await project.drain(worker);
    expect(await executions(project)).toEqual([1, 1]);
    expect(await outcomes(project)).toEqual({ answered: 2 });
  });
});
