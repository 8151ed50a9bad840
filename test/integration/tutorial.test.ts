import { Readable } from "node:stream";
import { setTimeout as sleep } from "node:timers/promises";
import { pipeline as stream } from "node:stream/promises";
import pg from "pg";
import { from as copyFrom } from "pg-copy-streams";
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { serve, type HttpListener } from "../../src/http/serve.js";
import { pipeline, push } from "../../src/index.js";
import { createService, type Service } from "../../src/service/service.js";
import * as tokens from "../../src/store/tokens/tokens.js";
import type { WorkerContext } from "../../src/worker/context.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { films, type Film } from "../support/films.js";
import { movieAnswer, quick } from "../support/movies-pipeline.js";
import { sql, startProject, type TestProject } from "../support/project.js";
import { pythonServerMissingBecause, startPythonServer } from "../support/python-server.js";
import { HTTP_POST, repair, statementTrigger, TUTORIAL_TABLE, tutorialSql } from "../support/tutorial-sql.js";

const REMEMBERED_MS = 1_500;

const movies = pipeline({
  source: push({ key: "imdb_id", columns: ["Description"] }),
  ...quick,
  request: { model: "gpt-4o-mini", maxOutputTokens: 200, user: "Sum up: {{ Description }}" },
  answer: movieAnswer,
  target: { table: "movie_labels" },
});

const more = Array.from({ length: 200 }, (_, at) => ({
  id: 1_000 + at,
  title: `Film ${1_000 + at}`,
  description: `The thousand and ${at} nights of a lighthouse keeper.`,
}));

/** A thousand posts of 188 kB, on a machine that has other work. */
const POSTS_MS_MAX = 180_000;

describe(`The tutorial's SQL${pythonServerMissingBecause === null ? "" : ` (skipped: ${pythonServerMissingBecause})`}`, () => {
  describe.skipIf(pythonServerMissingBecause !== null)("with its URL replaced", () => {
    let python: Awaited<ReturnType<typeof startPythonServer>>;
    beforeAll(async () => {
      python = await startPythonServer();
    });
    afterAll(() => python.stop());
    describeDatabases("and the ledger", (kind) => throughItsTrigger(kind, () => python.url), bookKeepers);
  });
});

