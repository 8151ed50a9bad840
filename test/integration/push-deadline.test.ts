import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { serve, type HttpListener } from "../../src/http/serve.js";
import { pipeline, push } from "../../src/index.js";
import { sql } from "../../src/postgres/database.js";
import { createService, type Service } from "../../src/service/service.js";
import * as refusedPushes from "../../src/store/replicas/refused-pushes.js";
import * as tokens from "../../src/store/tokens/tokens.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.js";

/** When http_post gives up, and fails the INSERT that called it. */
const CALLER_MS = 5_000;

const movies = pipeline({
  source: push({ key: "imdb_id", columns: ["Description"] }),
  request: { model: "gpt-4o-mini", user: "Sum up: {{ Description }}", maxOutputTokens: 100 },
  target: { table: "movie_labels" },
});

describeDatabases(
  "A push to the ingest URL",
  (kind) => {
    let project: TestProject;
    let network: TcpProxy;
    let service: Service;
    let server: HttpListener;
    let url: string;
    beforeEach(async () => {
      project = await startProject(kind);
      network = await startTcpProxy(Number(new URL(project.url).port));
      const worker = await project.worker({ movies }, { url: network.through(project.url) });
      service = createService({ database: worker.database, log: pino({ level: "silent" }) });
      server = await serve({ fetch: service.fetch, host: "127.0.0.1", port: 0, log: (text) => expect(text).toBe("") });
      const token = await tokens.create(project.database, { scope: "push", pipeline: "movies", note: null });
      url = `http://127.0.0.1:${server.port}/v1/in/${token.text}`;
    });
    afterEach(async () => {
      await server.close(1_000);
      await service.close();
      await project.close();
      await network.close();
    });

    const post = async (body = '[{"imdb_id": 1, "Description": "A film."}]') => {
      const response = await fetch(url, { method: "POST", body, signal: AbortSignal.timeout(CALLER_MS) });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const stored = async () => (await project.rows(sql`select 1 from rowmill_data.movies`)).length;
    const reasons = async () => {
      await service.close();
      return (await refusedPushes.listRecent(project.database, 10)).map(({ pipeline: of, reason }) => [of, reason]);
    };

    it("is answered in time while its table is locked, and completes later", async () => {
      await project.database.transaction(async (tx) => {
        await tx.run(sql`lock table rowmill_data.movies in access exclusive mode`);
        const answers = await Promise.all(Array.from({ length: 5 }, (_, id) => post(`[{"imdb_id": ${id}}]`)));
        // Two transactions are under way, and the others found no room.
        expect(answers.map(({ status }) => status).toSorted((a, b) => a - b)).toEqual([429, 429, 429, 503, 503]);
      });
      await expect.poll(stored, { timeout: 10_000 }).toBe(2);
      expect(await post()).toMatchObject({ status: 200 });
      // The others were done after all.
      expect(await reasons()).toEqual([["movies", "429: Too many pushes are in progress. Send it again later."]]);
    });

    it("is noted as refused when the service stops before it could complete", async () => {
      await project.database.transaction(async (tx) => {
        await tx.run(sql`lock table rowmill_data.movies in access exclusive mode`);
        expect(await post()).toMatchObject({ status: 503 });
        await service.close();
      });
      expect(await reasons()).toEqual([
        ["movies", "503: The push was not done within 3.5 seconds, and the service stopped before it was."],
      ]);
    });

    it("is answered in time while the database is silent", async () => {
      network.stall();
      expect(await post()).toMatchObject({ status: 503, body: { code: "database_slow" } });
      network.resume();
      expect(await post()).toMatchObject({ status: 200, body: { accepted: 1 } });
    });

    it("is answered at once while the database is down", async () => {
      await network.refuse();
      network.cut();
      // The first statement finds its connection dead, the next ones find no server.
      for (const _ of [1, 2]) expect(await post()).toMatchObject({ status: 503 });
      await network.accept();
      expect(await post()).toMatchObject({ status: 200, body: { accepted: 1 } });
      expect(await reasons()).toEqual([[null, "503: The database did not take the push."]]);
    });

    it("is noted under no name that a caller without a token made up, and so are those that follow", async () => {
      await network.refuse();
      network.cut();
      const rows = new URL("/v1/pipelines/", url);
      for (const name of ["%00", "made-up", "x".repeat(5_000)])
        for (const _ of [1, 2]) {
          const headers = { authorization: "Bearer rwm_none" };
          expect((await fetch(`${rows.href}${name}/rows`, { method: "POST", headers })).status).toBe(503);
        }
      await network.accept();
      expect(await post("[")).toMatchObject({ status: 400 });
      const noted = await reasons();
      expect(noted).toHaveLength(2);
      expect(noted).toContainEqual([null, "503: The database did not take the push."]);
      expect(noted).toContainEqual(["movies", "400: The body is not JSON, or is nested too deeply."]);
    });

    it("is compared with the last one instead of its rows, until its token is revoked", async () => {
      const rows = Array.from({ length: 1_000 }, (_, id) => ({ imdb_id: id, Description: `Film ${id}.` }));
      const body = JSON.stringify({ data: rows });
      expect(await post(body)).toMatchObject({ status: 200, body: { accepted: 1_000 } });
      expect(await post(body)).toMatchObject({ status: 200, body: { unchanged: 1_000 } });
      const other = JSON.stringify({ data: [...rows, { imdb_id: 1_000 }] });
      expect(await post(other)).toMatchObject({ status: 200, body: { accepted: 1, unchanged: 1_000 } });
      expect(await post(other)).toMatchObject({ status: 200, body: { unchanged: 1_001 } });
      await tokens.revoke(project.database, 1);
      // It is remembered for a second.
      await expect.poll(async () => (await post(other)).status, { timeout: 10_000 }).toBe(401);
    });
  },
  // Behind a network that may fail, and beside other sessions, which the embedded database does not have.
  bookKeepers.filter((kind) => kind !== "embedded"),
);
