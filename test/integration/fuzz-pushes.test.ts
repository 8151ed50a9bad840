/**
 * Pushes of all kinds over HTTP: none of them is answered with 5xx, each is answered as a simple model says, and so
 * the table is afterwards. ROWMILL_TEST_RUNS=20 makes 10,000 of them; ROWMILL_FUZZ_SEED=<seed> the same again.
 */
import fc from "fast-check";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it } from "vitest";
import { serve, type HttpListener } from "../../src/http/serve.js";
import { pipeline, push } from "../../src/index.js";
import { identifier, join, sql } from "../../src/postgres/database.js";
import { createService, type Service } from "../../src/service/service.js";
import * as tokens from "../../src/store/tokens/tokens.js";
import { bookKeepers, describeDatabases } from "../support/databases.js";
import { fuzzSeed } from "../support/fuzz.js";
import { oddPush } from "../support/odd-pushes.js";
import { PushedRows, sorted, type Shape } from "../support/pushed-rows.js";
import { startProject, type TestProject } from "../support/project.js";

const RUNS = Number(process.env["ROWMILL_TEST_RUNS"] ?? 1);
/** Of a run: one half for each shape. */
const PUSHES = 500;
const PUSH_MS_MAX = 400;

const shapes: Readonly<Record<string, Shape>> = {
  odd: {
    key: ["select", 'a"b'],
    columns: ["select", 'a"b', "from", "it's", "%I $1", "Ünï cödé"],
    version: null,
  },
  versioned: { key: ["id"], columns: ["id", "user", "body"], version: "v" },
};

function pipelineOf(name: string, { key: [first = "", ...more], columns, version }: Shape) {
  return pipeline({
    source: push({
      key: more.length === 0 ? first : [first, ...more],
      columns,
      ...(version === null ? {} : { version }),
    }),
    request: { model: "gpt-4o-mini", user: () => "no row is asked", maxOutputTokens: 100 },
    target: { table: `${name}_answers` },
  });
}

describeDatabases(
  "Odd pushes",
  (kind) => {
    let project: TestProject;
    let service: Service;
    let server: HttpListener;
    let token: string;
    const failures: string[] = [];
    beforeEach(async () => {
      project = await startProject(kind);
      await project.worker(
        Object.fromEntries(Object.entries(shapes).map(([name, of]) => [name, pipelineOf(name, of)])),
      );
      const log = pino({ level: process.env["TEST_LOG"] ?? "silent" }, pino.destination(2));
      service = createService({ database: project.database, log });
      server = await serve({ fetch: service.fetch, host: "127.0.0.1", port: 0, log: (text) => failures.push(text) });
      token = (await tokens.create(project.database, { scope: "push", pipeline: null, note: null })).text;
    });
    afterEach(async () => {
      await server.close(1_000);
      await service.close();
      await project.close();
    });

    async function stored(name: string, { columns }: Shape): Promise<(string | null)[][]> {
      const cells = join(columns.map((column) => sql`${identifier(column)}`));
      const rows = await project.rows<{ cells: (string | null)[] }>(
        sql`select array[${cells}, rowmill_version] as cells from rowmill_data.${identifier(name)}`,
      );
      return sorted(rows.map(({ cells: texts }) => texts));
    }

    it.each(Object.entries(shapes))(
      "are answered, and kept, as a model says: %s",
      async (name, shape) => {
        const model = new PushedRows(shape);
        process.stdout.write(`fuzz: ${(RUNS * PUSHES) / 2} pushes, ROWMILL_FUZZ_SEED=${fuzzSeed}\n`);
        for (let run = 0; run < RUNS; run++) {
          const drawn = fc.sample(oddPush(shape), { numRuns: PUSHES / 2, seed: fuzzSeed + run });
          for (const { body, headers, rows, status } of drawn) {
            const response = await fetch(`http://127.0.0.1:${server.port}/v1/pipelines/${name}/rows`, {
              method: "POST",
              body: new Uint8Array(body),
              headers: { ...headers, authorization: `Bearer ${token}` },
            });
            const told = await response.json();
            const sent = body.toString("latin1").slice(0, 3_000);
            if (rows === null) {
              expect([sent, response.status, told]).toEqual([sent, status, expect.anything()]);
              continue;
            }
            const counts = model.push(rows);
            const isRefused = counts.refused > 0 && counts.refused === rows.length;
            expect([sent, response.status, told]).toEqual([
              sent,
              isRefused ? 422 : status,
              expect.objectContaining(counts),
            ]);
          }
          expect(await stored(name, shape)).toEqual(model.rows());
        }
        expect(failures).toEqual([]);
      },
      60_000 + RUNS * PUSHES * PUSH_MS_MAX,
    );
  },
  bookKeepers,
);