function throughItsTrigger(kind: Parameters<typeof startProject>[0], serverUrl: () => string): void {
  let project: TestProject;
  let worker: WorkerContext;
  let service: Service;
  let server: HttpListener;
  let client: pg.Client;
  let url: string;
  let posts: Record<string, number>;
  beforeEach(async () => {
    project = await startProject(kind);
    worker = await project.worker({ movies });
    service = createService({ database: worker.database, log: pino({ level: "silent" }) });
    posts = {};
    server = await serve({
      fetch: async (request, env) => {
        const response = await service.fetch(request, env);
        posts[response.status] = (posts[response.status] ?? 0) + 1;
        return response;
      },
      host: "127.0.0.1",
      port: 0,
      log: (text) => expect(text).toBe(""),
    });
    const token = await tokens.create(project.database, { scope: "push", pipeline: "movies", note: null });
    url = `http://127.0.0.1:${server.port}/v1/in/${token.text}`;
    client = await userOf(serverUrl());
    for (const statements of [HTTP_POST, TUTORIAL_TABLE, tutorialSql(url)]) await client.query(statements);
  });
  afterEach(async () => {
    await client.end();
    await server.close(1_000);
    await service.close();
    await project.check().finally(() => project.close());
  });

  const insert = (rows: readonly Film[]) =>
    client.query(
      `insert into imdb_dataset (imdb_id, "Title", "Description") select x.id, x.title, x.description
      from json_to_recordset($1) as x (id bigint, title text, description text)`,
      [JSON.stringify(rows)],
    );
  const inChunks = async (rows: readonly Film[], size: number) => {
    for (let start = 0; start < rows.length; start += size) await insert(rows.slice(start, start + size));
  };
  const copy = async () => {
    const escape = (text: string) => text.replaceAll("\\", "\\\\").replaceAll("\t", "\\t").replaceAll("\n", "\\n");
    const lines = films().map((film) => `${film.id}\t${escape(film.title)}\t${escape(film.description)}\n`);
    const target = client.query(copyFrom(`copy imdb_dataset (imdb_id, "Title", "Description") from stdin`));
    await stream(Readable.from(lines), target);
  };

  async function expectEachAskedOnce(rows: number): Promise<void> {
    await project.drain(worker);
    const [answered] = await project.rows(sql`select count(*)::int as rows from public.movie_labels`);
    expect(answered).toEqual({ rows });
    const journal = await project.gateway.journal.summary();
    expect(journal.executed).toBe(rows);
    expect(new Set(journal.executedByContent.values())).toEqual(new Set([1]));
    // What the tutorial's own table would say.
    const batches = await project.rows<{
      id: string;
      created_at: Date;
      batch_job_id: string;
      batch_job_status: boolean;
    }>(sql`select id, created_at, batch_job_id, batch_job_status from rowmill.batch_processing_details`);
    expect(batches.length).toBeGreaterThan(0);
    for (const batch of batches)
      expect(batch).toMatchObject({
        created_at: expect.any(Date),
        batch_job_id: expect.stringMatching(/^batch_/),
        batch_job_status: true,
      });
  }

  it.each([
    { load: "one COPY", run: copy, times: 1_000 },
    { load: "one INSERT", run: () => insert(films()), times: 1_000 },
    { load: "chunks of 100", run: () => inChunks(films(), 100), times: 100 },
    { load: "single rows", run: () => inChunks(films(), 1), times: 1 },
  ])(
    "posts 1,000 films of $load $times times, and each is asked once",
    { timeout: POSTS_MS_MAX },
    async ({ run, times }) => {
      await run();
      expect(posts).toEqual({ 200: times });
      await expectEachAskedOnce(1_000);
    },
  );

  it.each([
    { load: "1,200 films in one statement", run: () => insert([...films(), ...more]) },
    { load: "1,200 films in chunks of 300", run: () => inChunks([...films(), ...more], 300) },
  ])("never posts $load; the repair posts them, and may be repeated", async ({ run }) => {
    await run();
    expect(posts).toEqual({});
    for (const _ of [1, 2]) await client.query(repair(url));
    expect(posts).toEqual({ 200: 2 });
    await expectEachAskedOnce(1_200);
  });

  it("posts each statement once with the guide's trigger", async () => {
    await client.query(statementTrigger(url));
    await inChunks([...films(), ...more], 300);
    expect(posts).toEqual({ 200: 4 });
    await expectEachAskedOnce(1_200);
  });

  it("fails the INSERT when nothing listens", async () => {
    await server.close(1_000);
    await expect(insert(films())).rejects.toThrow("Connection refused");
  });

  it("posts rows that are rolled back, does not notice a refusal, and deletes nothing", async () => {
    await client.query("begin");
    await inChunks(films(), 1);
    await client.query("rollback");
    expect(posts).toEqual({ 200: 1 });
    expect(await project.rows(sql`select 1 from rowmill_data.movies`)).toHaveLength(1_000);
    await tokens.revoke(project.database, 1);
    // A token is remembered for a second.
    await sleep(REMEMBERED_MS);
    await inChunks(films(), 1);
    expect(posts).toEqual({ 200: 1, 401: 1 });
    expect((await client.query("select 1 from imdb_dataset")).rowCount).toBe(1_000);
  });

  it("takes the body of an empty table", async () => {
    await client.query("select post_rows()");
    expect(posts).toEqual({ 200: 1 });
  });
}

/** In a database of its own. */
async function userOf(serverUrl: string): Promise<pg.Client> {
  const name = `films_${Math.random().toString(36).slice(2)}`;
  const admin = new pg.Client({ connectionString: serverUrl });
  await admin.connect();
  await admin.query(`create database ${name}`);
  await admin.end();
  const own = new URL(serverUrl);
  own.pathname = `/${name}`;
  const client = new pg.Client({ connectionString: own.href });
  await client.connect();
  return client;
}
