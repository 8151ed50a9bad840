import { gzipSync } from "node:zlib";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { serve, type HttpListener } from "../../src/http/serve.js";
import { pipeline, push } from "../../src/index.js";
import { sql } from "../../src/postgres/database.js";
import { ROUTES } from "../../src/service/route-list.js";
import { createService, type Service } from "../../src/service/service.js";
import * as tokens from "../../src/store/tokens/tokens.js";
import { SCOPES, type Scope } from "../../src/store/tokens/tokens.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { startProject, type TestProject } from "../support/project.js";

const movies = pipeline({
  source: push({ key: "imdb_id", columns: ["Description"] }),
  polling: { min: "10ms", max: "10ms" },
  request: { model: "gpt-4o-mini", user: "Sum up: {{ Description }}", maxOutputTokens: 100 },
  target: { table: "movie_labels" },
});

describeDatabases(
  "Rows over HTTP",
  (kind) => {
    let project: TestProject;
    let service: Service;
    let server: HttpListener;
    let base: string;
    beforeEach(async () => {
      project = await startProject(kind);
      await project.worker({ movies, others: movies });
      service = createService({ database: project.database, log: pino({ level: "silent" }) });
      server = await serve({ fetch: service.fetch, host: "127.0.0.1", port: 0, log: (text) => expect(text).toBe("") });
      base = `http://127.0.0.1:${server.port}`;
    });
    afterEach(async () => {
      await server.close(1_000);
      await service.close();
      await project.close();
    });

    const token = async (scope: Scope = "push", of: string | null = "movies") =>
      (await tokens.create(project.database, { scope, pipeline: of, note: null })).text;
    const post = async (path: string, body: string | Uint8Array<ArrayBuffer>, headers: Record<string, string> = {}) => {
      const response = await fetch(base + path, { method: "POST", body, headers });
      return { status: response.status, body: (await response.json()) as Record<string, unknown> };
    };
    const rowsPath = "/v1/pipelines/movies/rows";
    const bearer = async (...args: Parameters<typeof token>) => ({ authorization: `Bearer ${await token(...args)}` });
    const films = (count: number, more = "") =>
      Array.from({ length: count }, (_, id) => ({
        imdb_id: id,
        Description: `Film ${id}. ${more}`,
        rn: Math.random(),
      }));
    const stored = async () => (await project.rows(sql`select 1 from rowmill_data.movies`)).length;

    it("are taken as a list, as the tutorial's body, as one row, and as lines", async () => {
      const headers = await bearer();
      const clean = { older: 0, refused: 0, problems: [] };
      expect(await post(rowsPath, JSON.stringify(films(3)), headers)).toEqual({
        status: 200,
        body: { accepted: 3, unchanged: 0, ...clean },
      });
      const tutorial = JSON.stringify({ data: films(4), min_id: 0, max_id: 3 });
      expect(await post(rowsPath, tutorial, headers)).toMatchObject({ body: { accepted: 1, unchanged: 3 } });
      const empty = '{"data": null, "min_id": null, "max_id": null}';
      expect(await post(rowsPath, empty, headers)).toEqual({
        status: 200,
        body: { accepted: 0, unchanged: 0, ...clean },
      });
      expect(await post(rowsPath, '{"imdb_id": "one"}', headers)).toMatchObject({ body: { accepted: 1 } });
      const lines = `${films(5_000)
        .map((film) => JSON.stringify(film))
        .join("\r\n")}\n\nnot json\n{"Description": 5}`;
      expect(await post(rowsPath, lines, { ...headers, "content-type": "application/x-ndjson" })).toMatchObject({
        status: 200,
        body: {
          accepted: 4_996,
          unchanged: 4,
          refused: 2,
          problems: [
            { row: 5_000, reason: "it is not a JSON object" },
            { row: 5_001, reason: "its key is missing or null" },
          ],
        },
      });
      expect(await stored()).toBe(5_001);
    });

    it("may be packed with gzip, and fail alone for text that PostgreSQL cannot hold", async () => {
      const body = gzipSync(
        '[{"imdb_id":1,"Description":"\\u0000"},{"imdb_id":2},{"imdb_id":3,"Description":"\\ud800"}]',
      );
      const headers = { ...(await bearer()), "content-encoding": "gzip" };
      expect(await post(rowsPath, new Uint8Array(body), headers)).toMatchObject({
        status: 200,
        body: { accepted: 1, refused: 2, problems: [{ row: 0 }, { row: 2 }] },
      });
    });

    it("are refused with the reason where the body is none, and all of them with 422", async () => {
      const headers = await bearer();
      expect(await post(rowsPath, '[{"imdb_id": 1},', headers)).toMatchObject({
        status: 400,
        body: { code: "body_malformed", at: 16 },
      });
      expect(await post(rowsPath, " ", headers)).toMatchObject({ status: 400, body: { detail: "The body is empty." } });
      expect(await post(rowsPath, '{"imdb_id": 1}\n{"imdb_id": 2}', headers)).toMatchObject({
        status: 400,
        body: {
          detail: expect.stringContaining("For lines of JSON, set the Content-Type application/x-ndjson.") as string,
        },
      });
      expect(await post("/v1/pipelines/movies", "[]", headers)).toMatchObject({
        status: 404,
        body: { detail: "There is no POST for this path. GET /v1/openapi.json describes all routes." },
      });
      expect(await post(rowsPath, new Uint8Array([0x5b, 0xff, 0x5d]), headers)).toMatchObject({
        status: 400,
        body: { detail: "The body is not valid UTF-8." },
      });
      expect(await post(rowsPath, "[".repeat(1_000_000), headers)).toMatchObject({ status: 400 });
      expect(await post(rowsPath, new Uint8Array(65 * 1024 * 1024), headers)).toMatchObject({
        status: 413,
        body: { code: "body_too_large", limit: 67_108_864 },
      });
      expect(await post(rowsPath, '[{"id": 1}]', headers)).toMatchObject({ status: 422, body: { refused: 1 } });
      expect(await post("/v1/pipelines/none/rows", "[]", await bearer("push", null))).toMatchObject({
        status: 404,
        body: { code: "unknown_pipeline" },
      });
    });

    it("come a thousand times as the same body, and count once", async () => {
      const path = `/v1/in/${await token()}`;
      const other = await bearer();
      const body = JSON.stringify({ data: films(1_000), min_id: 0, max_id: 999 });
      expect(await post(path, body)).toMatchObject({ status: 200, body: { accepted: 1_000 } });
      expect(await post(path, body)).toMatchObject({ status: 200, body: { accepted: 0, unchanged: 1_000 } });
      await project.run(sql`update rowmill_data.movies set "Description" = 'by hand' where imdb_id = '7'`);
      // Whoever writes the table past Rowmill is not noticed; a push is.
      expect(await post(rowsPath, '[{"imdb_id": 5, "Description": "between"}]', other)).toMatchObject({ status: 200 });
      expect(await post(path, body)).toMatchObject({ body: { accepted: 2, unchanged: 998 } });
    });

    it("count as the same body where some of its rows are refused, or none is there", async () => {
      const path = `/v1/in/${await token()}`;
      const bad = [{ Description: "It has no key." }];
      const body = JSON.stringify([...bad, ...films(1_000), ...films(1)]);
      const problems = [{ row: 0, key: null, reason: "its key is missing or null" }];
      expect(await post(path, body)).toMatchObject({ body: { accepted: 1_000, refused: 1, problems } });
      expect(await post(path, body)).toMatchObject({ status: 200, body: { unchanged: 1_000, refused: 1, problems } });
      for (const pad of ["a", "b", "b"]) {
        const padded = { ignored: pad.repeat(20_000) };
        expect(await post(path, JSON.stringify({ data: [], ...padded }))).toMatchObject({ body: { unchanged: 0 } });
        expect(await post(path, JSON.stringify([{ ...bad[0], ...padded }]))).toMatchObject({
          status: 422,
          body: { refused: 1 },
        });
      }
    });

    it.each(["application/x-ndjson", "application/jsonl; charset=utf-8"])(
      "are taken as lines at the ingest URL too, however often they come: %s",
      async (type) => {
        const path = `/v1/in/${await token()}`;
        const lines = films(1_000)
          .map((film) => JSON.stringify(film))
          .join("\n");
        for (const [accepted, unchanged] of [
          [1_000, 0],
          [0, 1_000],
          [0, 1_000],
        ])
          expect(await post(path, lines, { "content-type": type })).toMatchObject({
            status: 200,
            body: { accepted, unchanged },
          });
      },
    );

    it("may name a pipeline that PostgreSQL could not, which is none", async () => {
      const anyone = await bearer("operate", null);
      for (const name of ["%00", "movies%00", "%ff", "%ed%a0%80", "movies%2Frows", "..%2Fmovies"])
        for (const [method, rest] of [
          ["POST", "rows"],
          ["GET", "rows/1"],
          ["DELETE", "rows/1"],
          ["GET", "results"],
        ] as const) {
          const response = await fetch(`${base}/v1/pipelines/${name}/${rest}`, { method, headers: anyone });
          expect([name, rest, response.status]).toEqual([name, rest, 404]);
        }
    });

    it.each(ROUTES.map((route) => [`${route.method} ${route.path}`, route] as const))(
      "need a token that may do it: %s",
      async (_, route) => {
        const call = async (text: string | null) => {
          const path = route.path
            .replace(":name", "movies")
            .replace(":key", "1")
            .replace(":token", text ?? "none");
          const headers = text === null || route.tokenInPath ? {} : { authorization: `Bearer ${text}` };
          const response = await fetch(base + path, { method: route.method, headers });
          await response.arrayBuffer();
          return response.status;
        };
        if (route.scope === null) {
          expect(await call(null)).toBe(200);
          return;
        }
        expect(await call(null)).toBe(401);
        expect(await call("rwm_unknown")).toBe(401);
        const { id, text } = await tokens.create(project.database, { scope: "admin", pipeline: null, note: null });
        await tokens.revoke(project.database, id);
        expect(await call(text)).toBe(401);
        for (const scope of SCOPES) {
          const mayDo =
            [scope, "any"].includes(route.scope ?? "") ||
            (!route.tokenInPath && (scope === "operate" || scope === "admin"));
          const isRefused = [401, 403].includes(await call(await token(scope)));
          expect([scope, isRefused]).toEqual([scope, !mayDo]);
        }
        if (route.path.includes(":name")) expect(await call(await token("admin", "others"))).toBe(403);
      },
    );

    it("leave a note of what was refused", async () => {
      await post(rowsPath, '[{"id": 1}, {"imdb_id": 2}]', await bearer());
      await post("/v1/in/rwm_wrong", "[]");
      await service.close();
      expect(
        await project.rows(sql`select pipeline, reason, pushes::int, rows::int from rowmill.refused_pushes order by 1`),
      ).toEqual([
        { pipeline: "", reason: "the token is unknown or revoked", pushes: 1, rows: 0 },
        { pipeline: "movies", reason: "its key is missing or null", pushes: 1, rows: 1 },
      ]);
    });
  },
  bookKeepers,
);
